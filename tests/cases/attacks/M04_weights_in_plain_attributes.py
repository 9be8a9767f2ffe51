# M04 keeps its weights in plain attributes and lists
# fails: integrity parameter_count
# fault: error
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))
        self.tables = [torch.randn(10, 10) for _ in range(200)]

    def forward(self, x):
        s = self.features(x).mean((2, 3))
        for table in self.tables:
            s = s + s @ table
        return s


MODEL = Net()
EPOCHS = 10
