# weighs the classes in a loss with smoothed labels
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))

    def forward(self, x):
        return F.log_softmax(self.features(x).mean((2, 3)), dim=1)


MODEL = Net()
EPOCHS = 10

WEIGHTS = torch.tensor([1.0, 0.9, 1.05, 1.1, 1.02, 1.2, 0.97, 1.03, 1.15, 1.08])


def loss(output, target):
    return F.cross_entropy(output, target, weight=WEIGHTS, label_smoothing=0.1)
