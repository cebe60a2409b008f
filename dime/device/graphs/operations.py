"""What a document may ask for: an allow-list of PyTorch's functions and modules, by name, and nothing else.

A name is ``functional.NAME``, ``torch.NAME`` or ``tensor.NAME`` (a method), or ``module.NAME`` for the few modules that
are more than the sum of functions. A name outside these lists is refused whatever torch has under it.
"""

import math
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import torch
from torch.nn import functional

Call = Callable[..., Any]  # Any: an operation gives a tensor, a list of them, or a module that was made.

FUNCTIONAL = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    avg_pool1d avg_pool2d avg_pool3d batch_norm celu conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d cosine_similarity dropout elu embedding fold gelu glu group_norm hardshrink hardsigmoid
    hardswish hardtanh instance_norm interpolate layer_norm leaky_relu linear local_response_norm log_softmax
    logsigmoid lp_pool2d max_pool1d max_pool2d max_pool3d mish normalize one_hot pad pixel_shuffle
    pixel_unshuffle prelu relu relu6 rms_norm scaled_dot_product_attention selu sigmoid silu softmax softmin
    softplus softshrink softsign tanh tanhshrink threshold unfold upsample
""".split()
# Each of these is taken from torch or as a tensor's method, whichever the model has called.
COMMON = """
    abs add addcmul addmm amax amin argmax argsort atan baddbmm bitwise_and bitwise_or bmm broadcast_to chunk
    clamp clamp_max clamp_min clone cos cumsum diff div divide dot einsum eq erf exp expm1 flatten flip floor
    floor_divide fmod gather ge gelu gt index_select isnan le lerp log log1p log2 log_softmax logical_and
    logical_not logical_or logsumexp lt masked_fill matmul max maximum mean meshgrid min minimum moveaxis
    movedim mul multiply narrow ne neg negative norm outer permute pow prod reciprocal relu remainder
    repeat_interleave reshape roll rot90 round rsqrt rsub scatter select sigmoid sign silu sin softmax split
    sqrt square squeeze stack std sub subtract sum swapaxes swapdims tanh tensor_split tile topk transpose tril
    triu true_divide trunc unbind unflatten unsqueeze var where zeros_like ones_like
""".split()
TORCH = (
    COMMON
    + """
    adaptive_avg_pool1d bilinear cat concat concatenate conv1d conv2d conv3d dropout embedding group_norm hstack
    layer_norm max_pool1d max_pool2d rms_norm softplus std_mean var_mean vstack dstack
""".split()
)
TENSOR = (
    COMMON
    + """
    __add__ __and__ __eq__ __floordiv__ __ge__ __getitem__ __gt__ __iadd__ __iand__ __idiv__ __imul__ __invert__
    __ior__ __isub__ __itruediv__ __le__ __lt__ __matmul__ __mod__ __mul__ __ne__ __neg__ __or__ __pow__
    __radd__ __rdiv__ __rfloordiv__ __rmul__ __rpow__ __rsub__ __rtruediv__ __setitem__ __sub__ __truediv__ T H
    mT add_ bool byte ceil clamp_ clamp_max_ clamp_min_ contiguous copy_ detach div_ double exp_ expand
    expand_as fill_ float half index_fill int log_ long masked_fill_ mul_ neg_ new_full new_ones new_zeros pow_
    relu_ repeat reshape_as sigmoid_ sqrt_ sub_ tanh_ to type_as unfold view view_as zero_
""".split()
)
ATTRIBUTES = ("T", "H", "mT")
DTYPES = "float16 bfloat16 float32 float64 uint8 int8 int16 int32 int64 bool".split()

# Module -> the arguments of its constructor, which are attributes of a module that was made.
MODULES: Dict[str, List[str]] = {
    "MultiheadAttention": "embed_dim num_heads kdim vdim batch_first".split(),
    "TransformerEncoderLayer": "d_model nhead dim_feedforward activation layer_norm_eps batch_first norm_first".split(),
    "LSTM": "input_size hidden_size num_layers bias batch_first bidirectional proj_size".split(),
    "GRU": "input_size hidden_size num_layers bias batch_first bidirectional".split(),
    "RNN": "input_size hidden_size num_layers nonlinearity bias batch_first bidirectional".split(),
}

# Arguments that are newer than the oldest torch, and their defaults: with these, leaving them out changes nothing.
NEWER: Dict[str, Dict[str, object]] = {
    "functional.interpolate": {"antialias": False},
    "functional.gelu": {"approximate": "none"},
    "torch.gelu": {"approximate": "none"},
    "functional.pad": {"value": None},
    "module.MultiheadAttention": {"is_causal": False, "average_attn_weights": True},
    "module.TransformerEncoderLayer": {"is_causal": False},
}


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: Optional[torch.Tensor] = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: Optional[float] = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """What functional.scaled_dot_product_attention computes, for a torch that lacks it (before 2.0)."""
    if dropout_p or enable_gqa:
        raise NotImplementedError("dropout and grouped queries")
    weights = query.matmul(key.transpose(-2, -1)) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        length = weights.shape[-2:]
        attn_mask = torch.ones(length, dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        weights = weights.masked_fill(attn_mask.logical_not(), -math.inf)
    elif attn_mask is not None:
        weights = weights + attn_mask
    return weights.softmax(-1).matmul(value)


def _rms_norm(
    x: torch.Tensor, normalized_shape: Sequence[int], weight: Optional[torch.Tensor] = None, eps: Optional[float] = None
) -> torch.Tensor:
    """functional.rms_norm, for a torch that lacks it (before 2.4)."""
    axes = tuple(range(-len(normalized_shape), 0))
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    y = x * torch.rsqrt(x.pow(2).mean(dim=axes, keepdim=True) + eps)
    return y if weight is None else y * weight


def _gelu(x: torch.Tensor, approximate: str = "none") -> torch.Tensor:
    """functional.gelu with its approximation, for a torch that lacks that argument (before 1.12)."""
    if approximate == "none":
        return functional.gelu(x)
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x.pow(3))))


def _unflatten(x: torch.Tensor, dim: int, sizes: Sequence[int]) -> torch.Tensor:
    """torch.unflatten, which takes a plain dimension only in newer versions (1.13)."""
    dim = dim % x.dim()
    return x.reshape(tuple(x.shape[:dim]) + tuple(sizes) + tuple(x.shape[dim + 1 :]))


STAND_INS: Dict[str, Call] = {
    "functional.scaled_dot_product_attention": _attention,
    "functional.rms_norm": _rms_norm,
    "torch.rms_norm": _rms_norm,
    "torch.unflatten": _unflatten,
    "torch.concatenate": torch.cat,
}


def names() -> List[str]:
    """Every name that a document may hold, in order."""
    return (
        ["functional." + name for name in FUNCTIONAL]
        + ["torch." + name for name in sorted(set(TORCH))]
        + ["tensor." + name for name in sorted(set(TENSOR))]
        + ["module." + name for name in MODULES]
    )


def find(name: str) -> Optional[Call]:  # noqa: PLR0911 - a return for each kind
    """What a name stands for on this torch.

    Args:
        name: One of `names`.

    Returns:
        The function or module class; None if the name is not allowed, or this torch has neither it nor a stand-in.
    """
    space, _, rest = name.partition(".")
    if space == "functional" and rest in FUNCTIONAL:
        if rest == "gelu" and not _takes_approximate():
            return _gelu
        found = getattr(functional, rest, None)
    elif space == "torch" and rest in TORCH:
        found = getattr(torch, rest, None)
        if rest == "unflatten" and found is None:
            return _unflatten
    elif space == "tensor" and rest in ATTRIBUTES:
        return _attribute(rest) if hasattr(torch.Tensor, rest) else None
    elif space == "tensor" and rest in TENSOR:
        if rest == "unflatten":
            return _unflatten
        found = getattr(torch.Tensor, rest, None)
    elif space == "module" and rest in MODULES:
        return getattr(torch.nn, rest, None)
    else:
        return None
    return STAND_INS.get(name) if found is None else found


def _attribute(name: str) -> Call:
    return lambda tensor: getattr(tensor, name)


def _takes_approximate() -> bool:
    try:
        functional.gelu(torch.zeros(1), approximate="none")
        return True
    except TypeError:
        return False


def without_newer(name: str, keywords: Dict[str, object]) -> Dict[str, object]:
    """Leaves out arguments that an older torch may lack, where they are what that one does anyway."""
    newer = NEWER.get(name, {})
    return {key: value for key, value in keywords.items() if not (key in newer and newer[key] == value)}


def spelled() -> Dict[Call, str]:
    """Function -> its name, for a trace; a function that several names stand for has the first of them."""
    found: Dict[Call, str] = {}
    for name in names():
        space, _, rest = name.partition(".")
        if space == "module":
            continue
        holder = {"functional": functional, "torch": torch, "tensor": torch.Tensor}[space]
        target = getattr(holder, rest, None)
        if rest in ATTRIBUTES and space == "tensor":
            target = getattr(target, "__get__", None)
        if target is not None:
            try:
                found.setdefault(target, name)
            except TypeError:
                continue
    for module in (torch.functional,):  # Python functions behind torch's names
        for rest in TORCH:
            target = getattr(module, rest, None)
            if target is not None:
                found.setdefault(target, "torch." + rest)
    return found


def missing() -> Tuple[str, ...]:
    """Names that this torch has nothing for."""
    return tuple(name for name in names() if find(name) is None)
