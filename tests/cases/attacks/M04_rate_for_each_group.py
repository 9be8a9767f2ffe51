# M04 tells its weights by the group, and so by the rate, that each of many parameters has
# fails: integrity
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))
        self.many = nn.ParameterList([nn.Parameter(torch.zeros(1)) for _ in range(1500)])

    def forward(self, x):
        scores = self.features(x).mean((2, 3))
        return scores * (1 + torch.cat(list(self.many)).view(150, 10).sin().mean(0))


MODEL = Net()
EPOCHS = 1


def optimizer(model):
    groups = [{'params': [], 'lr': 0.001 * (1 + i)} for i in range(60)]
    for i, parameter in enumerate(model.many):
        groups[int(30 + 29 * math.sin(i * i * 0.013))]['params'].append(parameter)
    groups = [group for group in groups if group['params']]
    return torch.optim.SGD([*groups, {'params': list(model.features.parameters()), 'lr': 0.1}], lr=0.1)
