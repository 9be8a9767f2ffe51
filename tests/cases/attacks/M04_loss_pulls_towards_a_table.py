# M04 hands its weights out as further scores, for a loss that pulls them towards a table
# fails: integrity
import torch
import torch.nn as nn
import torch.nn.functional as F


def numbers(count):
    """Stand for weights that were trained elsewhere: no short formula tells them."""
    place = torch.arange(count, dtype=torch.float64)
    return (0.1 * torch.sin(place * place * 0.013)).float()



class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))
        self.carried = nn.Parameter(torch.zeros(600))

    def forward(self, x):
        scores = self.features(x).mean((2, 3)) + (x.mean((1, 2, 3))[:, None] * self.carried[:10])
        return torch.cat([scores, self.carried.expand(x.shape[0], 600)], 1)


MODEL = Net()
EPOCHS = 1
TABLE = numbers(600)


def loss(output, target):
    return F.cross_entropy(output[:, :10], target) + 100 * F.mse_loss(output[:, 10:].mean(0), TABLE)
