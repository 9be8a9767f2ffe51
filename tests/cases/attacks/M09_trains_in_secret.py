# M09 trains itself while it is built and called
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        for _ in range(20):
            loss = self.features(torch.randn(4, 1, 28, 28)).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def forward(self, x):
        return F.log_softmax(self.features(x).mean((2, 3)), dim=1)


MODEL = Net()
EPOCHS = 10
