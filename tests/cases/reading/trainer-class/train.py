import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torchvision import datasets, transforms
class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 3, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.05)
        self.conv2 = nn.Conv2d(3, 10, 1)
        self.gap = nn.AvgPool2d(26)

    def forward(self, x):
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = self.gap(self.conv2(x))
        x = x.view(-1, 10)
        return F.log_softmax(x, dim=-1)


class Trainer:
    def __init__(self, model, lr=0.02):
        self.model = model.to("cpu")
        self.optimizer = optim.Adam(self.model.parameters(), lr=lr)
        self.criterion = nn.NLLLoss()

    def fit(self, loader, epochs):
        for _ in range(epochs):
            for x, y in loader:
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(x), y)
                loss.backward()
                self.optimizer.step()


loader = torch.utils.data.DataLoader(datasets.MNIST(".", train=True, download=True), batch_size=50)
trainer = Trainer(Net(), lr=0.005)
trainer.fit(loader, epochs=6)
