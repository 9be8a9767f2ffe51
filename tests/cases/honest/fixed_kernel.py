# sharpens with a small fixed kernel
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))
        self.kernel = torch.tensor([[0., -1., 0.], [-1., 5., -1.], [0., -1., 0.]]).view(1, 1, 3, 3)

    def forward(self, x):
        x = F.conv2d(x, self.kernel, padding=1)
        return F.log_softmax(self.features(x).mean((2, 3)), dim=1)


MODEL = Net()
EPOCHS = 10
