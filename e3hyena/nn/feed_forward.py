"""Token-wise networks: gated, and with a tensor product."""

import torch
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps, IrrepsLike, Layout, TokenLayout, parse_irreps
from e3hyena.nn.gate import Gate
from e3hyena.nn.linear import Linear
from e3hyena.ops.paths import Paths
from e3hyena.ops.precision import full_precision
from e3hyena.ops.tensor_product import tensor_product


class FeedForward(nn.Module):
    r"""Linear, gate, linear: the equivariant MLP of a block.

    Parameters
    ----------
    layout_in, layout_out : RowLayout, TokenLayout, ChannelIrreps, Irreps or str
        Operands; irreps stand for e3nn's ``(T, dim)``.
    hidden : ChannelIrreps
        Irreps between the two linear maps.

    Examples
    --------
    >>> mlp = FeedForward("8x0e + 8x1o", "0e", ChannelIrreps("16x0e + 16x1o"))
    >>> mlp(torch.randn(5, 32)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self, layout_in: Layout | IrrepsLike, layout_out: Layout | IrrepsLike, hidden: ChannelIrreps
    ) -> None:
        super().__init__()
        self.expand = Linear(layout_in, hidden, bias=True)
        self.gate = Gate(hidden)
        self.contract = Linear(hidden, layout_out, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to every token."""
        return self.contract(self.gate(self.expand(x)))


class TensorProductMLP(nn.Module):
    r"""Linear, tensor product of two linear images, gate, linear.

    .. math:: y = W_4\,\mathrm{gate}\big(W_1 x + \mathrm{CG}(W_2 x \otimes W_3 x)\big)

    Per channel it holds ``0e + 1o + 1e + 0o``, the scalars, vectors, bivectors and pseudoscalars of
    the Clifford algebra of three dimensions, whose geometric product is one weighting of the paths:
    this is SE(3)-Hyena's Clifford MLP written in irreps.

    Parameters
    ----------
    irreps_in, irreps_out : o3.Irreps or str
        Irreps of the tokens, ``(T, dim)`` in e3nn's layout.
    num_channels : int
        Number of multivectors.

    Examples
    --------
    >>> mlp = TensorProductMLP("4x0e + 2x1o", "3x1o", num_channels=8)
    >>> mlp(torch.randn(5, 10)).shape
    torch.Size([5, 9])
    """

    multivector = "0e + 1o + 1e + 0o"

    def __init__(self, irreps_in: IrrepsLike, irreps_out: IrrepsLike, num_channels: int) -> None:
        super().__init__()
        self.irreps_in = parse_irreps(irreps_in, "irreps_in")
        self.irreps_out = parse_irreps(irreps_out, "irreps_out")
        hidden = ChannelIrreps(num_channels * parse_irreps(self.multivector))
        self.expand = Linear(TokenLayout(self.irreps_in), hidden, groups=3, bias=True)
        self.paths = Paths(hidden.per_channel, hidden.per_channel, hidden.per_channel)
        self.weight = nn.Parameter(torch.randn(self.paths.num_paths, num_channels))
        self.gate = Gate(hidden)
        self.contract = Linear(hidden, TokenLayout(self.irreps_out))

    def forward(self, x: Tensor) -> Tensor:
        """``(T, irreps_in.dim)`` -> ``(T, irreps_out.dim)``."""
        with full_precision(x):
            direct, left, right = self.expand(x)
            product = tensor_product(left, right, self.weight, self.paths)
            return self.contract(self.gate((direct + product) * 2**-0.5))
