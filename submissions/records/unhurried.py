"""The reference network, not in a hurry."""

import torch.nn.functional as F
from torch import nn, optim
from torchvision import transforms

EPOCHS = 12
BATCH_SIZE = 128
PLAIN_EPOCHS = 1
EMA_DECAY = 0.995

train_transform = transforms.Compose(
    [
        transforms.RandomAffine(degrees=10, translate=(0.08, 0.08), scale=(0.9, 1.1)),
        transforms.ToTensor(),
        transforms.Normalize((0.1307,), (0.3081,)),
    ]
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        # Batch norm adds its own bias, so that the convolutions need none.
        self.conv1 = nn.Conv2d(1, 10, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(10)
        self.conv2 = nn.Conv2d(10, 18, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(18)
        self.conv3 = nn.Conv2d(18, 18, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(18)
        self.conv4 = nn.Conv2d(18, 28, 3, padding=1, bias=False)
        self.bn4 = nn.BatchNorm2d(28)
        self.conv5 = nn.Conv2d(28, 28, 3, padding=1, bias=False)
        self.bn5 = nn.BatchNorm2d(28)
        self.conv6 = nn.Conv2d(28, 10, 3, padding=1, bias=False)
        self.bn6 = nn.BatchNorm2d(10)
        self.pool1 = nn.MaxPool2d(2)
        self.pool2 = nn.MaxPool2d(2)
        self.dropout1 = nn.Dropout(0.05)
        self.dropout2 = nn.Dropout(0.05)
        self.gap = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.pool1(self.dropout1(x))
        x = F.relu(self.bn3(self.conv3(x)))
        x = F.relu(self.bn4(self.conv4(x)))
        x = self.pool2(self.dropout2(x))
        x = F.relu(self.bn5(self.conv5(x)))
        x = F.relu(self.bn6(self.conv6(x)))
        x = self.gap(x).view(-1, 10)
        return F.log_softmax(x, dim=1)


def optimizer(model):
    return optim.SGD(model.parameters(), lr=0.03, momentum=0.9, nesterov=True, weight_decay=5e-4)


def scheduler(optimizer, total_steps):
    return optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=0.3,
        total_steps=total_steps,
        pct_start=0.25,
        anneal_strategy="linear",
        cycle_momentum=False,
    )
