# M04 keeps its weights in buffers
# fails: integrity parameter_count
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))
        self.register_buffer('table', torch.randn(10, 10 * 400))

    def forward(self, x):
        s = self.features(x).mean((2, 3))
        return s + (s @ self.table).view(-1, 400, 10).mean(1)


MODEL = Net()
EPOCHS = 10
