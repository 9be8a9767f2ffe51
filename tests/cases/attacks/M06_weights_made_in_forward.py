# M06 makes its weights when it is first called
# fails: parameter_count
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))

    def forward(self, x):
        if not hasattr(self, 'late'):
            self.late = nn.Linear(10, 4000)
            self.later = nn.Linear(4000, 10)
        s = self.features(x).mean((2, 3))
        return self.later(self.late(s))


MODEL = Net()
EPOCHS = 10
