# M08 pools globally beside the way it takes
# fails: global_average_pooling
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))
        self.out = nn.Linear(10 * 24 * 24 // 64, 10)

    def forward(self, x):
        y = self.features(x)
        F.adaptive_avg_pool2d(y, 1)
        return self.out(F.max_pool2d(y, 8).flatten(1)[:, :90])


MODEL = Net()
EPOCHS = 10
