"""Hyena's filter on learned invariant coordinates: a long convolution for sets."""

from __future__ import annotations

from typing import ClassVar

import torch
from e3nn import o3
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.features import KernelFeatures
from e3hyena.mixers.heads import check_heads
from e3hyena.mixers.invariant_mlp import InvariantMLP
from e3hyena.mixers.window_conv import window_conv
from e3hyena.mixers.windowed import RangedMixer
from e3hyena.ops.features import by_head
from e3hyena.ops.moments import makes_no_features, moments, read
from e3hyena.ops.paths import Paths
from e3hyena.ops.segments import Segments
from e3hyena.ops.tensor_product import tensor_product
from e3hyena.ops.token_scalars import token_scalars
from e3hyena.ops.window import Window

BLOCK = 8192  # tokens whose features are in memory at once
LEAST_WEIGHT = 0.01  # a graph in which nobody wants to speak has a mean too


class Coordinate(RangedMixer):
    r"""Long convolution between learned invariant coordinates instead of indices.

    Every head has a query coordinate :math:`a_i`, a key coordinate :math:`b_j` and a weight
    :math:`w_j > 0`, small networks of the token's own invariants. Features of a token are M
    Fourier modes of its coordinate and the tensor powers of its irreps,

    .. math:: \varphi(a, x) = \big(\cos\omega_m a,\; \sin\omega_m a,\; x,\; x\otimes x\big),

    so that the products of two tokens' features are functions of :math:`a_i - b_j` (Hyena's
    implicit filter, :math:`\mathrm{Re}\,h_m e^{i\omega_m(a_i-b_j)}`) and of :math:`q_i\cdot k_j`
    (which sees the angle that no invariant of one token can). With the means over a graph

    .. math::
        z_j &= \tfrac{1}{\sqrt2}\big(v_j + \mathrm{CG}(k_j \otimes v_j)\big),\qquad
        \langle f\rangle = \textstyle\sum_j w_j f_j \big/ \sum_j w_j \\
        u_i &= \big\langle z\,\varphi(b,k)^T \big\rangle\; p(\hat G)\; h\; \varphi(a_i,q_i),\qquad
        \hat G = \frac{G}{\lVert G\rVert_F},\quad
        G = \big\langle \varphi(b,k)\,\varphi(b,k)^T \big\rangle .

    The polynomial :math:`p(t) = \sum_{k=0}^K c_k (1-t)^k` tends to :math:`1/t`: it divides by how
    often a feature occurs, which makes the kernel as sharp as the tokens are different. With
    :math:`c_k = 1` and K large a token finds the one that shares its key among as many as there
    are features. h holds one gain per feature, irrep copy and channel; those of the modes fall off
    as 1/m.

    All sums are over tokens: O(N M) time, features of a block of tokens in memory, no order, no
    padding of the function, smooth in the features. Exactly equivariant under E(3) and
    permutations; a set and any number of copies of it give the same.

    Parameters
    ----------
    hidden : ChannelIrreps
        Channels and per-channel irreps.
    heads : int, optional
        Number of coordinates, a divisor of the channels. Default: the largest up to 8.
    modes : int
        M, number of frequencies per head, the first of them zero. ``modes=1, degree=0,
        sharpening=0`` leaves a weighted mean over the tokens, the same for all of them.
    max_frequency : float
        Largest initial frequency; the others are spaced geometrically below, down to 1/4.
        Coordinates have about unit spread at initialisation.
    degree : int
        Largest tensor power among the features: 0 (none), 1 or 2.
    sharpening : int
        K. Zero: no sharpening. Rounding errors grow with it, to about 5e-6 in float32 at K = 16.
    range : float, optional
        Radius R beyond which a token hears nobody; None: it hears its whole graph. Then

        .. math:: u_i = \sum_{j} f(r_{ij})\, w_j\, \big(\varphi(a_i,q_i)\, h\, \varphi(b_j,k_j)\big)
                  z_j \Big/ \sum_j f(r_{ij})\, w_j

        over the tokens j within R of i, i among them, with the
        :class:`~e3hyena.mixers.windowed.Falloff` f: a mean over the window of every token,
        O(N) at fixed density. There is no sharpening: ``sharpening`` counts as zero.
    """

    companion = "q"
    cost: ClassVar[str] = "O(N M), M modes"
    purpose: ClassVar[str] = "atoms, point clouds"

    def __init__(
        self,
        hidden: ChannelIrreps,
        *,
        heads: int | None = None,
        modes: int = 16,
        max_frequency: float = 2.0,
        degree: int = 1,
        sharpening: int = 4,
        range: float | None = None,
    ) -> None:
        heads = check_heads(heads, hidden.num_channels, default=8)
        super().__init__(hidden, heads, range)
        if sharpening < 0:
            raise ValueError(f"sharpening={sharpening}; use 0 for none, or a positive number")
        self.sharpening = sharpening if range is None else 0
        num_channels, width = hidden.num_channels, len(hidden.per_channel)
        self.paths = Paths(hidden.per_channel, hidden.per_channel, hidden.per_channel)
        self.weight = nn.Parameter(torch.empty(self.paths.num_paths, num_channels))
        self.features = KernelFeatures(hidden, self.heads, modes, max_frequency, degree)
        self.filter = nn.Parameter(torch.empty(2 * modes - 1, num_channels, width))
        self.gain = nn.Parameter(torch.empty(degree, num_channels, width))
        self.powers = nn.Parameter(torch.empty(self.sharpening + 1, self.heads))
        scalars = len(token_scalars(torch.empty(num_channels, hidden.dim, 0), hidden))
        self.query_mlp = InvariantMLP(scalars, self.heads)
        self.key_mlp = InvariantMLP(scalars, 2 * self.heads)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.features.reset_parameters()
        self.query_mlp.reset_parameters()
        self.key_mlp.reset_parameters()
        nn.init.normal_(self.weight)
        nn.init.normal_(self.filter)
        nn.init.ones_(self.gain)
        nn.init.ones_(self.powers)

    def reached(self, given: set[o3.Irrep]) -> set[o3.Irrep]:
        """The value's kinds, and what the product of key and value leads to."""
        return given | self.paths.reached(given, given)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """Convolve within every graph."""
        if not self.hidden.dim:
            return v
        if self.falloff is not None:
            return self._within(q, k, v, self.window(segments))
        layout = segments.similar
        operands = zip(*(layout.gather(x) for x in (q, k, v)), strict=True)
        parts = [
            self._convolve(q_part, k_part, v_part, group.mask(v.device))
            for group, (q_part, k_part, v_part) in zip(layout.groups, operands, strict=True)
        ]
        return layout.scatter(parts, v)

    def _convolve(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Graphs of similar size; where features are made, a block of tokens at once.

        ``q``, ``k``, ``v`` are ``(C, d, B, N)``, the mask of real tokens is ``(B, N)``.
        """
        num_graphs, size = mask.shape
        lean = not self._dual(size) and makes_no_features(q, self.features.degree)
        if lean or num_graphs * size <= BLOCK:
            return self._small_graphs(q, k, v, mask)
        # split, not slices: the gradient of a slice has the size of the whole
        num_chunks = -(-num_graphs // max(1, BLOCK // size))
        chunk = -(-num_graphs // num_chunks)
        operands = (*(x.split(chunk, dim=2) for x in (q, k, v)), mask.split(chunk))
        parts = zip(*operands, strict=True)
        if size > BLOCK:
            return torch.cat([self._large_graph(*part) for part in parts], dim=2)
        return torch.cat([_recomputed(self._small_graphs, *part) for part in parts], dim=2)

    def _small_graphs(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """All tokens at once; with fewer tokens than features the Gram matrix is theirs."""
        if self._dual(q.shape[-1]):
            z, b, weight = self._keys(k, v, mask)
            features, values = self.features(b, k), by_head(z, self.heads)
            weight = (weight / weight.sum(dim=-1, keepdim=True))[:, :, None]
            gram = features.transpose(2, 3) @ (features * weight)
            means = self._sharpen(values * weight, gram) @ features.transpose(2, 3)
        else:
            means = self._sharpened_means(*self._sums(k, v, mask))
        return self._read(self._apply_filter(means), q)

    def _dual(self, size: int) -> bool:
        """Whether the Gram matrix of the tokens is smaller than that of the features."""
        return self.sharpening > 0 and size < sum(self.features.sizes)

    def _large_graph(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """One graph, a block of tokens at a time."""
        blocks = zip(*(x.split(BLOCK, dim=-1) for x in (k, v, mask)), strict=True)
        parts = zip(*(_recomputed(self._sums, *block) for block in blocks), strict=True)
        sums, total = (sum(rest, first) for first, *rest in parts)
        means = self._apply_filter(self._sharpened_means(sums, total))
        return torch.cat(
            [_recomputed(self._read, means, part) for part in q.split(BLOCK, dim=-1)], dim=-1
        )

    def _sums(self, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sums of z, and below it of features, times features; and of the weights."""
        z, b, weight = self._keys(k, v, mask)
        operands = b, weight, k, z, self.features.frequencies, self.features.degree
        return moments(*operands, self.sharpening > 0), weight.sum(dim=-1)[..., None, None]

    def _keys(self, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values ``(C, d, B, N)``, coordinates and weights ``(H, B, N)``."""
        flat_k, flat_v = k.flatten(2), v.flatten(2)
        product = tensor_product(flat_k, flat_v, self.weight * 2**-0.5, self.paths)
        z = torch.add(product, flat_v, alpha=2**-0.5)
        b, logit = self._coordinates(self.key_mlp, k).chunk(2)
        return z.view(v.shape), b, torch.where(mask, logit.sigmoid() + LEAST_WEIGHT, 0)

    def _coordinates(self, mlp: nn.Module, x: Tensor) -> Tensor:
        """A network of the invariants, ``(C, d, B, N)`` -> ``(outputs, B, N)``."""
        return mlp(token_scalars(x.flatten(2), self.hidden)).unflatten(1, x.shape[2:])

    def _sharpened_means(self, sums: Tensor, total: Tensor) -> Tensor:
        """``(H, B, D, F)``, from what :meth:`_sums` returns."""
        rows = self.hidden.num_channels // self.heads * self.hidden.dim
        return self._sharpen(*(sums / total).tensor_split([rows], dim=2))

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
        for power in self.powers[1:]:
            means = means - means @ gram
            total = total + power[:, None, None, None] * means
        return total

    def _apply_filter(self, means: Tensor) -> Tensor:
        """Multiply by the filter of every irrep copy."""
        heads, _, rows, _ = means.shape
        const, cosine, sine, *powers = means.split(self.features.sizes, dim=-1)

        def per_row(taps: Tensor) -> Tensor:
            """``(n, C, copies)`` -> ``(H, 1, D, n)``."""
            taps = self.hidden.expand(taps, dim=2)
            return taps.reshape(len(taps), heads, 1, rows).permute(1, 2, 3, 0)

        modes = self.features.modes
        order = torch.arange(1, modes + 1, device=means.device, dtype=means.dtype)
        decay = torch.cat([order, order[1:]]).reciprocal()[:, None, None]
        real, imaginary = per_row(self.filter * decay).split([modes, modes - 1], dim=-1)
        parts = [
            real[..., :1] * const,
            real[..., 1:] * cosine + imaginary * sine,
            real[..., 1:] * sine - imaginary * cosine,
        ]
        gains = per_row(self.gain).split(1, dim=-1)
        parts += [gain * power for gain, power in zip(gains, powers, strict=False)]
        return torch.cat(parts, dim=-1)

    def _read(self, means: Tensor, q: Tensor) -> Tensor:
        """``(H, B, D, F)`` -> ``(C, d, B, N)``."""
        a = self._coordinates(self.query_mlp, q)
        if self._dual(q.shape[-1]):  # many small graphs: one batched product is faster
            return (means @ self.features(a, q)).transpose(1, 2).reshape(q.shape)
        return read(means, a, q, self.features.frequencies, self.features.degree)

    def _within(self, q: Tensor, k: Tensor, v: Tensor, window: Window) -> Tensor:
        """Convolve over the pairs of a window."""
        falloff = self.falloff
        assert falloff is not None
        product = tensor_product(k, v, self.weight * 2**-0.5, self.paths)
        z = torch.add(product, v, alpha=2**-0.5)
        a = self.query_mlp(token_scalars(q, self.hidden))
        b, logit = self.key_mlp(token_scalars(k, self.hidden)).chunk(2)
        weight = logit.sigmoid() + LEAST_WEIGHT
        modes = self.features.modes
        order = torch.arange(1, modes + 1, device=z.device, dtype=z.dtype)
        decay = torch.cat([order, order[1:]]).reciprocal()[:, None, None]
        taps = self.hidden.expand(torch.cat([self.filter * decay, self.gain]), dim=2)
        powers = self.powers[0].repeat_interleave(self.hidden.num_channels // self.heads)
        frequencies = self.features.frequencies
        u = window_conv(a, b, weight, q, k, z, frequencies, taps, falloff, window)
        return powers[:, None, None] * u

    def extra_repr(self) -> str:
        return f"{self.paths}, sharpening={self.sharpening}"


def _recomputed(function, *operands):  # type: ignore[no-untyped-def]
    """Keep the operands only; what is in between is computed again in the backward pass."""
    return checkpoint(function, *operands, use_reentrant=False, preserve_rng_state=False)
