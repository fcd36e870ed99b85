"""Radial functions of edges as one opaque operator, whose gradients are made of the same."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from e3hyena.ops.backends import select
from e3hyena.ops.opaque import opaque
from e3hyena.ops.precision import full_precision


def radial(distance: Tensor, number: int, cutoff: float) -> Tensor:
    r"""Bessel functions times a polynomial envelope, ``(...)`` -> ``(..., number)``.

    .. math:: e_n(r) = \frac{1}{\sigma}\,\frac{\sin(n\pi x)}{x}\,(1 - 28x^6 + 48x^7 - 21x^8),
              \qquad x = r/r_c

    Zero from the cutoff on; smooth there and at zero.
    """
    found: Tensor = _radial(distance.flatten(), number, cutoff, 0)
    return found.unflatten(0, distance.shape)


def _of_sum(
    needed: Sequence[bool], grad: Tensor, weight: Tensor, distance: Tensor, cutoff: float,
    order: int,
) -> list[Tensor | None]:  # fmt: skip
    by_weight = by_distance = None
    if needed[0]:
        by_weight = grad[:, None] * _radial(distance, weight.shape[1], cutoff, order)
    if needed[1]:
        by_distance = grad * _radial_sum(weight, distance, cutoff, order + 1)
    return [by_weight, by_distance, None, None]


@opaque(fake=lambda weight, distance, *_: distance.new_empty(distance.shape), gradient=_of_sum)
def _radial_sum(weight: Tensor, distance: Tensor, cutoff: float, order: int) -> Tensor:
    """Derivatives of some order, weighted and summed, ``(E, number)`` and ``(E,)`` -> ``(E,)``."""
    with full_precision(distance):
        return select(distance).radial_sum(weight, distance, cutoff, order)


def _of_all(needed: Sequence[bool], grad: Tensor, distance: Tensor, *rest: Any) -> list[Any]:
    _, cutoff, order = rest
    return [_radial_sum(grad, distance, cutoff, order + 1), None, None, None]


@opaque(fake=lambda distance, n, *_: distance.new_empty(*distance.shape, n), gradient=_of_all)
def _radial(distance: Tensor, number: int, cutoff: float, order: int) -> Tensor:
    """Derivatives of some order, ``(E,)`` -> ``(E, number)``."""
    with full_precision(distance):
        return select(distance).radial(distance, number, cutoff, order)
