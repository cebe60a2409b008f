"""AlexNet, cut before each convolution and each fully connected layer; activations and pooling go with the layer before.

The adaptive pooling that follows conv5 belongs to conv5, flattening and dropout to the fully connected layer they feed.
"""

from torch import nn
from torchvision import models

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc1", "fc2", "fc3")
INPUT_SHAPE = (1, 3, 224, 224)


def build():
    """Makes the model; its weights are set afterwards."""
    return models.alexnet()


def cut(model):
    """Slices the model into one module a layer, which share its parameters."""
    features, classifier = list(model.features), list(model.classifier)
    return [
        nn.Sequential(*features[0:3]),
        nn.Sequential(*features[3:6]),
        nn.Sequential(*features[6:8]),
        nn.Sequential(*features[8:10]),
        nn.Sequential(*(features[10:13] + [model.avgpool])),
        nn.Sequential(nn.Flatten(), *classifier[0:3]),
        nn.Sequential(*classifier[3:6]),
        classifier[6],
    ]
