# leaves a thread that watches it
import torch
import torch.nn as nn
import torch.nn.functional as F

import threading
import time


def watch():
    time.sleep(300)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))
        thread = threading.Thread(target=watch, daemon=True)
        thread.start()

    def forward(self, x):
        return F.log_softmax(self.features(x).mean((2, 3)), dim=1)


MODEL = Net()
EPOCHS = 10
