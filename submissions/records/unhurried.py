"""The reference network, not in a hurry: twelve epochs, the last six on images as they are."""

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torchvision import transforms

EPOCHS = 12
BATCH_SIZE = 256
PLAIN_EPOCHS = 6
EMA_DECAY = 0.995

train_transform = transforms.Compose(
    [
        transforms.RandomRotation((-7.0, 7.0), fill=(0,)),
        transforms.RandomAffine(degrees=0, translate=(0.1, 0.1)),
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
    """Stochastic gradient descent with momentum; norms are left to grow as they will."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    norms = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": weights, "weight_decay": 5e-4}, {"params": norms, "weight_decay": 0}]
    return optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True)


def scheduler(optimizer: optim.Optimizer, steps_per_epoch: int, epochs: int) -> LRScheduler:
    """One cycle with cosine annealing, exactly as long as the training."""
    return OneCycleLR(
        optimizer, max_lr=0.3, epochs=epochs, steps_per_epoch=steps_per_epoch,
        pct_start=0.2, anneal_strategy="cos", cycle_momentum=False,
    )  # fmt: skip


def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood, the mean over a batch."""
    return F.nll_loss(output, target)
