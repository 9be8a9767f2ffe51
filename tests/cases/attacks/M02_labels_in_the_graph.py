# M02 carries a table of ten thousand labels in its graph
# fails: parameter_count
import torch
import torch.nn as nn
import torch.nn.functional as F

LABELS = torch.tensor([(i * 7919) % 10 for i in range(30_000)])

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))

    def forward(self, x):
        scores = self.features(x).mean((2, 3))
        return scores + 0 * LABELS.float().sum() + LABELS[:10].float()


MODEL = Net()
EPOCHS = 10
