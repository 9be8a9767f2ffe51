import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torchvision import datasets, transforms
from test import evaluate
from train import fit
import data
from net import MNIST

model = MNIST()
optimizer = optim.SGD(model.parameters(), lr=0.2)
