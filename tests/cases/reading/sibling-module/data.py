import torch
from torchvision import datasets, transforms
train_tf = transforms.Compose([transforms.RandomRotation((-7.0, 7.0), fill=(0,)), transforms.ToTensor(),
                               transforms.Normalize((0.1307,), (0.3081,))])
test_tf = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
train_set = datasets.MNIST("./data", train=True, download=True, transform=train_tf)
test_set = datasets.MNIST("./data", train=False, download=True, transform=test_tf)
cuda = torch.cuda.is_available()
loader_args = dict(shuffle=True, batch_size=128, num_workers=4, pin_memory=True) if cuda else dict(shuffle=True, batch_size=64)
train_loader = torch.utils.data.DataLoader(train_set, **loader_args)
test_loader = torch.utils.data.DataLoader(test_set, **loader_args)
