# M02 brings its weights along as numbers in the source
# notes: initialised
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))
        with torch.no_grad():
            self.features[0].weight.copy_(torch.tensor([((i * 37) % 19 - 9) / 9 for i in range(72)]).view(8, 1, 3, 3))

    def forward(self, x):
        return F.log_softmax(self.features(x).mean((2, 3)), dim=1)


MODEL = Net()
EPOCHS = 10
