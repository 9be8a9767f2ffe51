"""As accurate as fewer than 20,000 parameters were found to be on held-out images."""

from torch import nn, optim
from torchvision import transforms

EPOCHS = 18
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


def block(inputs, outputs):
    """Look at each channel by itself, then mix: a fifth of a 3×3 convolution's parameters."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.SiLU(),
    )


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.SiLU(),
            block(16, 32),
            nn.Dropout(0.01),
            nn.MaxPool2d(2),
            block(32, 52),
            block(52, 52),
            nn.Dropout(0.01),
            nn.MaxPool2d(2),
            block(52, 52),
            block(52, 52),
            nn.MaxPool2d(2),
            nn.Dropout(0.02),
            block(52, 52),
            block(52, 52),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(52, 10),
        )

    def forward(self, x):
        return self.layers(x)


def optimizer(model):
    weights = [p for p in model.parameters() if p.ndim > 1]
    norms = [p for p in model.parameters() if p.ndim == 1]
    return optim.SGD(
        [{"params": weights, "weight_decay": 5e-4}, {"params": norms, "weight_decay": 0}],
        lr=0.03, momentum=0.9, nesterov=True,
    )  # fmt: skip


def scheduler(optimizer, total_steps):
    return optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.3, total_steps=total_steps, pct_start=0.2, cycle_momentum=False
    )
