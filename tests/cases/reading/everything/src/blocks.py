from torch import nn


def conv_block(i, o, drop):
    return nn.Sequential(nn.Conv2d(i, o, 3, bias=False), nn.ReLU(), nn.BatchNorm2d(o), nn.Dropout(drop))
