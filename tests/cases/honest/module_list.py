# builds its blocks in a list
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.05))
        self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 3) for _ in range(3)])
        self.head = nn.Conv2d(8, 10, 1)

    def forward(self, x):
        y = self.features(x)
        for block in self.blocks:
            y = F.relu(block(y))
        return self.head(y).mean((2, 3))


MODEL = Net()
EPOCHS = 10
