"""Hyena's filter on learned invariant coordinates: a long convolution for sets."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.base import Mixer
from e3hyena.mixers.features import KernelFeatures
from e3hyena.mixers.heads import check_heads
from e3hyena.mixers.invariants import angles, invariants
from e3hyena.ops.paths import Paths
from e3hyena.ops.segments import Group, Segments
from e3hyena.ops.tensor_product import tensor_product

BLOCK = 4096  # tokens whose features are in memory at once
LEAST_WEIGHT = 0.01  # a graph in which nobody wants to speak has a mean too


class Coordinate(Mixer):
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
    are features. h holds one gain per feature, irrep copy and channel.

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
        K. Zero: no sharpening.
    """

    companion = "q"

    def __init__(
        self,
        hidden: ChannelIrreps,
        *,
        heads: int | None = None,
        modes: int = 16,
        max_frequency: float = 8.0,
        degree: int = 1,
        sharpening: int = 4,
    ) -> None:
        super().__init__(hidden)
        self.heads = check_heads(heads, hidden.num_channels, default=8)
        if sharpening < 0:
            raise ValueError(f"sharpening={sharpening}; use 0 for none, or a positive number")
        self.sharpening = sharpening
        num_channels, width = hidden.num_channels, len(hidden.per_channel)
        self.paths = Paths(hidden.per_channel, hidden.per_channel, hidden.per_channel)
        self.weight = nn.Parameter(torch.empty(self.paths.num_paths, num_channels))
        self.features = KernelFeatures(hidden, self.heads, modes, max_frequency, degree)
        self.filter = nn.Parameter(torch.empty(2 * modes - 1, num_channels, width))
        self.gain = nn.Parameter(torch.empty(degree, num_channels, width))
        self.powers = nn.Parameter(torch.empty(sharpening + 1, self.heads))
        scalars = len(self._scalars(torch.empty(num_channels, hidden.dim, 0)))
        self.query_mlp = _mlp(scalars, self.heads)
        self.key_mlp = _mlp(scalars, 2 * self.heads)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew; the filter starts smooth, its modes falling off as 1/m."""
        self.features.reset_parameters()
        nn.init.normal_(self.weight)
        nn.init.ones_(self.gain)
        nn.init.ones_(self.powers)
        modes = self.features.modes
        order = torch.cat([torch.arange(1, modes + 1), torch.arange(2, modes + 1)])
        with torch.no_grad():
            self.filter.normal_().div_(order[:, None, None])
        for mlp in (self.query_mlp, self.key_mlp):
            for layer in mlp:
                if isinstance(layer, nn.Linear):
                    nn.init.normal_(layer.weight, std=1.5 * layer.in_features**-0.5)
                    nn.init.zeros_(layer.bias)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """Convolve within every graph."""
        if not self.hidden.dim:
            return v
        z = (v + tensor_product(k, v, self.weight, self.paths)) * 2**-0.5
        a = self.query_mlp(self._scalars(q).T).T[None]
        b, logit = self.key_mlp(self._scalars(k).T).T[None].chunk(2, dim=1)
        layout = segments.similar
        operands = zip(*(layout.gather(x) for x in (q, k, z, a, b, logit)), strict=True)
        parts = [
            self._convolve(group, *part)
            for group, part in zip(layout.groups, operands, strict=True)
        ]
        return layout.scatter(parts, v)

    def _scalars(self, x: Tensor) -> Tensor:
        """Invariants of every token, ``(C, d, T)`` -> ``(S, T)``."""
        parts = invariants(x, self.hidden), angles(x, self.hidden)
        return torch.cat(parts, dim=1).flatten(0, 1)

    def _convolve(
        self, group: Group, q: Tensor, k: Tensor, z: Tensor, a: Tensor, b: Tensor, logit: Tensor
    ) -> Tensor:
        """Moments, filter, read-out. ``q``, ``k``, ``z`` are ``(C, d, B, N)``; coordinates ``a``,
        ``b`` and the logits of the weights are ``(1, H, B, N)``."""
        weight = logit[0].sigmoid() + LEAST_WEIGHT
        if group.padded:
            weight = torch.where(group.mask(z.device), weight, 0)
        weight = weight / weight.sum(dim=-1, keepdim=True)
        blocks = [slice(i, i + BLOCK) for i in range(0, group.size, BLOCK)]
        run = _recomputed if len(blocks) > 1 else _plain
        moments, gram = run(self._moments, *(x[..., blocks[0]] for x in (k, z, b, weight)))
        for block in blocks[1:]:
            more = run(self._moments, *(x[..., block] for x in (k, z, b, weight)))
            moments, gram = moments + more[0], gram + more[1]
        moments = self._apply_filter(self._sharpen(moments, gram))
        parts = [run(self._read, moments, q[..., block], a[..., block]) for block in blocks]
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]

    def _moments(self, k: Tensor, z: Tensor, b: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sums ``(H, B, D, F)`` of z times features and ``(H, B, F, F)`` of features
        times features."""
        features = self.features(b[0], k)
        weighted = (features * weight[:, :, None]).transpose(2, 3)
        values = z.reshape(self.heads, -1, *z.shape[2:]).transpose(1, 2)
        gram = features @ weighted if self.sharpening else features.new_zeros(())
        return values @ weighted, gram

    def _sharpen(self, moments: Tensor, gram: Tensor) -> Tensor:
        """Multiply by the polynomial of the normalised Gram matrix from the right."""
        total = self.powers[0][:, None, None, None] * moments
        if self.sharpening:
            gram = gram * (gram.square().sum(dim=(2, 3), keepdim=True) + 1e-12).rsqrt()
        for power in self.powers[1:]:
            moments = moments - moments @ gram
            total = total + power[:, None, None, None] * moments
        return total

    def _apply_filter(self, moments: Tensor) -> Tensor:
        """Multiply by the filter of every irrep copy."""
        heads, _, rows, _ = moments.shape
        const, cosine, sine, *powers = moments.split(self.features.sizes, dim=-1)

        def per_row(taps: Tensor) -> Tensor:
            """``(n, C, copies)`` -> ``(H, 1, D, n)``."""
            taps = self.hidden.expand(taps, dim=2)
            return taps.reshape(len(taps), heads, 1, rows).permute(1, 2, 3, 0)

        modes = self.features.modes
        real, imaginary = per_row(self.filter).split([modes, modes - 1], dim=-1)
        parts = [
            real[..., :1] * const,
            real[..., 1:] * cosine + imaginary * sine,
            real[..., 1:] * sine - imaginary * cosine,
        ]
        gains = per_row(self.gain).split(1, dim=-1)
        parts += [gain * power for gain, power in zip(gains, powers, strict=False)]
        return torch.cat(parts, dim=-1)

    def _read(self, moments: Tensor, q: Tensor, a: Tensor) -> Tensor:
        """``(H, B, D, F)`` -> ``(C, d, B, N)``."""
        return (moments @ self.features(a[0], q)).transpose(1, 2).reshape(q.shape)

    def extra_repr(self) -> str:
        return f"{self.paths}, sharpening={self.sharpening}"


def _mlp(num_in: int, num_out: int) -> nn.Sequential:
    width = 2 * num_out
    return nn.Sequential(nn.Linear(num_in, width), nn.SiLU(), nn.Linear(width, num_out))


def _plain(function, *operands):  # type: ignore[no-untyped-def]
    return function(*operands)


def _recomputed(function, *operands):  # type: ignore[no-untyped-def]
    """Keep the operands only; what is in between is computed again in the backward pass."""
    return checkpoint(function, *operands, use_reentrant=False, preserve_rng_state=False)
