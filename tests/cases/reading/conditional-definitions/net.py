import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torchvision import datasets, transforms

try:
    import torch_xla
    FAST = True
except ImportError:
    FAST = False

use_bn = not FAST
if use_bn:
    def norm(n):
        return nn.BatchNorm2d(n)
else:
    def norm(n):
        return nn.Identity()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 10, 3)
        self.norm = norm(10)

    def forward(self, x):
        return self.norm(self.conv(x)).mean((2, 3))
