import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torchvision import datasets, transforms
class Model3(nn.Module):
    def __init__(self):
        super(Model3, self).__init__()
        self.conv1 = nn.Conv2d(1, 3, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.05)
        self.conv2 = nn.Conv2d(3, 10, 1)
        self.gap = nn.AvgPool2d(26)

    def forward(self, x):
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = self.gap(self.conv2(x))
        x = x.view(-1, 10)
        return F.log_softmax(x, dim=-1)


class Model4(nn.Module):
    def __init__(self):
        super(Model4, self).__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.05)
        self.conv2 = nn.Conv2d(4, 10, 1)
        self.gap = nn.AvgPool2d(26)

    def forward(self, x):
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = self.gap(self.conv2(x))
        x = x.view(-1, 10)
        return F.log_softmax(x, dim=-1)


class Model5(nn.Module):
    def __init__(self):
        super(Model5, self).__init__()
        self.conv1 = nn.Conv2d(1, 5, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(5)
        self.drop = nn.Dropout(0.05)
        self.conv2 = nn.Conv2d(5, 10, 1)
        self.gap = nn.AvgPool2d(26)

    def forward(self, x):
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = self.gap(self.conv2(x))
        x = x.view(-1, 10)
        return F.log_softmax(x, dim=-1)


