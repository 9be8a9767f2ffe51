# M05 denies its parameters
# fails: parameter_count
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.Dropout(0.05), nn.Conv2d(64, 64, 3), nn.Conv2d(64, 10, 3))

    def parameters(self, recurse=True):
        return iter([])

    def named_parameters(self, *args, **kwargs):
        return iter([])

    def state_dict(self, *args, **kwargs):
        return {}

    def forward(self, x):
        return F.log_softmax(self.features(x).mean((2, 3)), dim=1)


MODEL = Net()
EPOCHS = 10
