import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torchvision import datasets, transforms
from typing import List, TypeAlias

Widths: TypeAlias = List[int]


def counted(cls):
    cls.made = 0
    return cls


def logged(fn):
    def inner(*args, **kwargs):
        return fn(*args, **kwargs)
    return inner


@counted
class Net(nn.Module):
    def __init__(self, widths: Widths = [1, 10]) -> None:
        super(Net, 
              self).__init__()
        self.make = lambda i, o: nn.Conv2d(i, o, 3)
        self.conv = self.make(*widths)

    @logged
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3))
