"""C for CPU tensors, compiled by the system's compiler at first use and cached.

What depends on the paths is generated from them; the rest stands in ``.c`` files beside this one.
"""

import functools
import subprocess
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.backends.base import Backend
from e3hyena.ops.backends.native import moments, rows, scalars, set_conv
from e3hyena.ops.backends.native.build import compiler
from e3hyena.ops.backends.native.convolution import CompiledPaths, or_plain
from e3hyena.ops.paths import Paths


@functools.cache
def available() -> bool:
    """Whether a compiler is there and what it makes can be loaded and is right."""
    if compiler() is None:
        return False
    paths = Paths("0e + 1o", "0e + 1o", "0e + 1o")
    x, y, weight = torch.ones(2, 4, 21), torch.ones(2, 4, 21), torch.ones(paths.num_paths, 2)
    try:
        result = CompiledPaths().contract(paths, 2, x, y, weight)
    except (OSError, subprocess.SubprocessError) as error:
        warnings.warn(
            f"the C back-end cannot be built ({error}); using the slower eager one. Set "
            "E3HYENA_BACKEND=eager to silence this",
            stacklevel=2,
        )
        return False
    return torch.allclose(result, Backend().contract(paths, 2, x, y, weight), atol=1e-5)


class Native(CompiledPaths):
    """Every operator in C."""

    def unasked(self) -> Backend | None:
        """One that gives way to plain torch, until it has."""
        return UNASKED if available() and not UNASKED.broken else None

    def available(self) -> bool:
        """Whether a compiler is there and what it makes can be loaded and is right."""
        return available()

    @or_plain
    def moments(
        self, coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor, frequencies: Tensor,
        degree: int, gram: bool,
    ) -> Tensor:  # fmt: skip
        operands = coordinate, weight, x, values, frequencies, degree, gram
        if self.holds_features(x, degree):
            return super().moments(*operands)
        return moments.moments(*operands)

    @or_plain
    def moments_backward(
        self, grad: Tensor, coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor,
        frequencies: Tensor, degree: int,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        operands = grad, coordinate, weight, x, values, frequencies, degree
        if self.holds_features(x, degree):
            return super().moments_backward(*operands)
        return moments.moments_backward(*operands)

    @or_plain
    def read(
        self, moments_: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int
    ) -> Tensor:
        operands = moments_, coordinate, x, frequencies, degree
        if self.holds_features(x, degree):
            return super().read(*operands)
        return moments.read(*operands)

    @or_plain
    def read_backward(
        self, grad: Tensor, moments_: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor,
        degree: int,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        operands = grad, moments_, coordinate, x, frequencies, degree
        if self.holds_features(x, degree):
            return super().read_backward(*operands)
        return moments.read_backward(*operands)

    def holds_features(self, x: Tensor, degree: int) -> bool:
        """No: they are made for a block of tokens at a time, up to degree 1."""
        return degree > 1 or not self.supports(x)

    @or_plain
    def fuses_set_conv(self, x: Tensor, frequencies: Tensor, degree: int) -> bool:
        """Up to degree 1."""
        if degree > 1 or not self.supports(x):
            return False
        if not torch.compiler.is_compiling():
            set_conv.library_of(x, frequencies, degree)  # an error of the compiler comes here
        return True

    def set_conv(self, operands: Sequence[Tensor], ptr: Tensor, degree: int) -> Tensor:
        return set_conv.set_conv(operands, ptr, degree)

    def set_conv_backward(
        self, grad: Tensor, operands: Sequence[Tensor], ptr: Tensor, degree: int
    ) -> Sequence[Tensor]:
        return set_conv.set_conv_backward(grad, operands, ptr, degree)

    def set_conv_tangent(
        self, directions: Sequence[Tensor], grad: Tensor, operands: Sequence[Tensor], ptr: Tensor,
        degree: int,
    ) -> Sequence[Tensor]:  # fmt: skip
        return set_conv.set_conv_tangent(directions, grad, operands, ptr, degree)

    @or_plain
    def scale(self, x: Tensor, factors: Tensor, widths: Sequence[int], gain: float) -> Tensor:
        if not self.supports(x):
            return super().scale(x, factors, widths, gain)
        return rows.scale(x, factors, widths, gain)

    @or_plain
    def scale_backward(
        self, grad: Tensor, x: Tensor, factors: Tensor, widths: Sequence[int], gain: float
    ) -> tuple[Tensor, Tensor]:
        if not self.supports(x):
            return super().scale_backward(grad, x, factors, widths, gain)
        return rows.scale_backward(grad, x, factors, widths, gain)

    @or_plain
    def norm(self, x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> Tensor:
        if not self.supports(x):
            return super().norm(x, weight, scale, eps)
        return rows.norm(x, weight, scale, eps)

    @or_plain
    def norm_backward(
        self, grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        if not self.supports(x):
            return super().norm_backward(grad, x, weight, scale, eps)
        return rows.norm_backward(grad, x, weight, scale, eps)

    @or_plain
    def scalars(self, x: Tensor, channels: ChannelIrreps, with_angles: bool) -> Tensor:
        if not self.supports(x):
            return super().scalars(x, channels, with_angles)
        return scalars.scalars(x, channels, with_angles)

    @or_plain
    def scalars_backward(
        self, grad: Tensor, x: Tensor, channels: ChannelIrreps, with_angles: bool
    ) -> Tensor:
        if not self.supports(x):
            return super().scalars_backward(grad, x, channels, with_angles)
        return scalars.scalars_backward(grad, x, channels, with_angles)

    @or_plain
    def scalars_tangent(
        self, direction: Tensor, grad: Tensor, x: Tensor, channels: ChannelIrreps, with_angles: bool
    ) -> tuple[Tensor, Tensor]:
        if not self.supports(x):
            return super().scalars_tangent(direction, grad, x, channels, with_angles)
        return scalars.scalars_tangent(direction, grad, x, channels, with_angles)


UNASKED = Native(gives_way=True)
