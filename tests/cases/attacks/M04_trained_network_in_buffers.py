# M04 keeps a network that was trained elsewhere in buffers, few enough for the parameters
# fails: integrity
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def numbers(count):
    """Stand for weights that were trained elsewhere: no short formula tells them."""
    place = torch.arange(count, dtype=torch.float64)
    return (0.1 * torch.sin(place * place * 0.013)).float()



SHAPES = [(16, 1, 3, 3), (24, 16, 3, 3), (24, 24, 3, 3), (10, 24, 1, 1)]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for i, shape in enumerate(SHAPES):
            self.register_buffer(f'w{i}', numbers(math.prod(shape)).view(shape))
        self.norm = nn.BatchNorm2d(16)
        self.drop = nn.Dropout(0.05)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(F.conv2d(x, self.w0))), 2)
        x = F.relu(F.conv2d(F.relu(F.conv2d(x, self.w1)), self.w2))
        return F.conv2d(self.drop(x), self.w3).mean((2, 3))


MODEL = Net()
EPOCHS = 1
