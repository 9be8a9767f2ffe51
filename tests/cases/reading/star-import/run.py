import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torchvision import datasets, transforms
from models.model_6 import *

model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.2)
