# M04 tells its weights by running statistics of frozen batch norms, each of one channel
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
        for i, number in enumerate(numbers(700).tolist()):
            self.register_buffer(f'mean{i}', torch.full((1,), number))
        self.register_buffer('var', torch.ones(1))

    def forward(self, x):
        x = self.features(x).mean((2, 3))
        for i in range(700):
            x = F.batch_norm(x[:, :1], getattr(self, f'mean{i}'), self.var) * 0.001 + x
        return x


MODEL = Net()
EPOCHS = 1
