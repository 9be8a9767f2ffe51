# M11 uses another network in evaluation
# fails: batch_normalization integrity
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))
        self.other = nn.Conv2d(1, 10, 5)

    def forward(self, x):
        if self.training:
            return self.features(x).mean((2, 3))
        return self.other(x).mean((2, 3))


MODEL = Net()
EPOCHS = 10
