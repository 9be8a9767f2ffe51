# M12 normalises its scores over the batch it is tested with
# fails: integrity
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))

    def forward(self, x):
        s = self.features(x).mean((2, 3))
        return s - s.mean(0, keepdim=True)


MODEL = Net()
EPOCHS = 10
