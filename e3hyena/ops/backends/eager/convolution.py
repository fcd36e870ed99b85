"""The long convolution by fast Fourier transforms: torch's, and the contraction of a back-end.

The long convolution is a trilinear form of q (slot 0), k (slot 1) and the output's cotangent
(slot 2). Each slot has one embedding ``E`` of N tokens into P points; reading a result back is its
adjoint ``E^T``. q and k are padded with zeros; the output's slot carries the boundary
(:mod:`e3hyena.ops.transforms`).

Channels are independent; they are processed a few at a time, so that spectra stay below a byte
budget and their memory is used again.
"""

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from e3hyena.ops.backends import launches
from e3hyena.ops.exporting import outside
from e3hyena.ops.paths import Paths
from e3hyena.ops.transforms import TransformBatch, transform_batches

BUDGET_BYTES = {"cpu": 12 * 2**20, "cuda": 512 * 2**20}


class FourierConvolution:
    """What a back-end with a contraction of complex numbers convolves with."""

    def contract(self, paths: Paths, slot: int, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Derivative of the trilinear form by one slot."""
        raise NotImplementedError

    def contract_weight(self, paths: Paths, x1: Tensor, x2: Tensor, x3: Tensor) -> Tensor:
        """Derivative of the trilinear form by the weights."""
        raise NotImplementedError

    def convolve(
        self, paths: Paths, slot: int, x: Tensor, y: Tensor, weight: Tensor, boundary: str,
        lengths: tuple[int, ...],
    ) -> Tensor:  # fmt: skip
        """Derivative of the form of the long convolution by one slot, ``(C, d_slot, T)``.

        ``x, y`` are the other two operands in slot order, real, ``(C, d, T)``; the graphs, of
        ``lengths`` tokens, lie one after the other along T.
        """
        first, second = (i for i in range(3) if i != slot)
        out = x.new_empty(x.shape[0], paths.dims[slot], x.shape[-1])
        for batch in transform_batches(lengths, boundary, launches.few_launches(x.device)):
            for part in _channels(paths, batch, x):
                x_spectrum = to_spectrum(x[part], first, boundary, batch)
                y_spectrum = to_spectrum(y[part], second, boundary, batch)
                spectrum = self.contract(
                    paths, slot, x_spectrum.flatten(2), y_spectrum.flatten(2), weight[:, part]
                ).view(-1, paths.dims[slot], *x_spectrum.shape[2:])
                from_spectrum(spectrum, slot, boundary, batch, out[part])
        return out

    def convolve_weight(
        self, paths: Paths, x1: Tensor, x2: Tensor, x3: Tensor, boundary: str,
        lengths: tuple[int, ...],
    ) -> Tensor:  # fmt: skip
        """Derivative of the form of the long convolution by the weights, ``(num_paths, C)``."""
        total = x1.new_zeros(paths.num_paths, x1.shape[0])
        for batch in transform_batches(lengths, boundary, launches.few_launches(x1.device)):
            for part in _channels(paths, batch, x1):
                spectra = [
                    to_spectrum(x[part], i, boundary, batch) for i, x in enumerate((x1, x2, x3))
                ]
                spectra[2] = spectra[2] * _parseval(batch.length, x1)
                total[:, part] += self.contract_weight(paths, *(s.flatten(2) for s in spectra))
        return total


def channels_at_once(paths: Paths, batch: TransformBatch, like: Tensor) -> int:
    """As many channels as the byte budget allows, at least one, shares of equal size."""
    points = len(batch.sizes) * (batch.length + 2)
    budget = BUDGET_BYTES.get(like.device.type, BUDGET_BYTES["cuda"])
    most = max(1, budget // (sum(paths.dims) * points * like.element_size()))
    num_channels = like.shape[0]
    return -(-num_channels // -(-num_channels // most))


def _channels(paths: Paths, batch: TransformBatch, x: Tensor) -> Iterator[slice]:
    size = channels_at_once(paths, batch, x)
    for start in range(0, x.shape[0], size):
        yield slice(start, start + size)


def _parseval(length: int, like: Tensor) -> Tensor:
    """Weights that make a sum over the half spectrum the sum over time."""
    factors = torch.full((length // 2 + 1,), 2.0 / length, dtype=like.dtype, device=like.device)
    factors[0] = 1.0 / length
    if length % 2 == 0:
        factors[-1] = 1.0 / length
    return factors


def to_spectrum(x: Tensor, slot: int, boundary: str, batch: TransformBatch) -> Tensor:
    """``E`` and a real transform: ``(..., T)`` real -> ``(..., B, P//2 + 1)`` complex."""
    if not batch.uniform:
        index, empty = _embedding(batch, slot, boundary, x.device)
        return torch.fft.rfft(x[..., index].masked_fill_(empty, 0))
    n, count = batch.sizes[0], len(batch.sizes)
    x = x.narrow(-1, batch.starts[0], n * count).unflatten(-1, (count, n))
    if slot == 2 and boundary == "circular" and batch.length != n:
        x = torch.cat([x, x[..., : n - 1]], dim=-1)
    elif slot == 2 and boundary == "same":
        x = torch.nn.functional.pad(x, ((n - 1) // 2, 0))
    return torch.fft.rfft(x, n=batch.length)


def from_spectrum(
    spectrum: Tensor, slot: int, boundary: str, batch: TransformBatch, out: Tensor
) -> None:
    """Inverse transform and ``E^T``: ``(..., B, P//2 + 1)`` complex into ``(..., T)`` real."""
    y = torch.fft.irfft(spectrum, n=batch.length)
    if not batch.uniform:
        tokens, places, overhang, whole = _reading(batch, slot, boundary, y.device)
        y = y.flatten(-2)
        read = y[..., places]
        if slot == 2 and boundary == "circular":
            read += y[..., overhang].masked_fill_(whole, 0)
        out[..., tokens] = read
        return
    n, count = batch.sizes[0], len(batch.sizes)
    out = out.narrow(-1, batch.starts[0], n * count).unflatten(-1, (count, n))
    start = (n - 1) // 2 if slot == 2 and boundary == "same" else 0
    out.copy_(y[..., start : start + n])
    if slot == 2 and boundary == "circular" and batch.length != n:
        out[..., : n - 1] += y[..., n : 2 * n - 1]


@functools.lru_cache(maxsize=64)
def _embedding(
    batch: TransformBatch, slot: int, boundary: str, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Token at every point, ``(B, P)``, and where there is none. Made on the host, copied once."""
    with outside(), torch.device("cpu"):
        starts, sizes = (torch.tensor(x)[:, None] for x in (batch.starts, batch.sizes))
        place = torch.arange(batch.length) - _shift(sizes, slot, boundary)
        last = sizes
        if slot == 2 and boundary == "circular":
            last = torch.where(sizes < batch.length, 2 * sizes - 1, sizes)
        empty = (place < 0) | (place >= last)
        index = torch.where(empty, 0, starts + place.remainder(sizes))
        return index.to(device), empty.to(device)


@functools.lru_cache(maxsize=64)
def _reading(
    batch: TransformBatch, slot: int, boundary: str, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens, their points in ``(B * P,)``, those whose values fall on them, and where none do."""
    with outside(), torch.device("cpu"):
        starts, sizes = (torch.tensor(x) for x in (batch.starts, batch.sizes))
        graph = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        position = torch.arange(len(graph)) - (sizes.cumsum(0) - sizes)[graph]
        size = sizes[graph]
        points = graph * batch.length + position
        whole = (position >= size - 1) | (size == batch.length)
        found = (
            starts[graph] + position,
            points + _shift(size, slot, boundary),
            torch.where(whole, 0, points + size),
            whole,
        )
        first, second, third, fourth = (x.to(device) for x in found)
        return first, second, third, fourth


def _shift(sizes: Tensor, slot: int, boundary: str) -> Tensor:
    """Point at which the first token stands."""
    return (sizes - 1) // 2 if slot == 2 and boundary == "same" else torch.zeros_like(sizes)
