"""ResNet18 (arXiv:1512.03385): the stem (convolution, norm, activation, pooling), eight basic blocks, the classifier.

Pooling and flattening in front of the classifier go with it. Parameters bear torchvision's names, so that its weights
fit.
"""

from typing import List

import torch
from torch import nn

LAYERS = ("conv1", "block1", "block2", "block3", "block4", "block5", "block6", "block7", "block8", "fc")
INPUT_SHAPE = (1, 3, 224, 224)
WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions bridged by a residual, which is projected where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super(BasicBlock, self).__init__()
        self.conv1 = nn.Conv2d(channels, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential()
        if stride > 1 or channels != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, width, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += residual
        x = self.relu(x)
        return x


def build() -> nn.Module:
    """Makes the model; its weights are set afterwards."""
    model, channels = nn.Module(), WIDTHS[0]
    model.conv1 = nn.Conv2d(INPUT_SHAPE[1], channels, kernel_size=7, stride=2, padding=3, bias=False)
    model.bn1 = nn.BatchNorm2d(channels)
    for number, width in enumerate(WIDTHS, start=1):
        first = BasicBlock(channels, width, stride=1 if number == 1 else 2)
        setattr(model, "layer{}".format(number), nn.Sequential(first, BasicBlock(width, width, stride=1)))
        channels = width
    model.fc = nn.Linear(channels, 1000)
    return model


def cut(model: nn.Module) -> List[nn.Module]:
    """Slices the model into one module a layer, which share its parameters."""
    pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
    parts = dict(model.named_children())
    stem = nn.Sequential(parts["conv1"], parts["bn1"], nn.ReLU(inplace=True), pool)
    stages = [parts["layer{}".format(number)] for number in range(1, len(WIDTHS) + 1)]
    blocks = [block for stage in stages for block in stage.children()]
    return [stem] + blocks + [nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), parts["fc"])]
