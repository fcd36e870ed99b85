"""Factors, invariants and norms of rows as Triton kernels, one launch each.

One program handles one channel (of a norm: all rows) and one block of tokens. Straight-line code
for the irreps of a channel: every number is loaded once or twice and stored once.
"""

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
    kinds = _kinds(channels)
    count = sum(n * (1 + (with_angles and not even)) for even, _, n in kinds)
    out = x.new_empty(len(x), count, x.shape[2])
    _launch(_scalars(kinds, with_angles), "scalars", x, [x], [out])
    return out


def scalars_backward(grad: Tensor, x: Tensor, channels: ChannelIrreps, with_angles: bool) -> Tensor:
    """Gradient by x."""
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    _launch(_scalars(_kinds(channels), with_angles), "scalars_backward", x, [grad, x], [out])
    return out


def scalars_tangent(
    direction: Tensor, grad: Tensor, x: Tensor, channels: ChannelIrreps, with_angles: bool
) -> tuple[Tensor, Tensor]:
    """Derivatives of both where x moves in a direction."""
    outs = [torch.empty_like(y, memory_format=torch.contiguous_format) for y in (grad, x)]
    code = _scalars(_kinds(channels), with_angles)
    _launch(code, "scalars_tangent", x, [direction, grad, x], outs)
    return outs[0], outs[1]


def _kinds(channels: ChannelIrreps) -> tuple[tuple[bool, int, int], ...]:
    """Of every kind of irrep whether it is 0e, its width, and its copies in a channel."""
    return tuple((ir == "0e", channels.widths[ir], n) for ir, n in channels.copies.items())


def norm(x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> Tensor:
    """See :func:`e3hyena.ops.norm.norm`."""
    return _norm("norm", [x], [weight, scale], 1, eps)[0]


def norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Gradients by ``x`` and ``scale``."""
    out, shares = _norm("norm_backward", [grad, x], [weight, scale], 1, eps)
    return out, shares.sum(dim=0)


def norm_tangent(
    to_x: Tensor, to_scale: Tensor, grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of ``norm_backward``, along a direction, by ``grad``, ``x`` and ``scale``."""
    given = [to_x, grad, x], [to_scale, weight, scale]
    by_grad, by_x, shares = _norm("norm_tangent", *given, 2, eps)
    return by_grad, by_x, shares.sum(dim=0)


def _launch(code: str, name: str, like: Tensor, given: list[Tensor], outs: list[Tensor]) -> None:
    """Run a kernel of channels: operands ``(C, n, T)`` with strides, then contiguous results."""
    given = [kernels.rows(x) for x in given]
    strides = [stride for x in given for stride in x.stride()[:2]]
    grid = (-(-like.shape[2] // _BLOCK), len(like))
    sizes = (len(like), like.shape[2])
    kernels.launch(code, name, grid, *given, *outs, *sizes, *strides, BLOCK=_BLOCK)


def _norm(
    name: str, tokens: list[Tensor], vectors: list[Tensor], count: int, eps: float
) -> list[Tensor]:
    """Results like the rows, and, but of the norm itself, shares of a sum over tokens."""
    rows, length = tokens[0].shape
    blocks = -(-length // _BLOCK)
    outs = [tokens[0].new_empty(rows, length) for _ in range(count)]
    if len(tokens) > 1:
        outs.append(tokens[0].new_empty(blocks, rows))
    operands = [*tokens, *(v.contiguous() for v in vectors), *outs, rows, length]
    strides = [stride for x in tokens for stride in x.stride()]
    constants = {"EPS": eps, "BLOCK": _BLOCK, "ROWS": _ROWS}
    kernels.launch(_NORM, name, (blocks,), *operands, *strides, **constants)
    return outs


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
    constant = _constant(gain)
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
    """Kernels for kinds of irreps, see :func:`_kinds`.

    Of every copy: x, and v and w of the channels after and before; s, t and u are their mean
    squares, p and o the mean products of x with them; ``d_`` is a derivative along the direction h.
    """
    ahead, back = _head("scalars", "x", "y"), _head("scalars_backward", "gx", "y")
    along = _head("scalars_tangent", "hgx", "zy")
    for lines in (ahead, back, along):
        lines += ["after = (c + 1) % channels", "before = (c + channels - 1) % channels"]
    rows, copies = sum(w * n for _, w, n in kinds), sum(n for *_, n in kinds)
    count = copies + with_angles * sum(n for even, _, n in kinds if not even)
    row, i, angle = 0, 0, copies
    for even, width, _ in (kind for kind in kinds for _ in range(kind[2])):
        if even:
            ahead += [_load("a", "x", row), _store("y", i, count, "a")]
            back += [_load("a", "g", i), _store("y", row, rows, "a")]
            along += [_load("a", "h", row), _store("z", i, count, "a")]
            along.append(_store("y", row, rows, "tl.zeros_like(a)"))
        else:
            ahead += [
                *_means(row, width, with_angles),
                _store("y", i, count, "s * tl.rsqrt(1 + s)"),
            ]
            common = [_load("d", "g", i), "r = tl.rsqrt(1 + s)", "r3 = r * r * r"]
            common += ["f = (1 + s * 0.5) * r3", "e = d * f"]
            if with_angles:
                ahead.append(_store("y", angle, count, "p * tl.rsqrt(1 + s + t)"))
                common += [_load("ga", "g", angle), _load("gb", "g", angle, "before")]
                common += ["ra = tl.rsqrt(1 + s + t)", "ra3 = ra * ra * ra"]
                common += ["rb = tl.rsqrt(1 + s + u)", "rb3 = rb * rb * rb"]
                common.append("e = e - 0.5 * (ga * p * ra3 + gb * o * rb3)")
            back += [*_means(row, width, with_angles, 1), *common]
            along += [*_means(row, width, with_angles, 2), *common]
            along.append("d_e = d * d_s * (0.5 * r3 - 1.5 * f * r * r)")
            along.append(_store("z", i, count, "d_s * f"))
            if with_angles:
                along += ["d_a = d_s + d_t", "d_b = d_s + d_u"]
                along.append(_store("z", angle, count, "d_p * ra - 0.5 * p * d_a * ra3"))
                along.append("d_e -= 0.5 * ga * ra3 * (d_p - 1.5 * p * ra * ra * d_a)")
                along.append("d_e -= 0.5 * gb * rb3 * (d_o - 1.5 * o * rb * rb * d_b)")
            for n in range(width):
                value, change = f"2 * e * x{n}", f"2 * (d_e * x{n} + e * hx{n})"
                if with_angles:
                    value += f" + ga * ra * v{n} + gb * rb * w{n}"
                    change += f" + ga * (ra * hv{n} - 0.5 * ra3 * d_a * v{n})"
                    change += f" + gb * (rb * hw{n} - 0.5 * rb3 * d_b * w{n})"
                back.append(_store("y", row + n, rows, f"({value}) * {_constant(1 / width)}"))
                along.append(_store("y", row + n, rows, f"({change}) * {_constant(1 / width)}"))
            angle += 1
        row, i = row + width, i + 1
    return "\n\n".join([kernels.HEADER, *map(kernels.text, (ahead, back, along))])


def _means(row: int, width: int, with_angles: bool, order: int = 0) -> list[str]:
    """What is loaded of a copy, and its means; for gradients (1) and their derivatives (2), too."""
    channels = {"x": "c"}
    products = {"s": ("x", "x")}
    if with_angles:
        channels["v"] = "after"
        products |= {"t": ("v", "v"), "p": ("x", "v")}
        if order:
            channels["w"] = "before"
            products |= {"u": ("w", "w"), "o": ("x", "w")}
    lines = [
        _load(f"{prefix}{name}{n}", prefix or "x", row + n, channel)
        for name, channel in channels.items()
        for n in range(width)
        for prefix in ("", "h")[: 1 + (order == 2)]
    ]
    for name, (a, b) in products.items():
        terms = [f"{a}{n} * {b}{n}" for n in range(width)]
        lines.append(f"{name} = ({' + '.join(terms)}) * {_constant(1 / width)}")
        if order == 2:
            terms = [f"h{a}{n} * {b}{n} + {a}{n} * h{b}{n}" for n in range(width)]
            lines.append(f"d_{name} = ({' + '.join(terms)}) * {_constant(1 / width)}")
    return lines


def _constant(value: float) -> str:
    """A number in the precision of the operands."""
    return f"tl.full((), {value!r}, T)"


def _norm_kernel(
    name: str, tokens: str, vectors: str, sums: dict[str, str], between: list[str],
    outs: dict[str, str], share: str = "",
) -> str:  # fmt: skip
    """A kernel of sums over rows, of what follows from them, and of what every row gets.

    ``f`` is the factor of a token; of ``share`` a row gets the sum over the tokens of a block.
    """
    names = ", ".join(f"{n}_all" for n in tokens + vectors + "".join(outs) + "z" * bool(share))
    strides = ", ".join(f"{n}_row, {n}_token" for n in tokens)
    loop = [
        "for start in range(0, rows, ROWS):",
        "    r = start + tl.arange(0, ROWS)",
        "    inside = (r < rows)[:, None] & (m < length)[None, :]",
    ]
    for n in tokens:
        place = f"{n}_all + r[:, None] * {n}_row + m[None, :] * {n}_token"
        loop.append(f"    {n} = tl.load({place}, mask=inside, other=0.0)")
    for n in vectors:
        loop.append(f"    {n} = tl.load({n}_all + r, mask=r < rows, other=0.0)[:, None]")
    lines = [
        "@triton.jit",
        f"def {name}({names}, rows, length, {strides}, EPS: tl.constexpr, BLOCK: tl.constexpr, "
        "ROWS: tl.constexpr):",
        "m = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)",
        *(f"{n} = tl.zeros((BLOCK,), x_all.dtype.element_ty)" for n in sums),
        *loop,
        *(f"    {n} += tl.sum({value}, axis=0)" for n, value in sums.items()),
        "f = tl.rsqrt(q + tl.full((), EPS, x_all.dtype.element_ty))",
        *between,
        *(f"{n} = {n}[None, :]" for n in ["f", *list(sums)[1:]]),
        *loop,
    ]
    for n, value in outs.items():
        place = f"{n}_all + r[:, None] * length + m[None, :]"
        lines.append(f"    tl.store({place}, {value}, mask=inside)")
    if share:
        place = "z_all + tl.program_id(0) * rows + r"
        lines.append(f"    tl.store({place}, tl.sum({share}, axis=1), mask=r < rows)")
    return kernels.text(lines)


_SQUARE = {"q": "w * x * x"}
_CHANGE = {**_SQUARE, "c": "s * x * g"}
_TANGENT = {**_CHANGE, "b": "w * x * h", "a": "h * g * s + k * x * g"}
_NORM = "\n\n".join(
    [
        kernels.HEADER,
        _norm_kernel("norm", "x", "ws", _SQUARE, [], {"y": "x * f * s"}),
        _norm_kernel(
            "norm_backward",
            "gx",
            "ws",
            _CHANGE,
            ["c = c * f * f * f"],
            {"y": "g * f * s - x * c * w"},
            "g * x * f",
        ),
        _norm_kernel(
            "norm_tangent",
            "hgx",
            "kws",
            _TANGENT,
            ["e = f * f * f", "b = b * e", "a = a * e - 3 * b * c * f * f", "c = c * e"],
            {
                "u": "f * (h * s + k * x) - b * s * x",
                "y": "f * k * g - w * (c * h + a * x) - b * s * g",
            },
            "f * h * g - b * x * g",
        ),
    ]
)
