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

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from e3hyena.ops.backends import select
from e3hyena.ops.backends.eager import moments as formulas
from e3hyena.ops.precision import full_precision


def moments(
    coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor, frequencies: Tensor, degree: int,
    gram: bool,
) -> Tensor:  # fmt: skip
    r"""S and, below it, G if wanted.

    Parameters
    ----------
    coordinate, weight : Tensor
        ``(H, B, N)``; weights are not negative.
    x, values : Tensor
        ``(C, d, B, N)``.
    frequencies : Tensor
        ``(H, M - 1)``.
    degree : int
        Largest tensor power of x among the features.
    gram : bool
        Whether G is wanted.

    Returns
    -------
    Tensor
        ``(H, B, D + F, F)`` or ``(H, B, D, F)``.

    Examples
    --------
    >>> k, z, b = torch.randn(8, 4, 2, 9), torch.randn(8, 4, 2, 9), torch.randn(4, 2, 9)
    >>> moments(b, torch.ones(4, 2, 9), k, z, torch.ones(4, 2), 1, True).shape
    torch.Size([4, 2, 21, 13])
    """
    operator = _moments if _opaque(degree) else formulas.moments
    out: Tensor = operator(coordinate, weight, x, values, frequencies, degree, gram)
    return out


def read(
    moments: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int
) -> Tensor:
    """Moments ``(H, B, D, F)`` times the features of every token, ``(C, d, B, N)`` as x.

    Examples
    --------
    >>> q, a = torch.randn(8, 4, 2, 9), torch.randn(4, 2, 9)
    >>> read(torch.ones(4, 2, 8, 13), a, q, torch.ones(4, 2), 1).shape
    torch.Size([8, 4, 2, 9])
    """
    operator = _read if _opaque(degree) else formulas.read
    out: Tensor = operator(moments, coordinate, x, frequencies, degree)
    return out


def makes_no_features(x: Tensor, degree: int) -> bool:
    """Whether features of x are never in memory, so that tokens need not come in blocks."""
    return _opaque(degree) and not select(x).holds_features(x, degree)


def _opaque(degree: int) -> bool:
    """Beyond, torch differentiates the formula itself."""
    return degree < 2


@torch.library.custom_op("e3hyena::moments", mutates_args=())
def _moments(
    coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor, frequencies: Tensor, degree: int,
    gram: bool,
) -> Tensor:  # fmt: skip
    with full_precision(x):
        out: Tensor = select(x).moments(coordinate, weight, x, values, frequencies, degree, gram)
        return out


@torch.library.custom_op("e3hyena::moments_backward", mutates_args=())
def _moments_backward(
    grad: Tensor, coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor,
    frequencies: Tensor, degree: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients by coordinate, weight, x (empty at degree 0), values and frequencies."""
    operands = grad, coordinate, weight, x, values, frequencies, degree
    with full_precision(x):
        first, second, third, fourth, fifth = select(x).moments_backward(*operands)
        return first, second, third, fourth, fifth


@torch.library.custom_op("e3hyena::read", mutates_args=())
def _read(
    moments: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int
) -> Tensor:
    with full_precision(x):
        out: Tensor = select(x).read(moments, coordinate, x, frequencies, degree)
        return out


@torch.library.custom_op("e3hyena::read_backward", mutates_args=())
def _read_backward(
    grad: Tensor, moments: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by moments, coordinate, x (empty at degree 0) and frequencies."""
    operands = grad, moments, coordinate, x, frequencies, degree
    with full_precision(x):
        first, second, third, fourth = select(x).read_backward(*operands)
        return first, second, third, fourth


@_moments.register_fake
def _(
    coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor, frequencies: Tensor, degree: int,
    gram: bool,
) -> Tensor:  # fmt: skip
    heads, waves = frequencies.shape
    rows = x.shape[0] // heads * x.shape[1]
    features = 1 + 2 * waves + rows * degree
    return x.new_empty(heads, x.shape[2], rows + (features if gram else 0), features)


@_moments_backward.register_fake
def _(
    grad: Tensor, coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor,
    frequencies: Tensor, degree: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    by_x = x.new_empty(x.shape if degree else 0)
    rest = (x.new_empty(t.shape) for t in (coordinate, weight, values, frequencies))
    by_coordinate, by_weight, by_values, by_frequencies = rest
    return by_coordinate, by_weight, by_x, by_values, by_frequencies


@_read.register_fake
def _(moments: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int) -> Tensor:
    return x.new_empty(x.shape)


@_read_backward.register_fake
def _(
    grad: Tensor, moments: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    by_moments, by_coordinate, by_frequencies = (
        x.new_empty(t.shape) for t in (moments, coordinate, frequencies)
    )
    return by_moments, by_coordinate, x.new_empty(x.shape if degree else 0), by_frequencies


def _save(count):  # type: ignore[no-untyped-def]
    """Keep the first operands and the degree that follows them."""

    def setup(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(*inputs[:count])
        ctx.degree = inputs[count]

    return setup


def _moments_gradient(ctx, grad):  # type: ignore[no-untyped-def]
    source: Any = formulas.moments_backward if torch.is_grad_enabled() else _moments_backward
    with full_precision(grad):
        first, second, by_x, *rest = source(grad, *ctx.saved_tensors, ctx.degree)
    return first, second, by_x if ctx.degree else None, *rest, None, None


def _read_gradient(ctx, grad):  # type: ignore[no-untyped-def]
    source: Any = formulas.read_backward if torch.is_grad_enabled() else _read_backward
    with full_precision(grad):
        first, second, by_x, by_frequencies = source(grad, *ctx.saved_tensors, ctx.degree)
    return first, second, by_x if ctx.degree else None, by_frequencies, None


_moments.register_autograd(_moments_gradient, setup_context=_save(5))
_read.register_autograd(_read_gradient, setup_context=_save(4))
