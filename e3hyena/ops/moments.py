r"""Sums over the features of tokens: the two halves of a long convolution between coordinates.

With values :math:`z_j` and features :math:`\varphi_j` of D rows and F numbers per head
(:func:`e3hyena.ops.features.features`),

.. math:: S = \sum_j w_j z_j \varphi_j^T, \qquad G = \sum_j w_j \varphi_j \varphi_j^T, \qquad
          u_i = M \varphi_i .

``moments`` makes S and G, ``read`` makes u. Up to degree 1 both are opaque operators
that keep their operands only: the features are made where they are used, and made again for the
gradient. Gradients of gradients go through the same formulas in torch, as everything does
elsewhere.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from e3hyena.ops.backends import select
from e3hyena.ops.backends.eager import moments as formulas
from e3hyena.ops.opaque import opaque, paired
from e3hyena.ops.precision import full_precision


def moments(
    coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor, frequencies: Tensor, degree: int,
    gram: bool,
) -> Tensor:  # fmt: skip
    r"""S and, below it, G if wanted: ``(H, B, D + F, F)`` or ``(H, B, D, F)``.

    ``coordinate, weight`` are ``(H, B, N)``, weights not negative, ``x, values`` ``(C, d, B, N)``,
    ``frequencies`` ``(H, M - 1)``; ``degree`` is the largest tensor power of x among the features.
    """
    operator = _moments if _opaque(degree) else formulas.moments
    out: Tensor = operator(coordinate, weight, x, values, frequencies, degree, gram)
    return out


def read(
    moments: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int
) -> Tensor:
    """Moments ``(H, B, D, F)`` times the features of every token, ``(C, d, B, N)`` as x."""
    operator = _read if _opaque(degree) else formulas.read
    out: Tensor = operator(moments, coordinate, x, frequencies, degree)
    return out


def makes_no_features(x: Tensor, degree: int) -> bool:
    """Whether features of x are never in memory, so that tokens need not come in blocks."""
    return _opaque(degree) and not select(x).holds_features(x, degree)


def _opaque(degree: int) -> bool:
    """Beyond, torch differentiates the formula itself."""
    return degree < 2


def _no_moments(coordinate, weight, x, values, frequencies, degree, gram):  # type: ignore[no-untyped-def]
    heads, waves = frequencies.shape
    rows = x.shape[0] // heads * x.shape[1]
    features = 1 + 2 * waves + rows * degree
    return x.new_empty(heads, x.shape[2], rows + (features if gram else 0), features)


def _no_gradients(grad, *operands):  # type: ignore[no-untyped-def]
    """Shapes of the tensors among the operands; x, the third, is empty at degree 0."""
    *tensors, degree = operands
    shapes = [t.shape if degree or i != 2 else (0,) for i, t in enumerate(tensors)]
    return tuple(grad.new_empty(shape) for shape in shapes)


@opaque(fake=_no_gradients)
def _moments_backward(
    grad: Tensor, coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor,
    frequencies: Tensor, degree: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients by coordinate, weight, x (empty at degree 0), values and frequencies."""
    operands = grad, coordinate, weight, x, values, frequencies, degree
    with full_precision(x):
        first, second, third, fourth, fifth = select(x).moments_backward(*operands)
        return first, second, third, fourth, fifth


def _moments_gradient(needed: Sequence[bool], grad: Tensor, *operands: Any) -> list[Tensor | None]:
    rule = paired(_moments_backward, range(5), formulas.moments_backward)
    return [*rule(needed, grad, *operands[:-1]), None]


@opaque(fake=_no_moments, gradient=_moments_gradient)
def _moments(
    coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor, frequencies: Tensor, degree: int,
    gram: bool,
) -> Tensor:  # fmt: skip
    with full_precision(x):
        return select(x).moments(coordinate, weight, x, values, frequencies, degree, gram)


@opaque(fake=_no_gradients)
def _read_backward(
    grad: Tensor, moments: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by moments, coordinate, x (empty at degree 0) and frequencies."""
    operands = grad, moments, coordinate, x, frequencies, degree
    with full_precision(x):
        first, second, third, fourth = select(x).read_backward(*operands)
        return first, second, third, fourth


@opaque(
    fake=lambda moments, coordinate, x, *_: x.new_empty(x.shape),
    gradient=paired(_read_backward, range(4), formulas.read_backward),
)
def _read(
    moments: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int
) -> Tensor:
    with full_precision(x):
        return select(x).read(moments, coordinate, x, frequencies, degree)
