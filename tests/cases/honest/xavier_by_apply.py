# initialises with apply
# notes: initialised
import torch
import torch.nn as nn
import torch.nn.functional as F

def init_weights(m):
    if isinstance(m, nn.Conv2d):
        nn.init.xavier_uniform_(m.weight)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))
        self.apply(init_weights)

    def forward(self, x):
        return F.log_softmax(self.features(x).mean((2, 3)), dim=1)


MODEL = Net()
EPOCHS = 10
