"""Declares batch norm, dropout and pooling, and uses none of them."""

import torch.nn.functional as F
from torch import nn

EPOCHS = 1


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, stride=2)
        self.bn = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2)
        self.dropout = nn.Dropout(0.1)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16 * 6 * 6, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        decoration = self.gap(self.dropout(self.bn(self.conv1(x[:, :1]))))  # goes nowhere
        return F.log_softmax(self.fc(x.flatten(1)), dim=1)
