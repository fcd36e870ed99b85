"""Smooth radial functions of finite range."""

import math

from torch import Tensor, nn

from e3hyena.ops.radial import radial


def init_silu_mlp(mlp: nn.Sequential) -> None:
    """Unit variance through linear and SiLU layers: normal weights, zero biases."""
    gain = 1.0
    for layer in mlp:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=gain * layer.in_features**-0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            gain = 1.68  # <silu(x)^2>^(-1/2) for unit normal x


class RadialBasis(nn.Module):
    r"""Bessel functions times a polynomial envelope.

    .. math:: e_n(r) = \frac{1}{\sigma}\,\frac{\sin(n\pi x)}{x}\,f(x),\qquad x = r/r_c,\qquad
              f(x) = 1 - 28x^6 + 48x^7 - 21x^8

    for :math:`n = 1, \dots, N`, and zero beyond the cutoff :math:`r_c`. f and its first two
    derivatives vanish there. :math:`e_n` is an even function of r, smooth at zero.
    :math:`\sigma = 0.93` makes :math:`\langle e_n^2\rangle = 1` for neighbours spread evenly over
    the sphere (4 % more at n = 1, 3 % less at n = 2). No learned parameters.

    References
    ----------
    Gasteiger, Groß, Günnemann, Directional Message Passing for Molecular Graphs, 2020.
    """

    def __init__(self, num_basis: int, cutoff: float) -> None:
        super().__init__()
        if num_basis < 1:
            raise ValueError(f"num_basis={num_basis} must be at least 1")
        if not (cutoff > 0 and math.isfinite(cutoff)):
            raise ValueError(f"cutoff={cutoff} must be a positive, finite length")
        self.num_basis, self.cutoff = num_basis, float(cutoff)

    def forward(self, distance: Tensor) -> Tensor:
        """Distances ``(...)``, not negative -> ``(..., num_basis)``, same dtype."""
        return radial(distance, self.num_basis, self.cutoff)

    def extra_repr(self) -> str:
        return f"num_basis={self.num_basis}, cutoff={self.cutoff}"
