"""Factors, invariants and norms of rows as Triton kernels, one launch each.

One program handles one channel (of a norm: all rows) and one block of tokens. Straight-line code
for the irreps of a channel: every number is loaded once or twice and stored once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.backends.triton import kernels

_BLOCK, _ROWS = 128, 32  # tokens; rows of a norm at a time


def scale(x: Tensor, factors: Tensor, widths: Sequence[int], gain: float) -> Tensor:
    """See :func:`e3hyena.ops.scale.scale_irreps`."""
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    _launch(_scale(tuple(widths), gain), "scale", x, [x, factors], [out])
    return out


def scale_backward(
    grad: Tensor, x: Tensor, factors: Tensor, widths: Sequence[int], gain: float
) -> tuple[Tensor, Tensor]:
    """Gradients by ``x`` and ``factors``."""
    outs = [torch.empty_like(y, memory_format=torch.contiguous_format) for y in (x, factors)]
    _launch(_scale(tuple(widths), gain), "scale_backward", x, [grad, x, factors], outs)
    return outs[0], outs[1]


def scalars(x: Tensor, channels: ChannelIrreps, with_angles: bool) -> Tensor:
    """See :func:`e3hyena.ops.token_scalars.token_scalars`."""
    kinds = tuple((ir == "0e", channels.widths[ir], n) for ir, n in channels.copies.items())
    count = sum(n * (1 + (with_angles and not even)) for even, _, n in kinds)
    out = x.new_empty(len(x), count, x.shape[2])
    _launch(_scalars(kinds, with_angles), "scalars", x, [x], [out])
    return out


def scalars_backward(grad: Tensor, x: Tensor, channels: ChannelIrreps, with_angles: bool) -> Tensor:
    """Gradient by x."""
    kinds = tuple((ir == "0e", channels.widths[ir], n) for ir, n in channels.copies.items())
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    _launch(_scalars(kinds, with_angles), "scalars_backward", x, [grad, x], [out])
    return out


def norm(x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> Tensor:
    """See :func:`e3hyena.ops.norm.norm`."""
    x, out = kernels.rows(x), torch.empty_like(x, memory_format=torch.contiguous_format)
    _norm("norm", x, x, weight, scale, out, None, eps)
    return out


def norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Gradients by ``x`` and ``scale``."""
    x, grad = kernels.rows(x), kernels.rows(grad)
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    shares = x.new_empty(-(-x.shape[1] // _BLOCK), len(x))
    _norm("norm_backward", grad, x, weight, scale, out, shares, eps)
    return out, shares.sum(dim=0)


def _launch(
    code: str, name: str, like: Tensor, given: list[Tensor], outs: list[Tensor]
) -> None:
    """Run a kernel of channels: operands ``(C, n, T)`` with strides, then contiguous results."""
    given = [kernels.rows(x) for x in given]
    strides = [stride for x in given for stride in x.stride()[:2]]
    grid = (-(-like.shape[2] // _BLOCK), len(like))
    sizes = (len(like), like.shape[2])
    kernels.launch(code, name, grid, *given, *outs, *sizes, *strides, BLOCK=_BLOCK)


def _norm(
    name: str, grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, out: Tensor,
    shares: Tensor | None, eps: float,
) -> None:  # fmt: skip
    given = [x, weight.contiguous(), scale.contiguous(), out]
    if shares is not None:
        given = [grad, *given, shares]
    sizes = [*x.shape, x.stride(0), *([] if shares is None else [grad.stride(0)])]
    grid = (-(-x.shape[1] // _BLOCK),)
    kernels.launch(_NORM, name, grid, *given, *sizes, EPS=eps, BLOCK=_BLOCK, ROWS=_ROWS)


def _head(name: str, given: str, outs: str) -> list[str]:
    strides = ", ".join(f"{n}_channel, {n}_row" for n in given)
    pointers = ", ".join(f"{n}_all" for n in given + outs)
    sizes = ["T = x_all.dtype.element_ty", "m = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)"]
    return [
        "@triton.jit",
        f"def {name}({pointers}, channels, length, {strides}, BLOCK: tl.constexpr):",
        *sizes,
        "c = tl.program_id(1).to(tl.int64)",
        "inside = m < length",
    ]


def _load(to: str, name: str, row: int, channel: str = "c") -> str:
    place = f"{name}_all + {channel} * {name}_channel + {row} * {name}_row + m"
    return f"{to} = tl.load({place}, mask=inside, other=0.0)"


def _store(name: str, row: int, rows: int, value: str) -> str:
    return f"tl.store({name}_all + (c * {rows} + {row}) * length + m, {value}, mask=inside)"


@functools.cache
def _scale(widths: tuple[int, ...], gain: float) -> str:
    """Kernels for copies of some widths; a number in the source has the precision of the rest."""
    ahead, back = _head("scale", "xf", "y"), _head("scale_backward", "gxf", "yz")
    constant = f"tl.full((), {gain!r}, T)"
    row, rows = 0, sum(widths)
    for i, width in enumerate(widths):
        for lines in (ahead, back):
            lines += [_load("f", "f", i), f"f = f * {constant}"]
        back.append("s = tl.zeros_like(f)")
        for r in range(row, row + width):
            ahead += [_load("a", "x", r), _store("y", r, rows, "a * f")]
            back += [_load("a", "x", r), _load("b", "g", r)]
            back += ["s += a * b", _store("y", r, rows, "b * f")]
        back.append(_store("z", i, len(widths), f"s * {constant}"))
        row += width
    return "\n\n".join([kernels.HEADER, kernels.text(ahead), kernels.text(back)])


@functools.cache
def _scalars(kinds: tuple[tuple[bool, int, int], ...], with_angles: bool) -> str:
    """Kernels for kinds of irreps: whether it is 0e, its width, copies in a channel."""
    ahead, back = _head("scalars", "x", "y"), _head("scalars_backward", "gx", "y")
    neighbours = ["after = (c + 1) % channels", "before = (c + channels - 1) % channels"]
    ahead, back = ahead + neighbours[:1], back + neighbours
    rows, copies = sum(w * n for _, w, n in kinds), sum(n for *_, n in kinds)
    count = copies + with_angles * sum(n for even, _, n in kinds if not even)
    row = i = 0
    angle = copies
    for even, width, number in kinds:
        for _ in range(number):
            if even:
                ahead += [_load("a", "x", row), _store("y", i, count, "a")]
                back += [_load("a", "g", i), _store("y", row, rows, "a")]
            else:
                body = _copy(row, width, with_angles)
                ahead += [*body[0], _store("y", i, count, "s * tl.rsqrt(1 + s)")]
                back += [*body[1], _load("d", "g", i)]
                back.append("r = tl.rsqrt(1 + s)")
                back.append("e = d * (1 + s * 0.5) * r * r * r")
                if with_angles:
                    ahead.append(_store("y", angle, count, "p * tl.rsqrt(1 + s + t)"))
                    back += [_load("ga", "g", angle), _load("gb", "g", angle, "before")]
                    back += ["ra = tl.rsqrt(1 + s + t)", "rb = tl.rsqrt(1 + s + u)"]
                    back.append("e = e - 0.5 * (ga * p * ra * ra * ra + gb * o * rb * rb * rb)")
                    back += ["ga = ga * ra", "gb = gb * rb"]
                for r in range(width):
                    value = f"2 * e * x{r}"
                    if with_angles:
                        value += f" + ga * v{r} + gb * w{r}"
                    share = f"({value}) * tl.full((), {1 / width!r}, T)"
                    back.append(_store("y", row + r, rows, share))
                angle += 1
            row, i = row + width, i + 1
    return "\n\n".join([kernels.HEADER, kernels.text(ahead), kernels.text(back)])


def _copy(row: int, width: int, with_angles: bool) -> tuple[list[str], list[str]]:
    """Mean squares s, t, u of a copy, the one after and the one before; mean products p and o."""
    parts = {"s": ("x{r}", "x{r}"), "t": ("v{r}", "v{r}"), "p": ("x{r}", "v{r}")}
    ahead = [_load(f"x{r}", "x", row + r) for r in range(width)]
    if not with_angles:
        parts = {"s": parts["s"]}
    else:
        ahead += [_load(f"v{r}", "x", row + r, "after") for r in range(width)]
    more = {"u": ("w{r}", "w{r}"), "o": ("x{r}", "w{r}")} if with_angles else {}
    back = [_load(f"w{r}", "x", row + r, "before") for r in range(width) if more]

    def sums(parts: dict[str, tuple[str, str]]) -> list[str]:
        return [
            f"{name} = ({' + '.join(f'{a} * {b}'.format(r=r) for r in range(width))})"
            f" * tl.full((), {1 / width!r}, T)"
            for name, (a, b) in parts.items()
        ]

    ahead += sums(parts)
    return ahead, [*ahead, *back, *sums(more)]


_NORM = (
    kernels.HEADER
    + '''

@triton.jit
def norm(
    x, weight, scale, out, rows, length, x_row,
    EPS: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):
    m = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    total = tl.zeros((BLOCK,), x.dtype.element_ty)
    for start in range(0, rows, ROWS):
        r = start + tl.arange(0, ROWS)
        inside = (r < rows)[:, None] & (m < length)[None, :]
        a = tl.load(x + r[:, None] * x_row + m[None, :], mask=inside, other=0.0)
        w = tl.load(weight + r, mask=r < rows, other=0.0)
        total += tl.sum(w[:, None] * a * a, axis=0)
    factor = tl.rsqrt(total + tl.full((), EPS, x.dtype.element_ty))
    for start in range(0, rows, ROWS):
        r = start + tl.arange(0, ROWS)
        inside = (r < rows)[:, None] & (m < length)[None, :]
        a = tl.load(x + r[:, None] * x_row + m[None, :], mask=inside, other=0.0)
        s = tl.load(scale + r, mask=r < rows, other=0.0)
        y = a * factor[None, :] * s[:, None]
        tl.store(out + r[:, None] * length + m[None, :], y, mask=inside)


@triton.jit
def norm_backward(
    grad, x, weight, scale, out, shares, rows, length, x_row, grad_row,
    EPS: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):
    m = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    total = tl.zeros((BLOCK,), x.dtype.element_ty)
    change = tl.zeros((BLOCK,), x.dtype.element_ty)
    for start in range(0, rows, ROWS):
        r = start + tl.arange(0, ROWS)
        inside = (r < rows)[:, None] & (m < length)[None, :]
        a = tl.load(x + r[:, None] * x_row + m[None, :], mask=inside, other=0.0)
        g = tl.load(grad + r[:, None] * grad_row + m[None, :], mask=inside, other=0.0)
        w = tl.load(weight + r, mask=r < rows, other=0.0)
        s = tl.load(scale + r, mask=r < rows, other=0.0)
        total += tl.sum(w[:, None] * a * a, axis=0)
        change += tl.sum(s[:, None] * a * g, axis=0)
    factor = tl.rsqrt(total + tl.full((), EPS, x.dtype.element_ty))
    change = change * factor * factor * factor
    for start in range(0, rows, ROWS):
        r = start + tl.arange(0, ROWS)
        inside = (r < rows)[:, None] & (m < length)[None, :]
        a = tl.load(x + r[:, None] * x_row + m[None, :], mask=inside, other=0.0)
        g = tl.load(grad + r[:, None] * grad_row + m[None, :], mask=inside, other=0.0)
        w = tl.load(weight + r, mask=r < rows, other=0.0)
        s = tl.load(scale + r, mask=r < rows, other=0.0)
        y = g * factor[None, :] * s[:, None] - a * change[None, :] * w[:, None]
        tl.store(out + r[:, None] * length + m[None, :], y, mask=inside)
        share = tl.sum(a * g * factor[None, :], axis=1)
        tl.store(shares + tl.program_id(0) * rows + r, share, mask=r < rows)
'''
)
