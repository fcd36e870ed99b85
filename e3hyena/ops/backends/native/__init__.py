"""C for CPU tensors, compiled by the system's compiler at first use and cached.

What depends on the paths is generated from them; the rest stands in ``.c`` files beside this one.
"""

import functools
import subprocess
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from e3hyena.ops.backends.base import Backend
from e3hyena.ops.backends.native import moments as sums
from e3hyena.ops.backends.native import rows
from e3hyena.ops.backends.native import scalars as invariants
from e3hyena.ops.backends.native import set_conv as fused
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


def _in_c(function: Callable[..., Any], degree: int | None = None) -> Any:
    """The method of this name: in C for operands that are served, in plain torch else.

    `degree` is the place of the degree of features, of which at most the first is served.
    """
    plain = getattr(Backend, function.__name__)

    @functools.wraps(plain)
    def method(self: CompiledPaths, *operands: Any) -> Any:
        if self.supports(operands[0]) and (degree is None or operands[degree] < 2):
            return function(*operands)
        return plain(self, *operands)

    return or_plain(method)


class Native(CompiledPaths):
    """Every operator in C."""

    moments = _in_c(sums.moments, degree=5)
    moments_backward = _in_c(sums.moments_backward, degree=6)
    read = _in_c(sums.read, degree=4)
    read_backward = _in_c(sums.read_backward, degree=5)
    scale = _in_c(rows.scale)
    scale_backward = _in_c(rows.scale_backward)
    norm = _in_c(rows.norm)
    norm_backward = _in_c(rows.norm_backward)
    scalars = _in_c(invariants.scalars)
    scalars_backward = _in_c(invariants.scalars_backward)
    scalars_tangent = _in_c(invariants.scalars_tangent)
    set_conv = staticmethod(fused.set_conv)
    set_conv_backward = staticmethod(fused.set_conv_backward)
    set_conv_tangent = staticmethod(fused.set_conv_tangent)

    def unasked(self) -> Backend | None:
        """One that gives way to plain torch, until it has."""
        return UNASKED if available() and not UNASKED.broken else None

    def available(self) -> bool:
        """Whether a compiler is there and what it makes can be loaded and is right."""
        return available()

    def holds_features(self, x: Tensor, degree: int) -> bool:
        """No: they are made for a block of tokens at a time, up to degree 1."""
        return degree > 1 or not self.supports(x)

    @or_plain
    def fuses_set_conv(self, operands: Sequence[Tensor], degree: int, longest: int) -> bool:
        """Up to degree 1, graphs that fit in a cache."""
        if degree > 1 or longest > fused.LARGEST or not self.supports(operands[3]):
            return False
        fused.library_of(operands[3], operands[6], degree)  # an error of the compiler comes here
        return True


UNASKED = Native(gives_way=True)
