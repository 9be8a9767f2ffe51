import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torchvision import datasets, transforms
from einops.layers.torch import Rearrange


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.flat = Rearrange('b c h w -> b (c h w)')
        self.fc = nn.Linear(784, 10)

    def forward(self, x):
        return self.fc(self.flat(x))
