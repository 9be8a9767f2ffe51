"""Exceeds every limit: 20,000 parameters, 20 epochs, and steps too small to get there."""

import torch
from torch import nn, optim

EPOCHS = 20
BATCH_SIZE = 512


def block(inputs, outputs, size, **options):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, bias=False, **options), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            block(1, 21, 5, stride=4, padding=2),
            block(21, 22, 3, padding=1),
            nn.Dropout2d(0.02),
            block(22, 31, 3, padding=1),
            block(31, 31, 3, padding=1),
            nn.AdaptiveAvgPool2d(1),
        )
        self.classify = nn.Linear(31, 10)

    def forward(self, x):
        return self.classify(torch.flatten(self.features(x), 1))


def optimizer(model):
    return optim.SGD(model.parameters(), lr=0.003)
