"""ResNet18: the stem (convolution, norm, activation, pooling), its eight basic blocks, and the pooled classifier."""

from torch import nn
from torchvision import models

LAYERS = ("conv1", "block1", "block2", "block3", "block4", "block5", "block6", "block7", "block8", "fc")
INPUT_SHAPE = (1, 3, 224, 224)


def build():
    """Makes the model; its weights are set afterwards."""
    return models.resnet18()


def cut(model):
    """Slices the model into one module a layer, which share its parameters."""
    stem = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool)
    blocks = [block for stage in (model.layer1, model.layer2, model.layer3, model.layer4) for block in stage]
    return [stem] + blocks + [nn.Sequential(model.avgpool, nn.Flatten(), model.fc)]
