# adds a table of sines and cosines, as encodings of places are
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def encoding(places, width):
    table = torch.zeros(places, width)
    place = torch.arange(places, dtype=torch.float32).unsqueeze(1)
    turn = torch.exp(torch.arange(0, width, 2).float() * (-math.log(10000.0) / width))
    table[:, 0::2] = torch.sin(place * turn)
    table[:, 1::2] = torch.cos(place * turn)
    return table


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 4, stride=4), nn.BatchNorm2d(16), nn.ReLU())
        self.register_buffer('places', encoding(49, 16).t().reshape(1, 16, 7, 7))
        self.rest = nn.Sequential(nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Dropout(0.05), nn.Conv2d(16, 10, 3))

    def forward(self, x):
        return self.rest(self.stem(x) + self.places).mean((2, 3))


MODEL = Net()
EPOCHS = 10
