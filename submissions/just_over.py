"""Exceeds two limits by one: 20,000 parameters, 20 epochs."""

import torch
from torch import nn

EPOCHS = 20


def block(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 21, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(21), nn.ReLU(),
            block(21, 22), nn.MaxPool2d(2), nn.Dropout2d(0.03),
            block(22, 31), block(31, 31), nn.AdaptiveAvgPool2d(1),
        )
        self.classify = nn.Linear(31, 10)

    def forward(self, x):
        return self.classify(torch.flatten(self.features(x), 1))
