import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torchvision import datasets, transforms

config = {'lr': 0.02, 'batch_size': 32, 'epochs': 3, 'width': 5}
class Net(nn.Module):
    def __init__(self, width):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, width, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.05)
        self.conv2 = nn.Conv2d(width, 10, 1)
        self.gap = nn.AvgPool2d(26)

    def forward(self, x):
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = self.gap(self.conv2(x))
        x = x.view(-1, 10)
        return F.log_softmax(x, dim=-1)


model = Net(config['width'])
optimizer = optim.RMSprop(model.parameters(), lr=config['lr'])
loader = torch.utils.data.DataLoader(datasets.MNIST('.', train=True, download=True), batch_size=config['batch_size'])
for epoch in range(1, config['epochs'] + 1):
    for x, y in loader:
        loss = F.nll_loss(model(x), y)
        loss.backward()
        optimizer.step()
