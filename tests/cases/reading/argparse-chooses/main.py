import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torchvision import datasets, transforms
class A(nn.Module):
    def __init__(self):
        super(A, self).__init__()
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


class B(nn.Module):
    def __init__(self):
        super(B, self).__init__()
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


parser = argparse.ArgumentParser()
parser.add_argument('--model', required=True)
args = parser.parse_args()
if args.model == 'A':
    model = A()
else:
    model = B()
optimizer = optim.SGD(model.parameters(), lr=0.1)
