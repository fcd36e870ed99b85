"""Hyena's filter on learned invariant coordinates: a long convolution for sets."""

from typing import ClassVar

import torch
from e3nn import o3
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.features import KernelFeatures
from e3hyena.mixers.heads import check_heads
from e3hyena.mixers.invariant_mlp import InvariantMLP
from e3hyena.mixers.window_conv import window_conv
from e3hyena.mixers.windowed import RangedMixer
from e3hyena.ops.paths import Paths
from e3hyena.ops.segments import Segments
from e3hyena.ops.set_conv import set_conv
from e3hyena.ops.tensor_product import tensor_product
from e3hyena.ops.token_scalars import token_scalars
from e3hyena.ops.window import Window

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
        a, b, weight, z = self.tokens(q, k, v)
        parameters = self.features.frequencies, self.taps(), self.powers
        return set_conv(a, b, weight, q, k, z, *parameters, segments, self.features.degree)

    def tokens(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Coordinates of queries and keys and weights, ``(H, T)``, and values."""
        product = tensor_product(k, v, self.weight * 2**-0.5, self.paths)
        z = torch.add(product, v, alpha=2**-0.5)
        a = self.query_mlp(token_scalars(q, self.hidden))
        b, logit = self.key_mlp(token_scalars(k, self.hidden)).chunk(2)
        return a, b, logit.sigmoid() + LEAST_WEIGHT, z

    def taps(self) -> Tensor:
        """The filter, falling off as 1/m, and the gains, ``(2 M - 1 + degree, C, d)``."""
        modes = self.features.modes
        order = torch.arange(1, modes + 1, device=self.filter.device, dtype=self.filter.dtype)
        decay = torch.cat([order, order[1:]]).reciprocal()[:, None, None]
        return self.hidden.expand(torch.cat([self.filter * decay, self.gain]), dim=2)

    def _within(self, q: Tensor, k: Tensor, v: Tensor, window: Window) -> Tensor:
        """Convolve over the window of every token."""
        falloff = self.falloff
        assert falloff is not None
        a, b, weight, z = self.tokens(q, k, v)
        powers = self.powers[0].repeat_interleave(self.hidden.num_channels // self.heads)
        operands = a, b, weight, q, k, z, self.features.frequencies, self.taps()
        return powers[:, None, None] * window_conv(*operands, falloff, window)

    def extra_repr(self) -> str:
        return f"{self.paths}, sharpening={self.sharpening}"
