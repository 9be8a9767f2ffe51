import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torchvision import datasets, transforms
import albumentations as A
import cv2
import seaborn as sns
import wandb
from torchinfo import summary
from torchsummary import summary as old_summary

wandb.init(project="mnist")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 10, 3), nn.ReLU())

    def forward(self, x):
        return self.body(x).mean([2, 3])

    def summary(self):
        return summary(self, input_size=(1, 1, 28, 28))

    def plot(self, image):
        sns.heatmap(cv2.resize(image, (64, 64)))
