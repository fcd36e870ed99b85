"""The long convolution between coordinates of small graphs: one launch, as is every derivative.

One program has one head of one graph on chip. What parameters get from every program is summed in
a fixed order.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from e3hyena.ops.backends.triton import kernels
from e3hyena.ops.backends.triton.set_conv_source import source

_LEAST = 16  # the least side of a matrix that Triton multiplies
_STEPS = 16
_SHARED = 227 * 1024  # bytes of an sm_90; other GPUs say what they have


def fits(operands: Sequence[Tensor], degree: int, longest: int) -> bool:
    """Whether a graph of so many tokens fits: up to 32, with 64 rows and 32 modes, in float32.

    The derivative of the gradient has up to 27 matrices in shared memory at once, and may have
    four more for every step of the sharpening beyond the fourth.
    """
    q, frequencies, steps = operands[3], operands[6], len(operands[8]) - 1
    heads, waves = frequencies.shape
    tokens, modes, rows = _tiles(longest, waves + 1, q.shape[0] // heads * q.shape[1])
    matrices = 27 * max(tokens, rows) * max(tokens, modes) + 4 * max(0, steps - 4) * tokens * rows
    small = matrices * q.element_size() <= _shared(q.device)
    return degree < 2 and steps <= _STEPS and 0 < longest and small


@functools.cache
def _shared(device: torch.device) -> int:
    """Bytes of shared memory that a program may have."""
    if device.type != "cuda":
        return _SHARED
    found = torch.cuda.get_device_properties(device)
    most: int = getattr(found, "shared_memory_per_block_optin", _SHARED)  # recent torch says
    return most


def _tiles(*sizes: int) -> list[int]:
    """Powers of two."""
    return [max(_LEAST, 1 << (size - 1).bit_length()) for size in sizes]


def set_conv(operands: Sequence[Tensor], ptr: Tensor, degree: int, longest: int) -> Tensor:
    """See :func:`e3hyena.ops.set_conv.set_conv`; ``operands`` are all up to ``powers``."""
    return _launch(0, operands[:6], operands[6:], ptr, degree, longest)[0]


def set_conv_backward(
    grad: Tensor, operands: Sequence[Tensor], ptr: Tensor, degree: int, longest: int
) -> list[Tensor]:
    """Gradients by all operands; those by parameters in one row."""
    return _launch(1, [*operands[:6], grad], operands[6:], ptr, degree, longest)


def set_conv_tangent(
    directions: Sequence[Tensor], grad: Tensor, operands: Sequence[Tensor], ptr: Tensor,
    degree: int, longest: int,
) -> list[Tensor]:  # fmt: skip
    """Derivatives of the result and of its gradients where the operands move along directions."""
    signals, parameters = [*operands[:6], grad, *directions[:6]], [*operands[6:], *directions[6:]]
    return _launch(2, signals, parameters, ptr, degree, longest)


def _launch(
    order: int, signals: Sequence[Tensor], parameters: Sequence[Tensor], ptr: Tensor, degree: int,
    longest: int,
) -> list[Tensor]:  # fmt: skip
    like = ([signals[5]], signals[:6], [signals[5], *signals[:6]])[order]
    outs = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in like]
    if order:  # of parameters one share for every graph
        count = sum(x.numel() for x in parameters[:3])
        outs.append(signals[0].new_empty(len(ptr) - 1, count))
    flat = [kernels.rows(x.flatten(0, -2)) for x in signals]
    heads, waves = parameters[0].shape
    modes, rows = waves + 1, len(flat[3]) // heads
    tokens, *tiles = _tiles(longest, modes, rows)
    kernels.launch(
        source(order, len(parameters[2]) - 1, degree), "set_conv", (len(ptr) - 1, heads),
        *flat, *(x.contiguous() for x in parameters), *outs, ptr, heads, flat[0].shape[1],
        *(x.stride(0) for x in flat), M=modes, D=rows, MODE=modes**-0.5, ROW=rows**-0.5,
        TOKENS=tokens, MODES=tiles[0], ROWS=tiles[1], num_warps=8,
    )  # fmt: skip
    if order:
        outs[-1] = outs[-1].sum(dim=0)  # unlike atomic additions, in a fixed order
        if not degree:
            outs[-4].zero_()
            outs[-3].zero_()
    return outs
