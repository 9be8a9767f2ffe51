# sets the number of threads and asks for cores
import torch
import torch.nn as nn
import torch.nn.functional as F

import multiprocessing
import os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))
        torch.set_num_threads(max(1, min(2, os.cpu_count() or 1)))
        self.cores = multiprocessing.cpu_count()

    def forward(self, x):
        return F.log_softmax(self.features(x).mean((2, 3)), dim=1)


MODEL = Net()
EPOCHS = 10
