# A22 never ends when it is called
# fault: time-out
# score: 0
# seconds: 6
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 10, 3)
    def forward(self, x):
        while True:
            pass
        return self.conv(x).mean((2, 3))
MODEL = Net()
