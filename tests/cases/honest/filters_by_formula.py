# filters with banks of Sobel and Gabor kernels, which are buffers
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def gabor(angle):
    y, x = torch.meshgrid(torch.arange(-3.0, 4), torch.arange(-3.0, 4), indexing='ij')
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    return torch.exp(-(along**2 + 0.25 * across**2) / 8) * torch.cos(math.pi * along / 2)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
        self.register_buffer('sobel', torch.stack([sobel, sobel.t()])[:, None])
        self.register_buffer('gabor', torch.stack([gabor(math.pi * i / 8) for i in range(8)])[:, None])
        self.features = nn.Sequential(nn.Conv2d(11, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))

    def forward(self, x):
        x = torch.cat([x, F.conv2d(x, self.sobel, padding=1), F.conv2d(x, self.gabor, padding=3)], 1)
        return self.features(x).mean((2, 3))


MODEL = Net()
EPOCHS = 10
