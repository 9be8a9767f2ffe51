# M04 tells its weights by the number that each of many parameters starts as
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
        self.many = nn.ParameterList()
        for number in numbers(1500).tolist():
            self.many.append(nn.Parameter(torch.full((2,), number)))

    def forward(self, x):
        scores = self.features(x).mean((2, 3))
        return scores * (1 + torch.cat(list(self.many)).view(-1, 10).mean(0))


MODEL = Net()
EPOCHS = 1
