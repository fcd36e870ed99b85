"""One factor per irrep copy, channel and token."""

from collections.abc import Sequence

from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.backends import select
from e3hyena.ops.backends.eager import rows
from e3hyena.ops.opaque import opaque, paired
from e3hyena.ops.precision import full_precision


def scale_irreps(x: Tensor, factors: Tensor, channels: ChannelIrreps, gain: float = 1.0) -> Tensor:
    """Multiply every irrep copy by its factor, ``(C, d, T)`` by ``(C, copies, T)``, and by a gain.

    The factors are never spread over components, which would cost as much memory as ``x``.
    """
    widths = [w for ir, n in channels.copies.items() for w in [channels.widths[ir]] * n]
    scaled: Tensor = _scale(x, factors, widths, gain)
    return scaled


@opaque(fake=lambda grad, x, factors, *_: (x.new_empty(x.shape), factors.new_empty(factors.shape)))
def _scale_backward(
    grad: Tensor, x: Tensor, factors: Tensor, widths: Sequence[int], gain: float
) -> tuple[Tensor, Tensor]:
    with full_precision(x):
        return select(x).scale_backward(grad, x, factors, widths, gain)


@opaque(
    fake=lambda x, *_: x.new_empty(x.shape),
    gradient=paired(_scale_backward, rows.scale_backward, (0, 1)),
)
def _scale(x: Tensor, factors: Tensor, widths: Sequence[int], gain: float) -> Tensor:
    with full_precision(x):
        return select(x).scale(x, factors, widths, gain)
