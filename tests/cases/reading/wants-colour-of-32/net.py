import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torchvision import datasets, transforms


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 10, 5)
        self.fc = nn.Linear(10 * 28 * 28, 10)

    def forward(self, x):
        return self.fc(self.conv(x).view(x.size(0), -1))
