"""How the modules in which tokens hear of each other are called on a part of the tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from e3hyena.mixers import Mixer
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
from e3hyena.parallel.shard import Shard

# Which axis of a parameter counts channels; the others are whole in every process.
_CHANNELS: dict[type, dict[str, int]] = {
    QueryKey: {"weight": 1},
    Filter: {"weight": 1, "mlp.2.weight": 0, "mlp.2.bias": 0, "log_decay": 0},
    ShortConv: {"weight": 1},
}


def index_module(module: nn.Module, shard: Shard, *operands: Any) -> Tensor:
    """Channels are independent: all tokens of some of them, as ever; two all-to-alls."""
    tensors = operands[:-1]  # the last one is the shard
    channels = len(tensors[0])
    whole = Segments((shard.total,), shard.device)
    xs = shard.to_channels(torch.cat(tensors, dim=1)).split([x.shape[1] for x in tensors], dim=1)
    own = {name: weight for name, weight in module.named_parameters()}
    for name, axis in _CHANNELS[type(module)].items():
        per_channel = own[name].unflatten(axis, (channels, -1))
        parts = per_channel.split(shard.shares(channels), dim=axis)
        own[name] = parts[shard.rank].flatten(axis, axis + 1)
    y = functional_call(module, own, (*(x.contiguous() for x in xs), whole))
    return shard.to_tokens(y, channels)


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


def interaction(
    module: Interaction, shard: Shard, x: Tensor, pos: Tensor, edge_index: Tensor
) -> Tensor:
    """Features and positions of neighbours in other processes come first; one all-to-all."""
    halo = shard.halo.fetch(torch.cat([x, pos.to(x.dtype)], dim=1))
    theirs, there = halo.split([x.shape[1], 3], dim=1)
    here = torch.cat([pos, there.to(pos.dtype)])
    return module(torch.cat([x, theirs]), here, edge_index)[: len(x)]


SHARDED: dict[type, Callable[..., Tensor]] = {
    **dict.fromkeys(_CHANNELS, index_module),
    Coordinate: coordinate,
    LinearAttention: linear_attention,
    Interaction: lambda module, shard, x, edge_index, pos, offset=None: interaction(
        module, shard, x, pos, edge_index
    ),
}


def check_shards(model: nn.Module) -> None:
    """Refuse a model with a part that does not shard.

    Raises
    ------
    ValueError
        That says which part, and why.
    """
    for name, module in model.named_modules():
        what, why = f"{name or 'the model'} ({type(module).__name__})", ""
        if isinstance(module, RangedMixer) and module.falloff is not None:
            why = "hears the pairs of a range, which are not exchanged; leave the range out"
        elif isinstance(module, SE3Hyena) or (
            isinstance(module, Mixer) and type(module) not in SHARDED
        ):
            why = (
                "compares every token with every other one, so each process would need them all "
                "(N^2 work, and no sum that adds up over parts)"
                if type(module).__name__ == "Attention"
                else "has no way to exchange what its tokens hear; add one to SHARDED"
            )
            names = ", ".join(t.__name__ for t in SHARDED if issubclass(t, Mixer))
            why += f"; use one of {names}"
        if why:
            raise ValueError(f"{what} does not shard: it {why}")
