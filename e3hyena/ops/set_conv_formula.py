"""The long convolution between coordinates in torch, on graphs of similar size side by side."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from e3hyena.ops.backends import launches
from e3hyena.ops.features import by_head, features
from e3hyena.ops.moments import makes_no_features, moments, read
from e3hyena.ops.segments import Segments
from e3hyena.ops.tiles import TiledSegments

BLOCK = 8192  # tokens whose features are in memory at once; eight times as many on a GPU


def formula(
    a: Tensor, b: Tensor, weight: Tensor, q: Tensor, k: Tensor, z: Tensor, frequencies: Tensor,
    taps: Tensor, powers: Tensor, segments: Segments, degree: int,
) -> Tensor:  # fmt: skip
    """See :func:`e3hyena.ops.set_conv.set_conv`."""
    kernel = Kernel(frequencies, taps, powers, degree)
    if isinstance(segments, TiledSegments):
        return kernel.tiled(segments, *(segments.gather(x) for x in (a, b, weight, q, k, z)))
    layout = segments.similar
    groups = layout.together(a, b, weight, q, k, z)
    return layout.scatter([kernel.convolve(*group) for group in groups], z)


class Kernel:
    """Parameters, and graphs convolved with them.

    Operands are ``a, b, weight``, ``(H, B, N)``, and ``q, k, z``, ``(C, d, B, N)``; the weight of
    padding is zero. Where features are made, a block of tokens at once.
    """

    def __init__(self, frequencies: Tensor, taps: Tensor, powers: Tensor, degree: int) -> None:
        self.frequencies, self.powers, self.degree = frequencies, powers, degree
        self.heads, waves = frequencies.shape
        self.modes, self.sharpening = waves + 1, len(powers) - 1
        self.rows = taps.shape[1] // self.heads * taps.shape[2]
        taps = taps.reshape(len(taps), self.heads, 1, self.rows).permute(1, 2, 3, 0)
        self.real, self.imaginary, self.gain = taps.split(
            [self.modes, self.modes - 1, degree], dim=-1
        )

    def convolve(
        self, a: Tensor, b: Tensor, weight: Tensor, q: Tensor, k: Tensor, z: Tensor
    ) -> Tensor:
        """Graphs of similar size."""
        operands = a, b, weight, q, k, z
        _, num_graphs, size = a.shape
        block = 8 * BLOCK if launches.few_launches(a.device) else BLOCK
        num_features = self._num_features(z)
        dual = self.sharpening > 0 and size < num_features
        small = self._dual if dual else self._small
        if (not dual and makes_no_features(q, self.degree)) or num_graphs * size <= block:
            return small(*operands)
        # split, not slices: the gradient of a slice has the size of the whole
        num_chunks = -(-num_graphs // max(1, block // size))
        chunk = -(-num_graphs // num_chunks)
        parts = zip(*(x.split(chunk, dim=-2) for x in operands), strict=True)
        if size > block:
            return torch.cat([self._large(block, *part) for part in parts], dim=2)
        return torch.cat([_recomputed(small, *part) for part in parts], dim=2)

    def tiled(
        self, tiles: TiledSegments, a: Tensor, b: Tensor, weight: Tensor, q: Tensor, k: Tensor,
        z: Tensor,
    ) -> Tensor:  # fmt: skip
        """Graphs of any sizes; operands are tiles."""
        sums, total = (tiles.sum(x, dim=1) for x in self._sums(b, weight, k, z))
        means = self.means(sums, torch.where(total > 0, total, 1))  # of nothing: an empty graph
        return tiles.scatter(self._read(tiles.spread(means, dim=1), a, q))

    def _num_features(self, x: Tensor) -> int:
        d = x.shape[1]
        powers = [self.rows, self.rows // d * (d * (d + 1) // 2)]
        return 2 * self.modes - 1 + sum(powers[: self.degree])

    def _dual(
        self, a: Tensor, b: Tensor, weight: Tensor, q: Tensor, k: Tensor, z: Tensor
    ) -> Tensor:
        """With fewer tokens than features the Gram matrix is theirs."""
        phi, values = features(b, k, self.frequencies, self.degree), by_head(z, self.heads)
        weight = (weight / weight.sum(dim=-1, keepdim=True))[:, :, None]
        gram = phi.transpose(2, 3) @ (phi * weight)
        means = self._filtered(self._sharpen(values * weight, gram) @ phi.transpose(2, 3))
        queries = features(a, q, self.frequencies, self.degree)
        return (means @ queries).transpose(1, 2).reshape(q.shape)

    def _small(
        self, a: Tensor, b: Tensor, weight: Tensor, q: Tensor, k: Tensor, z: Tensor
    ) -> Tensor:
        return self._read(self.means(*self._sums(b, weight, k, z)), a, q)

    def _large(
        self, block: int, a: Tensor, b: Tensor, weight: Tensor, q: Tensor, k: Tensor, z: Tensor
    ) -> Tensor:
        """One graph, a block of tokens at a time."""
        return self.read(self.means(*self.sums(b, weight, k, z, block)), a, q, block)

    def sums(
        self, b: Tensor, weight: Tensor, k: Tensor, z: Tensor, block: int = BLOCK
    ) -> tuple[Tensor, Tensor]:
        """Weighted sums over tokens, a block at a time; they add up over parts of a graph."""
        blocks = zip(*(x.split(block, dim=-1) for x in (b, weight, k, z)), strict=True)
        parts = zip(*(_recomputed(self._sums, *each) for each in blocks), strict=True)
        sums, total = (sum(rest, first) for first, *rest in parts)
        return sums, total

    def read(self, means: Tensor, a: Tensor, q: Tensor, block: int = BLOCK) -> Tensor:
        """What every token reads, a block at a time."""
        queries = zip(a.split(block, dim=-1), q.split(block, dim=-1), strict=True)
        return torch.cat([_recomputed(self._read, means, *part) for part in queries], dim=-1)

    def _sums(self, b: Tensor, weight: Tensor, k: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sums of z, and below it of features, times features; and of the weights."""
        sums = moments(b, weight, k, z, self.frequencies, self.degree, self.sharpening > 0)
        return sums, weight.sum(dim=-1)[..., None, None]

    def means(self, sums: Tensor, total: Tensor) -> Tensor:
        """What tokens read, ``(H, B, D, F)``."""
        return self._filtered(self._sharpen(*(sums / total).tensor_split([self.rows], dim=2)))

    def _read(self, means: Tensor, a: Tensor, q: Tensor) -> Tensor:
        return read(means, a, q, self.frequencies, self.degree)

    def _sharpen(self, means: Tensor, gram: Tensor) -> Tensor:
        r"""Multiply by the polynomial of the Gram matrix from the right.

        ``gram`` is :math:`\varphi W \varphi^T` and ``means`` end in features, or
        :math:`\varphi^T\varphi W` and they end in tokens: :math:`W\varphi^T p(\varphi
        W\varphi^T) = p(W\varphi^T\varphi)\, W\varphi^T`, with equal traces of powers.
        """
        total = self.powers[0][:, None, None, None] * means
        if self.sharpening:
            square = (gram * gram.transpose(2, 3)).sum(dim=(2, 3), keepdim=True)
            gram = gram * (square + 1e-12).rsqrt()
        shape, gram = means.shape, gram.flatten(0, 1)
        for power in self.powers[1:]:
            flat = means.flatten(0, 1)
            means = torch.baddbmm(flat, flat, gram, alpha=-1).view(shape)
            total = torch.addcmul(total, power[:, None, None, None], means)
        return total

    def _filtered(self, means: Tensor) -> Tensor:
        """Multiply by the filter of every row."""
        waves = self.modes - 1
        rest = means.shape[-1] - 1 - 2 * waves
        powers = [self.rows, rest - self.rows][: self.degree]
        const, cosine, sine, *parts = means.split([1, waves, waves, *powers], dim=-1)
        real, imaginary = self.real[..., 1:], self.imaginary
        filtered = [
            self.real[..., :1] * const,
            real * cosine + imaginary * sine,
            real * sine - imaginary * cosine,
        ]
        gains = self.gain.split(1, dim=-1)
        filtered += [gain * part for gain, part in zip(gains, parts, strict=False)]
        return torch.cat(filtered, dim=-1)


def _recomputed(function: Callable[..., Any], *operands: Tensor) -> Any:
    """Keep the operands only; what is in between is computed again in the backward pass."""
    return checkpoint(function, *operands, use_reentrant=False, preserve_rng_state=False)
