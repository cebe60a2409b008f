"""Small models with what makes networks hard to cut: branches, views, in-place changes, tokens, several ends."""

import torch
from torch import nn


def block(channels, width):
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True),
    )  # fmt: skip


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.down3 = block(3, 8), block(8, 16), block(16, 32)
        self.pool = nn.MaxPool2d(2)
        self.up2, self.up1 = nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)
        self.merge2, self.merge1, self.out = block(32, 16), block(16, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        one = self.down1(x)
        two = self.down2(self.pool(one))
        y = self.up2(self.down3(self.pool(two)))
        y = self.merge2(torch.cat([y, two], 1))
        return self.out(self.merge1(torch.cat([self.up1(y), one], 1)))


class Text(nn.Module):
    """Tokens through an encoder."""

    def __init__(self):
        super().__init__()
        self.embedding, self.place = nn.Embedding(100, 16), nn.Parameter(torch.randn(1, 8, 16))
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens):
        return self.head(self.encoder(self.embedding(tokens) + self.place).mean(1))


class TwoEnds(nn.Module):
    """Two inputs, and a dictionary of two outputs."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(8, 16), nn.Linear(4, 16), nn.Linear(32, 3), nn.Linear(32, 2)

    def forward(self, x, y):
        both = torch.cat([self.a(x).relu(), torch.tanh(self.b(y))], -1)
        return {"c": self.c(both), "d": self.d(both)}


class Views(nn.Module):
    """A view is changed in place, and what it looks at later."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 8)

    def forward(self, x):
        y = self.first(x)
        view = y[:, :4]
        view.mul_(2)
        z = y.relu()
        y.add_(1)
        return z + y + view.sum()


class Filled(nn.Module):
    """Memory that the network makes and fills from its input; a mask that depends on shapes only."""

    def forward(self, x):
        mask = torch.zeros(x.shape[-1], x.shape[-1])
        mask[torch.arange(4), torch.arange(4)] = -float("inf")
        room = torch.zeros(x.shape[0], 12)
        room[:, 2:10] = x
        return (room[:, :8].unsqueeze(1) + mask).softmax(-1).sum((1, 2))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(6, 10, 2, batch_first=True, bidirectional=True), nn.Linear(20, 3)

    def forward(self, x):
        y, (hidden, _) = self.lstm(x)
        return self.head(y[:, -1]) + hidden.sum()


class Residual(nn.Module):
    """An in-place sum on what a cut may hand over."""

    def __init__(self):
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.act(self.stem(x))
        y = self.body(x)
        y += x
        return self.act(y).flatten(1).sum(1)


class Pairs(nn.Module):
    """What torch gives as a pair of values and indices."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 6), nn.Linear(6, 4)

    def forward(self, x):
        x = self.first(x) + 0.5 * x[:, :6].max(0)[0]
        values, indices = x.topk(6, 1)
        return self.second(values).topk(2, 1).values + indices[:, :2].float()


SMALL = {
    "unet": (UNet, lambda: (torch.randn(1, 3, 32, 32),)),
    "text": (Text, lambda: (torch.randint(0, 100, (2, 8)),)),
    "two-ends": (TwoEnds, lambda: (torch.randn(2, 8), torch.randn(2, 4))),
    "views": (Views, lambda: (torch.randn(2, 8),)),
    "filled": (Filled, lambda: (torch.randn(2, 8),)),
    "recurrent": (Recurrent, lambda: (torch.randn(1, 5, 6),)),
    "pairs": (Pairs, lambda: (torch.randn(2, 8),)),
    "residual": (Residual, lambda: (torch.randn(1, 3, 8, 8),)),
}


def small(name):
    """A model in evaluation mode, the same each time, and an input."""
    torch.manual_seed(0)
    kind, example = SMALL[name]
    return kind().eval(), example()
