"""Radial functions of edges as Triton kernels: the formula, written down as it is computed."""

import functools

from torch import Tensor

from e3hyena.ops.backends.triton import kernels
from e3hyena.ops.backends.triton.lines import Line
from e3hyena.ops.radial_formula import radial_formula

_BLOCK = 256


def radial(distance: Tensor, number: int, cutoff: float, order: int) -> Tensor:
    """See :meth:`e3hyena.ops.backends.base.Backend.radial`."""
    distance, out = distance.contiguous(), distance.new_empty(len(distance), number)
    _launch("radial", (number, cutoff, order), distance, out)
    return out


def radial_sum(weight: Tensor, distance: Tensor, cutoff: float, order: int) -> Tensor:
    """See :meth:`e3hyena.ops.backends.base.Backend.radial_sum`."""
    distance, out = distance.contiguous(), distance.new_empty(len(distance))
    _launch("radial_sum", (weight.shape[1], cutoff, order), distance, weight.contiguous(), out)
    return out


def _launch(name: str, options: tuple[int, float, int], *operands: Tensor) -> None:
    length = len(operands[0])
    grid = (-(-length // _BLOCK),)
    kernels.launch(_source(*options), name, grid, *operands, length, BLOCK=_BLOCK)


@functools.cache
def _source(number: int, cutoff: float, order: int) -> str:
    body = [
        "T = x_all.dtype.element_ty",
        "m = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)",
        "inside = m < length",
    ]
    distance = Line(body, "tl.load(x_all + m, mask=inside, other=1.0)")
    names = [f.name for f in radial_formula(distance, number, cutoff, order, Line)]
    place = f"_all + m * {number} + "
    stores = [f"tl.store(y{place}{n}, {name}, mask=inside)" for n, name in enumerate(names)]
    loads = [f"tl.load(g{place}{n}, mask=inside, other=0.0)" for n in range(number)]
    total = " + ".join(f"{name} * {load}" for name, load in zip(names, loads, strict=True))
    heads = [
        f"def {name}({given}, y_all, length, BLOCK: tl.constexpr):"
        for name, given in (("radial", "x_all"), ("radial_sum", "x_all, g_all"))
    ]
    ends = stores, [f"tl.store(y_all + m, {total}, mask=inside)"]
    functions = [
        kernels.text(["@triton.jit", head, *body, *end])
        for head, end in zip(heads, ends, strict=True)
    ]
    return "\n\n".join([kernels.HEADER, *functions])
