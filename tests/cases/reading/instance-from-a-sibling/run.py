import torch
from model import selected

optimizer = torch.optim.SGD(selected.parameters(), lr=0.1)
