# M04 keeps its weights in the running statistics of a norm that no image goes through
# fails: parameter_count
import torch
import torch.nn as nn
import torch.nn.functional as F


COUNT = 24_000


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.05), nn.Conv2d(8, 10, 3))
        self.store = nn.BatchNorm1d(COUNT, affine=False)

    def forward(self, x):
        still = torch.zeros(1, COUNT)
        weights = F.batch_norm(still, self.store.running_mean, self.store.running_var)[0]
        return self.features(x).mean((2, 3)) * (1 + weights.view(-1, 10).mean(0))


MODEL = Net()
EPOCHS = 5


def train(model, train_loader, epochs):
    weights = nn.Parameter(torch.randn(COUNT))
    optimizer = torch.optim.Adam([weights, *model.parameters()], lr=1e-3)
    for _ in range(epochs):
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images) * weights.view(-1, 10).mean(0), labels)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                model.store.running_mean.copy_(-weights)
