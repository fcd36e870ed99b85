"""How the modules in which tokens hear of each other are called on a part of the tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from e3hyena.mixers import Mixer
from e3hyena.mixers.attention import Attention
from e3hyena.mixers.coordinate import Coordinate
from e3hyena.mixers.filter import Filter
from e3hyena.mixers.linear_attention import LinearAttention
from e3hyena.mixers.query_key import QueryKey
from e3hyena.mixers.windowed import RangedMixer
from e3hyena.models.se3_hyena import SE3Hyena
from e3hyena.nn.interaction import Interaction
from e3hyena.nn.short_conv import ShortConv
from e3hyena.ops.segments import Segments
from e3hyena.ops.set_conv_formula import Kernel

if TYPE_CHECKING:
    from e3hyena.parallel.shard import Shard

# Which operands are looked at, and which axis of a parameter counts channels.
_CHANNELS: dict[type, tuple[list[int], dict[str, int]]] = {
    QueryKey: ([0, 1], {"weight": 1}),
    Filter: ([1, 2], {"weight": 1, "mlp.2.weight": 0, "mlp.2.bias": 0, "log_decay": 0}),
    ShortConv: ([0], {"weight": 1}),
}


def by_channel(module: nn.Module, shard: Shard, *operands: Any) -> Tensor:
    """Channels are independent: all tokens of some of them, as ever; two all-to-alls."""
    places, axes = _CHANNELS[type(module)]
    *xs, _ = operands  # the last one is the shard
    channels, whole = len(xs[0]), Segments((shard.total,), shard.device)
    sizes = [xs[place].shape[1] for place in places]
    mine = shard.to_channels(torch.cat([xs[place] for place in places], dim=1))
    parts = dict(zip(places, mine.split(sizes, dim=1), strict=True))
    given = [parts.get(place, parts[places[0]]).contiguous() for place in range(len(xs))]
    own: dict[str, Tensor] = dict(module.named_parameters())
    for name, axis in axes.items():
        shares = own[name].unflatten(axis, (channels, -1)).split(shard.shares(channels), dim=axis)
        own[name] = shares[shard.rank].flatten(axis, axis + 1)
    return shard.to_tokens(functional_call(module, own, (*given, whole)), channels)


def coordinate(
    mixer: Coordinate, shard: Shard, q: Tensor, k: Tensor, v: Tensor, _: Segments
) -> Tensor:
    """Moments of the parts add up to those of the whole; one all-reduce."""
    if not mixer.hidden.dim:
        return v
    a, b, weight, z, q, k = (x.unsqueeze(-2) for x in (*mixer.tokens(q, k, v), q, k))  # one graph
    kernel = Kernel(mixer.features.frequencies, mixer.taps(), mixer.powers, mixer.features.degree)
    means = kernel.means(*shard.add(*kernel.sums(b, weight, k, z)))
    return kernel.read(means, a, q).squeeze(-2)


def linear_attention(
    mixer: LinearAttention, shard: Shard, q: Tensor, k: Tensor, v: Tensor, _: Segments
) -> Tensor:
    """The same."""
    width = len(q) // mixer.heads * q.shape[1]
    queries, keys, values = (x.reshape(mixer.heads, width, x.shape[2]) for x in (q, k, v))
    (moments,) = shard.add(values @ keys.transpose(1, 2))
    scale = max(shard.total, 1) * max(width, 1) ** 0.5
    return (moments / scale @ queries).reshape(v.shape)


def interaction(module: Interaction, shard: Shard, x: Tensor, **arguments: Any) -> Tensor:
    """Features of neighbours in other processes come first; one all-to-all."""
    here = shard.around(x)
    arguments["pos"] = here.new_empty(len(here), 3)  # the geometry of the edges is known
    return module(here, **arguments)[: len(x)]


SHARDED: dict[type, Callable[..., Tensor]] = {
    **dict.fromkeys(_CHANNELS, by_channel),
    Coordinate: coordinate,
    LinearAttention: linear_attention,
    Interaction: interaction,
}


def check_shards(model: nn.Module) -> None:
    """Raise a ValueError that says which part of a model does not shard, and why."""
    for name, module in model.named_modules():
        why = ""
        if isinstance(module, RangedMixer) and module.falloff is not None:
            why = "hears the pairs of a range, which are not exchanged: leave the range out"
        elif isinstance(module, Attention):
            why = "compares every token with every other one, and no sum stands for that: "
            why += "use coordinate, linear_attention, query_key or filter"
        elif isinstance(module, Mixer | SE3Hyena) and type(module) not in SHARDED:
            why = "has no way to reach tokens of other processes (e3hyena.parallel.modules.SHARDED)"
        if why:
            raise ValueError(f"{name} ({type(module).__name__}) does not shard: it {why}")
