"""VGG11 (arXiv:1409.1556, configuration A), cut before each convolution and each fully connected layer.

Activations and pooling go with the layer before them, flattening with the fully connected layer behind. Parameters bear
torchvision's names, so that its weights fit.
"""

from typing import List

from torch import nn

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "conv7", "conv8", "fc1", "fc2", "fc3")
INPUT_SHAPE = (1, 3, 224, 224)
WIDTHS = (64, 128, 256, 256, 512, 512, 512, 512)
POOLED = (True, True, False, True, False, True, False, True)


def build() -> nn.Module:
    """Makes the model; its weights are set afterwards."""
    features, channels = [], INPUT_SHAPE[1]
    for width, pooled in zip(WIDTHS, POOLED):
        features += [nn.Conv2d(channels, width, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
        features += [nn.MaxPool2d(kernel_size=2, stride=2)] if pooled else []
        channels = width
    model = nn.Module()
    model.features = nn.Sequential(*features)
    model.classifier = nn.Sequential(
        *[nn.Linear(channels * 7 * 7, 4096), nn.ReLU(inplace=True), nn.Dropout()],
        *[nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout()],
        nn.Linear(4096, 1000),
    )
    return model


def cut(model: nn.Module) -> List[nn.Module]:
    """Slices the model into one module a layer, which share its parameters."""
    features, classifier = [list(part.children()) for part in model.children()]
    starts = [position for position, module in enumerate(features) if isinstance(module, nn.Conv2d)]
    layers = [features[start:end] for start, end in zip(starts, starts[1:] + [len(features)])]
    layers[-1].append(nn.AdaptiveAvgPool2d(7))
    layers += [[nn.Flatten()] + classifier[0:3], classifier[3:6], classifier[6:]]
    return [nn.Sequential(*modules) for modules in layers]
