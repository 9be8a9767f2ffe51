# has a rate and a decay of its own for each of its layers, under one cycle
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))

    def forward(self, x):
        return F.log_softmax(self.features(x).mean((2, 3)), dim=1)


MODEL = Net()
EPOCHS = 10


def optimizer(model):
    groups = []
    for i, layer in enumerate(layer for layer in model.features if list(layer.parameters())):
        for parameter in layer.parameters():
            groups.append({'params': [parameter], 'lr': 0.01 * 0.9**i, 'weight_decay': 5e-4 * (parameter.dim() > 1)})
    return torch.optim.AdamW(groups, lr=0.01)


def scheduler(optimizer, steps_per_epoch, epochs):
    rates = [group['lr'] for group in optimizer.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps_per_epoch * epochs)
