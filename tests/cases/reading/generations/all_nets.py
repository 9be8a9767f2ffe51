import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torchvision import datasets, transforms
class Net1(nn.Module):
    def __init__(self):
        super(Net1, self).__init__()
        self.conv1 = nn.Conv2d(1, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(2)
        self.drop = nn.Dropout(0.05)
        self.conv2 = nn.Conv2d(2, 10, 1)
        self.gap = nn.AvgPool2d(26)

    def forward(self, x):
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = self.gap(self.conv2(x))
        x = x.view(-1, 10)
        return F.log_softmax(x, dim=-1)


class Net2(nn.Module):
    def __init__(self):
        super(Net2, self).__init__()
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


class Net3(nn.Module):
    def __init__(self):
        super(Net3, self).__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.05)
        self.conv2 = nn.Conv2d(4, 10, 1)
        self.gap = nn.AvgPool2d(26)

    def forward(self, x):
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = self.gap(self.conv2(x))
        x = x.view(-1, 10)
        return F.log_softmax(x, dim=-1)


class Net4(nn.Module):
    def __init__(self):
        super(Net4, self).__init__()
        self.conv1 = nn.Conv2d(1, 5, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(5)
        self.drop = nn.Dropout(0.05)
        self.conv2 = nn.Conv2d(5, 10, 1)
        self.gap = nn.AvgPool2d(26)

    def forward(self, x):
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = self.gap(self.conv2(x))
        x = x.view(-1, 10)
        return F.log_softmax(x, dim=-1)


class Net5(nn.Module):
    def __init__(self):
        super(Net5, self).__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.05)
        self.conv2 = nn.Conv2d(6, 10, 1)
        self.gap = nn.AvgPool2d(26)

    def forward(self, x):
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = self.gap(self.conv2(x))
        x = x.view(-1, 10)
        return F.log_softmax(x, dim=-1)


class Net6(nn.Module):
    def __init__(self):
        super(Net6, self).__init__()
        self.conv1 = nn.Conv2d(1, 7, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(7)
        self.drop = nn.Dropout(0.05)
        self.conv2 = nn.Conv2d(7, 10, 1)
        self.gap = nn.AvgPool2d(26)

    def forward(self, x):
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = self.gap(self.conv2(x))
        x = x.view(-1, 10)
        return F.log_softmax(x, dim=-1)


from tqdm import tqdm

train_tf = transforms.Compose([transforms.RandomRotation((-7.0, 7.0), fill=(0,)), transforms.ToTensor(),
                               transforms.Normalize((0.1307,), (0.3081,))])
test_tf = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
train_set = datasets.MNIST("./data", train=True, download=True, transform=train_tf)
test_set = datasets.MNIST("./data", train=False, download=True, transform=test_tf)
cuda = torch.cuda.is_available()
loader_args = dict(shuffle=True, batch_size=128, num_workers=4, pin_memory=True) if cuda else dict(shuffle=True, batch_size=64)
train_loader = torch.utils.data.DataLoader(train_set, **loader_args)
test_loader = torch.utils.data.DataLoader(test_set, **loader_args)
def train(model, device, train_loader, optimizer, epoch):
    model.train()
    pbar = tqdm(train_loader)
    for batch_idx, (data, target) in enumerate(pbar):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        pbar.set_description(desc=f"loss={loss.item()} batch_id={batch_idx}")


def test(model, device, test_loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, target in test_loader:
            output = model(data.to(device))
            correct += output.argmax(dim=1).eq(target.to(device)).sum().item()
    print("accuracy", 100.0 * correct / len(test_loader.dataset))
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = Net6().to(device)
optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=6, gamma=0.1)

EPOCHS = 15
for epoch in range(EPOCHS):
    print("EPOCH:", epoch)
    train(model, device, train_loader, optimizer, epoch)
    scheduler.step()
    test(model, device, test_loader)
