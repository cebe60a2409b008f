"""AlexNet (arXiv:1404.5997), cut before each convolution and each fully connected layer.

Activations and pooling go with the layer before them, flattening and dropout with the fully connected layer behind.
Parameters bear torchvision's names, so that its weights fit.
"""

from typing import List

from torch import nn

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc1", "fc2", "fc3")
INPUT_SHAPE = (1, 3, 224, 224)


def build() -> nn.Module:
    """Makes the model; its weights are set afterwards."""

    def relu() -> nn.Module:
        return nn.ReLU(inplace=True)

    def pool() -> nn.Module:
        return nn.MaxPool2d(kernel_size=3, stride=2)

    model = nn.Module()
    model.features = nn.Sequential(
        *[nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2), relu(), pool()],
        *[nn.Conv2d(64, 192, kernel_size=5, padding=2), relu(), pool()],
        *[nn.Conv2d(192, 384, kernel_size=3, padding=1), relu()],
        *[nn.Conv2d(384, 256, kernel_size=3, padding=1), relu()],
        *[nn.Conv2d(256, 256, kernel_size=3, padding=1), relu(), pool()],
    )
    model.classifier = nn.Sequential(
        *[nn.Dropout(), nn.Linear(256 * 6 * 6, 4096), relu()],
        *[nn.Dropout(), nn.Linear(4096, 4096), relu()],
        nn.Linear(4096, 1000),
    )
    return model


def cut(model: nn.Module) -> List[nn.Module]:
    """Slices the model into one module a layer, which share its parameters."""
    features, classifier = [list(part.children()) for part in model.children()]
    return [
        nn.Sequential(*features[0:3]),
        nn.Sequential(*features[3:6]),
        nn.Sequential(*features[6:8]),
        nn.Sequential(*features[8:10]),
        nn.Sequential(*features[10:13], nn.AdaptiveAvgPool2d(6)),
        nn.Sequential(nn.Flatten(), *classifier[0:3]),
        nn.Sequential(*classifier[3:6]),
        classifier[6],
    ]
