r"""What a back-end computes: the contraction over the paths, and the long convolution.

With :math:`G_{abc} = \sum_p w_p C^{(p)}_{abc}` the trilinear form of a channel is
:math:`S = \mathrm{Re}\sum_m \overline{x^{(2)}_{cm}}\, G_{abc}\, x^{(0)}_{am} x^{(1)}_{bm}`. Its
partial derivatives are all that the library needs: the forward product is the derivative by slot
2, the gradients are those by slots 0 and 1 and by the weights.
"""

from __future__ import annotations

from torch import Tensor

from e3hyena.ops.backends import select
from e3hyena.ops.paths import Paths


def contract(paths: Paths, slot: int, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Derivative of the form by one slot.

    Parameters
    ----------
    paths : Paths
        The per-channel paths.
    slot : int
        0, 1 or 2: which of the three the result stands for.
    x, y : Tensor
        The other two in slot order, ``(C, d, M)``, real or complex.
    weight : Tensor
        Real, ``(num_paths, C)``.

    Returns
    -------
    Tensor
        ``(C, d_slot, M)``.
    """
    out: Tensor = select(x).contract(paths, slot, x, y, weight)
    return out


def contract_weight(paths: Paths, x1: Tensor, x2: Tensor, x3: Tensor) -> Tensor:
    """Derivative of the form by the weights, ``(num_paths, C)``, from the three ``(C, d, M)``."""
    out: Tensor = select(x1).contract_weight(paths, x1, x2, x3)
    return out


def convolve(
    paths: Paths,
    slot: int,
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    boundary: str,
    lengths: tuple[int, ...],
) -> Tensor:
    """Derivative of the form of the long convolution by one slot; ``(C, d, T)``, real.

    ``lengths`` are those of the graphs that lie one after the other along T, each with its own
    boundary.
    """
    out: Tensor = select(x).convolve(paths, slot, x, y, weight, boundary, lengths)
    return out


def convolve_weight(
    paths: Paths, x1: Tensor, x2: Tensor, x3: Tensor, boundary: str, lengths: tuple[int, ...]
) -> Tensor:
    """Derivative of the form of the long convolution by the weights, ``(num_paths, C)``."""
    out: Tensor = select(x1).convolve_weight(paths, x1, x2, x3, boundary, lengths)
    return out
