"""The contraction, and what is done to rows, as Triton kernels generated from paths and irreps.

For CUDA tensors; ``TRITON_INTERPRET=1`` runs the same kernels on the CPU, which is how they are
tested without a GPU. Complex numbers are read as they lie, real and imaginary parts in turn.
"""

import functools
import importlib.util
import os
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.backends.base import Backend
from e3hyena.ops.backends.triton import kernels, radial, rows
from e3hyena.ops.backends.triton import set_conv as fused
from e3hyena.ops.backends.triton.source import source
from e3hyena.ops.paths import Paths, paths_from_key

_MAX_NONZEROS = 1024
_BLOCK = 128  # frequencies of one channel per program
_DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)


@functools.cache
def available() -> bool:
    """Whether Triton is installed, and a GPU or its interpreter is there to run it."""
    if importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.is_available() or interpreted()


def interpreted() -> bool:
    """Whether Triton's interpreter was asked for."""
    return os.environ.get("TRITON_INTERPRET") == "1"


class Triton(Backend):
    """Contractions, rows and small graphs in one kernel each; the rest in plain torch."""

    name: ClassVar[str] = "triton"
    devices: ClassVar[tuple[str, ...]] = ("cuda",)

    def available(self) -> bool:
        """Whether Triton is installed, and a GPU or its interpreter is there to run it."""
        return available()

    def supports(self, x: Tensor, paths: Paths | None = None) -> bool:
        """Single and double precision along paths that are not too many; never the CPU."""
        if x.device.type == "cpu" and not interpreted():
            raise RuntimeError(
                "the Triton back-end needs CUDA tensors; on the CPU set TRITON_INTERPRET=1 before "
                "torch is imported (slow, for tests), or use another back-end"
            )
        return x.dtype in _DTYPES and (paths is None or len(paths.nonzeros()) <= _MAX_NONZEROS)

    def contract(self, paths: Paths, slot: int, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        if not self.supports(x, paths):
            return super().contract(paths, slot, x, y, weight)
        channels, _, length = x.shape
        out = x.new_empty(channels, paths.dims[slot], length)
        _launch(paths, f"contract{slot}", (x, y, out), weight.contiguous())
        return out

    def contract_weight(self, paths: Paths, x1: Tensor, x2: Tensor, x3: Tensor) -> Tensor:
        if not self.supports(x1, paths):
            return super().contract_weight(paths, x1, x2, x3)
        programs = -(-x1.shape[-1] // _BLOCK)
        parts = x1.real.new_empty(paths.num_paths, x1.shape[0], programs)
        _launch(paths, "weight", (x1, x2, x3), parts)
        return parts.sum(-1)  # in a fixed order, unlike atomic additions

    set_conv = staticmethod(fused.set_conv)
    set_conv_backward = staticmethod(fused.set_conv_backward)
    set_conv_tangent = staticmethod(fused.set_conv_tangent)

    def fuses_set_conv(self, operands: Sequence[Tensor], degree: int, longest: int) -> bool:
        """Up to degree 1, what fits on chip."""
        return self.supports(operands[3]) and fused.fits(operands, degree, longest)

    def scale(self, x: Tensor, factors: Tensor, widths: Sequence[int], gain: float) -> Tensor:
        if not self.supports(x):
            return super().scale(x, factors, widths, gain)
        return rows.scale(x, factors, widths, gain)

    def scale_backward(
        self, grad: Tensor, x: Tensor, factors: Tensor, widths: Sequence[int], gain: float
    ) -> tuple[Tensor, Tensor]:
        if not self.supports(x):
            return super().scale_backward(grad, x, factors, widths, gain)
        return rows.scale_backward(grad, x, factors, widths, gain)

    def norm(self, x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> Tensor:
        if not self.supports(x):
            return super().norm(x, weight, scale, eps)
        return rows.norm(x, weight, scale, eps)

    def norm_backward(
        self, grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        if not self.supports(x):
            return super().norm_backward(grad, x, weight, scale, eps)
        return rows.norm_backward(grad, x, weight, scale, eps)

    def norm_tangent(
        self, to_x: Tensor, to_scale: Tensor, grad: Tensor, x: Tensor, weight: Tensor,
        scale: Tensor, eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        if not self.supports(x):
            return super().norm_tangent(to_x, to_scale, grad, x, weight, scale, eps)
        return rows.norm_tangent(to_x, to_scale, grad, x, weight, scale, eps)

    def scalars(self, x: Tensor, channels: ChannelIrreps, with_angles: bool) -> Tensor:
        if not self.supports(x):
            return super().scalars(x, channels, with_angles)
        return rows.scalars(x, channels, with_angles)

    def scalars_backward(
        self, grad: Tensor, x: Tensor, channels: ChannelIrreps, with_angles: bool
    ) -> Tensor:
        if not self.supports(x):
            return super().scalars_backward(grad, x, channels, with_angles)
        return rows.scalars_backward(grad, x, channels, with_angles)

    def scalars_tangent(
        self, direction: Tensor, grad: Tensor, x: Tensor, channels: ChannelIrreps, with_angles: bool
    ) -> tuple[Tensor, Tensor]:
        if not self.supports(x):
            return super().scalars_tangent(direction, grad, x, channels, with_angles)
        return rows.scalars_tangent(direction, grad, x, channels, with_angles)

    def radial(self, distance: Tensor, number: int, cutoff: float, order: int) -> Tensor:
        if not self.supports(distance):
            return super().radial(distance, number, cutoff, order)
        return radial.radial(distance, number, cutoff, order)

    def radial_sum(self, weight: Tensor, distance: Tensor, cutoff: float, order: int) -> Tensor:
        if not self.supports(distance):
            return super().radial_sum(weight, distance, cutoff, order)
        return radial.radial_sum(weight, distance, cutoff, order)


def _launch(paths: Paths, name: str, operands: Sequence[Tensor], last: Tensor) -> None:
    """Run a kernel on operands ``(C, d, M)``, one program per channel and block of M."""
    channels, _, length = operands[0].shape
    real = [kernels.rows(x) for x in operands]
    strides = [stride for x in real for stride in x.stride()[:2]]
    code = _source(paths.key, operands[0].is_complex())
    grid = (-(-length // _BLOCK), channels)
    kernels.launch(code, name, grid, *real, last, channels, length, *strides, BLOCK=_BLOCK)


@functools.cache
def _source(key: str, complex_: bool) -> str:
    return source(paths_from_key(key), complex_)
