import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torchvision import datasets, transforms
from dataclasses import dataclass, field


@dataclass
class Config:
    width: int = 6
    lr: float = 0.05
    epochs: int = 8
    sizes: list = field(default_factory=lambda: [1, 6])


class Net(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.a = nn.Conv2d(cfg.sizes[0], cfg.width, 3)
        self.b = nn.Conv2d(cfg.width, 10, 1)

    def forward(self, x):
        return self.b(self.a(x)).mean((2, 3))


cfg = Config(epochs=9)
model = Net(cfg)
optimizer = optim.SGD(model.parameters(), lr=cfg.lr)
for epoch in range(cfg.epochs):
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
