"""One factor per irrep copy, channel and token."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.backends import select
from e3hyena.ops.opaque import opaque, paired
from e3hyena.ops.precision import full_precision


def scale_irreps(x: Tensor, factors: Tensor, channels: ChannelIrreps, gain: float = 1.0) -> Tensor:
    """Multiply every irrep copy by its factor, ``(C, d, T)`` by ``(C, copies, T)``, and by a gain.

    The factors are never spread over components, which would cost as much memory as ``x``.
    """
    widths = [w for ir, n in channels.copies.items() for w in [channels.widths[ir]] * n]
    scaled: Tensor = _scale(x, factors, widths, gain)
    return scaled


def _second(
    needed: Sequence[bool], to_x: Tensor, to_factors: Tensor, grad: Tensor, x: Tensor,
    factors: Tensor, *options: Any,
) -> list[Tensor | None]:  # fmt: skip
    """The operators are linear in each operand, so their gradients are made of them."""
    with full_precision(x):
        by_grad = _scale(to_x, factors, *options) + _scale(x, to_factors, *options)
        by_factors = _scale_backward(grad, to_x, factors, *options)[1]
        return [by_grad, _scale(grad, to_factors, *options), by_factors, None, None]


@opaque(
    fake=lambda grad, x, factors, *_: (x.new_empty(x.shape), factors.new_empty(factors.shape)),
    gradient=_second,
)
def _scale_backward(
    grad: Tensor, x: Tensor, factors: Tensor, widths: Sequence[int], gain: float
) -> tuple[Tensor, Tensor]:
    with full_precision(x):
        return select(x).scale_backward(grad, x, factors, widths, gain)


@opaque(fake=lambda x, *_: x.new_empty(x.shape), gradient=paired(_scale_backward, (0, 1)))
def _scale(x: Tensor, factors: Tensor, widths: Sequence[int], gain: float) -> Tensor:
    with full_precision(x):
        return select(x).scale(x, factors, widths, gain)
