"""The least time to 99.40 %: the reference network in four epochs."""

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torchvision import transforms

EPOCHS = 4
BATCH_SIZE = 128
PLAIN_EPOCHS = 1  # the last epoch sees the digits as they are
EMA_DECAY = 0.99  # what is tested is the mean of the weights of the last few hundred steps

train_transform = transforms.Compose(
    [
        transforms.RandomAffine(degrees=7, translate=(0.08, 0.08)),
        transforms.ToTensor(),
        transforms.Normalize((0.1307,), (0.3081,)),
    ]
)


class Net(nn.Module):
    """Images [B, 1, 28, 28] in, log-probabilities [B, 10] out."""

    def __init__(self) -> None:
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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Score a batch of images."""
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


def optimizer(model: nn.Module) -> optim.Optimizer:
    """Stochastic gradient descent with momentum and weight decay."""
    return optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)


def scheduler(optimizer: optim.Optimizer, steps_per_epoch: int, epochs: int) -> LRScheduler:
    """One cycle, up and down in straight lines, exactly as long as the training."""
    return OneCycleLR(
        optimizer, max_lr=0.3, epochs=epochs, steps_per_epoch=steps_per_epoch,
        pct_start=0.25, anneal_strategy="linear", cycle_momentum=False,
    )  # fmt: skip


def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood, the mean over a batch."""
    return F.nll_loss(output, target)
