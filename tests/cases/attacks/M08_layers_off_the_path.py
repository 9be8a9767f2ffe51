# M08 declares layers it does not use
# fails: batch_normalization dropout
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 10, 3))
        self.bn = nn.BatchNorm2d(10)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        y = self.features(x)
        self.drop(self.bn(y))
        return y.mean((2, 3))


MODEL = Net()
EPOCHS = 10
