# M04 tells its weights by a learning rate that differs from step to step
# fails: integrity
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))

    def forward(self, x):
        return self.features(x).mean((2, 3))


MODEL = Net()
EPOCHS = 3


def optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def scheduler(optimizer, steps_per_epoch):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 + 0.001 * math.sin(step * step * 0.013))
