"""What a back-end is: one method per operator, plain torch unless it knows better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.backends.eager import contraction, moments, radial, rows, scalars
from e3hyena.ops.backends.eager.convolution import FourierConvolution
from e3hyena.ops.paths import Paths


class Backend(FourierConvolution):
    """A way to compute the operators; this one is plain torch, on any device.

    A new back-end is a subclass in a file of its own, which overrides what it does better and calls
    ``super()`` for operands that it does not support, and one line in
    :mod:`e3hyena.ops.backends`. Methods see dense numbers only: autograd, autocast, shapes without
    data and empty operands are dealt with before.

    Attributes
    ----------
    name : str
        What :func:`e3hyena.ops.backends.use_backend` calls it.
    devices : tuple of str
        Types of devices on which it is chosen without being asked for.
    """

    name: ClassVar[str] = "eager"
    devices: ClassVar[tuple[str, ...]] = ()

    def available(self) -> bool:
        """Whether it can be used here at all."""
        return True

    def unasked(self) -> Backend | None:
        """What serves its devices where nobody asked for it; None where it cannot be used."""
        return self if self.available() else None

    def supports(self, x: Tensor, paths: Paths | None = None) -> bool:
        """Whether it computes such operands itself, along such paths."""
        return True

    def contract(self, paths: Paths, slot: int, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        r"""Derivative of the trilinear form by one slot, ``(C, d_slot, M)``.

        With :math:`G_{abc} = \sum_p w_p C^{(p)}_{abc}` the form of a channel is :math:`S =
        \mathrm{Re}\sum_m \overline{x^{(2)}_{cm}}\, G_{abc}\, x^{(0)}_{am} x^{(1)}_{bm}`. ``x, y``
        are the two operands beside the slot, in order, ``(C, d, M)``, real or complex; weights are
        real, ``(num_paths, C)``.
        """
        return contraction.contract(paths, slot, x, y, weight)

    def contract_weight(self, paths: Paths, x1: Tensor, x2: Tensor, x3: Tensor) -> Tensor:
        """Derivative of the form by the weights, ``(num_paths, C)``, from the three operands."""
        return contraction.contract_weight(paths, x1, x2, x3)

    def moments(
        self, coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor, frequencies: Tensor,
        degree: int, gram: bool,
    ) -> Tensor:  # fmt: skip
        """See :func:`e3hyena.ops.moments.moments`."""
        return moments.moments(coordinate, weight, x, values, frequencies, degree, gram)

    def moments_backward(
        self, grad: Tensor, coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor,
        frequencies: Tensor, degree: int,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Gradients by coordinate, weight, x (empty at degree 0), values and frequencies."""
        return moments.moments_backward(grad, coordinate, weight, x, values, frequencies, degree)

    def read(
        self, moments_: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int
    ) -> Tensor:
        """See :func:`e3hyena.ops.moments.read`."""
        return moments.read(moments_, coordinate, x, frequencies, degree)

    def read_backward(
        self, grad: Tensor, moments_: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor,
        degree: int,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Gradients by moments, coordinate, x (empty at degree 0) and frequencies."""
        return moments.read_backward(grad, moments_, coordinate, x, frequencies, degree)

    def holds_features(self, x: Tensor, degree: int) -> bool:
        """Whether ``moments`` and ``read`` have the features of all tokens in memory at once."""
        return True

    def fuses_set_conv(self, operands: Sequence[Tensor], degree: int, longest: int) -> bool:
        """Whether the three methods below serve graphs of up to `longest` tokens, 0 if unknown.

        See :func:`e3hyena.ops.set_conv.set_conv`, also for the operands: those up to ``powers``,
        and ``ptr``, the offsets of the graphs. If not, torch differentiates a formula.
        """
        return False

    def set_conv(
        self, operands: Sequence[Tensor], ptr: Tensor, degree: int, longest: int
    ) -> Tensor:
        """The long convolution between coordinates, ``(C, d, T)``."""
        raise NotImplementedError(f"the back-end {self.name} does not fuse this convolution")

    def set_conv_backward(
        self, grad: Tensor, operands: Sequence[Tensor], ptr: Tensor, degree: int, longest: int
    ) -> Sequence[Tensor]:
        """Gradients by a, b, weight, q, k, z, and by all parameters in one row."""
        raise NotImplementedError(f"the back-end {self.name} does not fuse this convolution")

    def set_conv_tangent(
        self, directions: Sequence[Tensor], grad: Tensor, operands: Sequence[Tensor], ptr: Tensor,
        degree: int, longest: int,
    ) -> Sequence[Tensor]:  # fmt: skip
        """Derivatives of the result, and of the gradients, along directions of the operands."""
        raise NotImplementedError(f"the back-end {self.name} does not fuse this convolution")

    def scale(self, x: Tensor, factors: Tensor, widths: Sequence[int], gain: float) -> Tensor:
        """Rows ``(C, d, T)`` times one factor per irrep copy, ``(C, copies, T)``, and a gain."""
        return rows.scale(x, factors, widths, gain)

    def scale_backward(
        self, grad: Tensor, x: Tensor, factors: Tensor, widths: Sequence[int], gain: float
    ) -> tuple[Tensor, Tensor]:
        """Gradients by x and factors."""
        return rows.scale_backward(grad, x, factors, widths, gain)

    def norm(self, x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> Tensor:
        """See :func:`e3hyena.ops.norm.norm`."""
        return rows.norm(x, weight, scale, eps)

    def norm_backward(
        self, grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """Gradients by x and scale."""
        return rows.norm_backward(grad, x, weight, scale, eps)

    def norm_tangent(
        self, to_x: Tensor, to_scale: Tensor, grad: Tensor, x: Tensor, weight: Tensor,
        scale: Tensor, eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Gradients of ``norm_backward``, along a direction, by grad, x and scale."""
        return rows.norm_tangent(to_x, to_scale, grad, x, weight, scale, eps)

    def scalars(self, x: Tensor, channels: ChannelIrreps, with_angles: bool) -> Tensor:
        """Invariants ``(C, n, T)``; see :func:`e3hyena.ops.token_scalars.token_scalars`."""
        return scalars.scalars(x, channels, with_angles)

    def scalars_backward(
        self, grad: Tensor, x: Tensor, channels: ChannelIrreps, with_angles: bool
    ) -> Tensor:
        """Gradient by x."""
        return scalars.scalars_backward(grad, x, channels, with_angles)

    def scalars_tangent(
        self, direction: Tensor, grad: Tensor, x: Tensor, channels: ChannelIrreps, with_angles: bool
    ) -> tuple[Tensor, Tensor]:
        """Derivatives of ``scalars`` and of ``scalars_backward`` where x moves in a direction."""
        return scalars.scalars_tangent(direction, grad, x, channels, with_angles)

    def radial(self, distance: Tensor, number: int, cutoff: float, order: int) -> Tensor:
        """Derivatives of some order of radial functions, ``(E,)`` -> ``(E, number)``.

        See :func:`e3hyena.ops.radial.radial`.
        """
        return radial.radial(distance, number, cutoff, order)

    def radial_sum(self, weight: Tensor, distance: Tensor, cutoff: float, order: int) -> Tensor:
        """The same, weighted and summed: ``(E, number)`` and ``(E,)`` -> ``(E,)``."""
        return radial.radial_sum(weight, distance, cutoff, order)
