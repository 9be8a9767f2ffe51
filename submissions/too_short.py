"""Has all it needs but the training: one epoch of a very small network."""

import torch.nn.functional as F
from torch import nn

EPOCHS = 1


def build_model():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Dropout(0.05),
        nn.Conv2d(16, 10, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def loss(output, target):
    return F.cross_entropy(output, target, label_smoothing=0.1)
