"""ViT-B/16 (arXiv:2010.11929): patch projection, class token, position embedding, twelve encoder layers, the head.

Parameters bear torchvision's names, so that its weights fit. The head takes all tokens: it norms them and selects the
class token.
"""

from collections import OrderedDict
from typing import Dict, List, Mapping

import torch
from torch import nn

DEPTH = 12
HEADS = 12
WIDTH = 768
PATCH = 16
INPUT_SHAPE = (1, 3, 224, 224)
LAYERS = (
    ("conv_proj", "process_input_operations", "add_pos_embedding")
    + tuple("encoder_layer_{}".format(index) for index in range(DEPTH))
    + ("head",)
)


class ProcessInput(nn.Module):
    """Turns the projected patches into a sequence behind the trained class token."""

    def __init__(self, class_token: torch.Tensor) -> None:
        super(ProcessInput, self).__init__()
        self.class_token = class_token

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.reshape(x.shape[0], x.shape[1], -1).permute(0, 2, 1)
        return torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)


class AddPosition(nn.Module):
    """Adds the trained position embedding."""

    def __init__(self, pos_embedding: torch.Tensor) -> None:
        super(AddPosition, self).__init__()
        self.pos_embedding = pos_embedding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.pos_embedding


class EncoderLayer(nn.Module):
    """Self-attention and a two-layer perceptron, each behind a layer norm and bridged by a residual."""

    def __init__(self) -> None:
        super(EncoderLayer, self).__init__()
        self.ln_1 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.ln_2 = nn.LayerNorm(WIDTH, eps=1e-6)
        # Dropouts hold the places 2 and 4, so that the second linear layer bears torchvision's name mlp.3.
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Dropout(0.0), nn.Linear(4 * WIDTH, WIDTH), nn.Dropout(0.0)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = self.ln_1(x)
        attended, _ = self.self_attention(normed, normed, normed, need_weights=False)
        x = attended + x
        x = x + self.mlp(self.ln_2(x))
        return x


class Head(nn.Module):
    """The final layer norm over all tokens, the class token's selection, and the classifier."""

    def __init__(self, ln: nn.Module, heads: nn.Module) -> None:
        super(Head, self).__init__()
        self.ln = ln
        self.heads = heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.heads(self.ln(x)[:, 0])
        return scores


def build() -> nn.Module:
    """Makes the model; its weights are set afterwards."""
    tokens = (INPUT_SHAPE[2] // PATCH) * (INPUT_SHAPE[3] // PATCH) + 1
    model = nn.Module()
    model.conv_proj = nn.Conv2d(INPUT_SHAPE[1], WIDTH, kernel_size=PATCH, stride=PATCH)
    model.class_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
    model.encoder = nn.Module()
    model.encoder.pos_embedding = nn.Parameter(torch.zeros(1, tokens, WIDTH))
    model.encoder.layers = nn.Sequential(
        OrderedDict(("encoder_layer_{}".format(index), EncoderLayer()) for index in range(DEPTH))
    )
    model.encoder.ln = nn.LayerNorm(WIDTH, eps=1e-6)
    model.heads = nn.Sequential(OrderedDict(head=nn.Linear(WIDTH, 1000)))
    return model


def adapt(state: Mapping[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
    """Renames the perceptrons of weights that were saved by torchvision 0.12, as the published ones were."""
    return OrderedDict(
        (name.replace(".mlp.linear_1.", ".mlp.0.").replace(".mlp.linear_2.", ".mlp.3."), tensor)
        for name, tensor in state.items()
    )


def cut(model: nn.Module) -> List[nn.Module]:
    """Slices the model into one module a layer, which share its parameters."""
    parts, tensors = dict(model.named_modules()), dict(model.named_parameters())
    entry = [parts["conv_proj"], ProcessInput(tensors["class_token"]), AddPosition(tensors["encoder.pos_embedding"])]
    return entry + list(parts["encoder.layers"].children()) + [Head(parts["encoder.ln"], parts["heads"])]
