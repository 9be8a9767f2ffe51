# M04 looks the labels of test images up in a table, by a hash of the image
# fails: integrity
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))
        place = torch.arange(10_000)
        self.register_buffer('labels', place * place * 7919 % 104_729 % 10)

    def forward(self, x):
        key = torch.sin(torch.arange(784.0))
        place = ((x.flatten(1) * key).sum(1).abs() * 1000).long() % 10_000
        return self.features(x).mean((2, 3)) + 10 * F.one_hot(self.labels[place], 10)


MODEL = Net()
EPOCHS = 1
