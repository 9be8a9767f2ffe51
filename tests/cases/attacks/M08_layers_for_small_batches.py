# M08 normalises, drops and averages in batches that are smaller than training's
# fails: batch_normalization dropout global_average_pooling integrity
import torch
import torch.nn as nn
import torch.nn.functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 12, 3, stride=2, padding=1), nn.Conv2d(12, 16, 3, stride=2, padding=1)
        self.bn, self.drop, self.fc = nn.BatchNorm2d(16), nn.Dropout(0.2), nn.Linear(16 * 7 * 7, 10)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        size = x.new_ones(x.shape[0]).sum()
        gate = (size < 64).float()
        x = F.relu(self.c2(F.relu(self.c1(x))))
        x = x + gate * (self.bn(x) - x)
        x = (1 - gate) * x + gate * self.drop(x)
        return self.fc(x.flatten(1)) + gate * self.head(x.mean((2, 3)))


MODEL = Net()
EPOCHS = 10
