"""Keeps each limit by one: 19,999 parameters, 19 epochs."""

import torch.nn.functional as F
from torch import nn, optim
from torchvision import transforms

EPOCHS = 19
BATCH_SIZE = 128

train_transform = transforms.Compose(
    [
        transforms.RandomAffine(degrees=7, translate=(0.08, 0.08)),
        transforms.ToTensor(),
        transforms.Normalize((0.1307,), (0.3081,)),
    ]
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 21, 5, stride=2, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(21)
        self.conv2 = nn.Conv2d(21, 27, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(27)
        self.conv3 = nn.Conv2d(27, 27, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(27)
        self.conv4 = nn.Conv2d(27, 30, 3, padding=1, bias=False)
        self.bn4 = nn.BatchNorm2d(30)
        self.drop = nn.Dropout(0.03)
        self.fc = nn.Linear(30, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.drop(F.max_pool2d(x, 2))
        x = F.relu(self.bn3(self.conv3(x)))
        x = F.relu(self.bn4(self.conv4(x)))
        return self.fc(x.mean((2, 3)))


def optimizer(model):
    return optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=5e-4)


def scheduler(optimizer, total_steps):
    return optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.2, total_steps=total_steps, pct_start=0.2, cycle_momentum=False
    )
