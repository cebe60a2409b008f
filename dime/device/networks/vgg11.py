"""VGG11, cut before each convolution and each fully connected layer; activations and pooling go with the layer before.

The adaptive pooling that follows conv8 belongs to conv8, flattening and dropout to the fully connected layers.
"""

from torch import nn
from torchvision import models

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "conv7", "conv8", "fc1", "fc2", "fc3")
INPUT_SHAPE = (1, 3, 224, 224)


def build():
    """Makes the model; its weights are set afterwards."""
    return models.vgg11(init_weights=False)


def cut(model):
    """Slices the model into one module a layer, which share its parameters."""
    features, classifier = list(model.features), list(model.classifier)
    starts = [position for position, module in enumerate(features) if isinstance(module, nn.Conv2d)]
    ends = starts[1:] + [len(features)]
    convolutions = [features[start:end] for start, end in zip(starts, ends)]
    convolutions[-1].append(model.avgpool)
    return [nn.Sequential(*modules) for modules in convolutions] + [
        nn.Sequential(nn.Flatten(), *classifier[0:3]),
        nn.Sequential(*classifier[3:6]),
        classifier[6],
    ]
