"""The long convolution from torch's transforms and any back-end's contraction.

Channels are independent; they are processed a few at a time, so that spectra stay below a byte
budget and their memory is used again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from e3hyena.ops.paths import Paths
from e3hyena.ops.spectrum import Bucket, buckets, from_spectrum, to_spectrum

BUDGET_BYTES = {"cpu": 12 * 2**20, "cuda": 512 * 2**20}

Contract = Callable[[Paths, int, Tensor, Tensor, Tensor], Tensor]
ContractWeight = Callable[[Paths, Tensor, Tensor, Tensor], Tensor]


def convolve(
    contract: Contract,
    paths: Paths,
    slot: int,
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    boundary: str,
    lengths: tuple[int, ...],
) -> Tensor:
    """Derivative of the form by one slot; ``x``, ``y`` are the other two, ``(C, d, T)``."""
    first, second = (i for i in range(3) if i != slot)
    out = x.new_empty(x.shape[0], paths.dims[slot], x.shape[-1])
    for bucket in buckets(lengths, boundary):
        for part in _channels(paths, bucket, x):
            x_spectrum = to_spectrum(x[part], first, boundary, bucket)
            y_spectrum = to_spectrum(y[part], second, boundary, bucket)
            spectrum = contract(
                paths, slot, x_spectrum.flatten(2), y_spectrum.flatten(2), weight[:, part]
            ).view(-1, paths.dims[slot], *x_spectrum.shape[2:])
            from_spectrum(spectrum, slot, boundary, bucket, out[part])
    return out


def convolve_weight(
    contract_weight: ContractWeight,
    paths: Paths,
    x1: Tensor,
    x2: Tensor,
    x3: Tensor,
    boundary: str,
    lengths: tuple[int, ...],
) -> Tensor:
    """Derivative of the form by the weights, ``(num_paths, C)``; operands ``(C, d, T)``."""
    total = x1.new_zeros(paths.num_paths, x1.shape[0])
    for bucket in buckets(lengths, boundary):
        for part in _channels(paths, bucket, x1):
            spectra = [
                to_spectrum(x[part], i, boundary, bucket) for i, x in enumerate((x1, x2, x3))
            ]
            spectra[2] = spectra[2] * _parseval(bucket.length, x1)
            total[:, part] += contract_weight(paths, *(s.flatten(2) for s in spectra))
    return total


def channels_at_once(paths: Paths, bucket: Bucket, like: Tensor) -> int:
    """As many channels as the byte budget allows, at least one, shares of equal size."""
    points = len(bucket.sizes) * (bucket.length + 2)
    budget = BUDGET_BYTES.get(like.device.type, BUDGET_BYTES["cuda"])
    most = max(1, budget // (sum(paths.dims) * points * like.element_size()))
    num_channels = like.shape[0]
    return -(-num_channels // -(-num_channels // most))


def _channels(paths: Paths, bucket: Bucket, x: Tensor) -> Iterator[slice]:
    size = channels_at_once(paths, bucket, x)
    for start in range(0, x.shape[0], size):
        yield slice(start, start + size)


def _parseval(length: int, like: Tensor) -> Tensor:
    """Weights that make a sum over the half spectrum the sum over time."""
    factors = torch.full((length // 2 + 1,), 2.0 / length, dtype=like.dtype, device=like.device)
    factors[0] = 1.0 / length
    if length % 2 == 0:
        factors[-1] = 1.0 / length
    return factors
