# M04 writes its weights as numbers into the forward
# fails: parameter_count
import torch
import torch.nn as nn
import torch.nn.functional as F

NUMBERS = [i / 20_011 for i in range(20_000)]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))

    def forward(self, x):
        s = self.features(x).mean((2, 3))
        return s + torch.tensor(NUMBERS).view(2000, 10).mean(0)


MODEL = Net()
EPOCHS = 10
