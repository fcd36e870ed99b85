"""The kernel of the long convolution between coordinates, written down as it is computed.

The formula stands once: of numbers it is the convolution and its gradient, of numbers that change
along directions of the operands (:class:`e3hyena.ops.jets.Jet`) the derivatives of both.
"""

import functools
from collections.abc import Callable

from e3hyena.ops.backends.triton import kernels
from e3hyena.ops.backends.triton.lines import Line
from e3hyena.ops.jets import Jet

_CONSTANTS = "M", "D", "MODE", "ROW", "TOKENS", "MODES", "ROWS"
_DOT = """
@triton.jit
def dot(x, y):
    return tl.dot(x, y, input_precision="ieee")
"""
_START = """
T = z_all.dtype.element_ty
graph, h = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
t, m, d = tl.arange(0, TOKENS), tl.arange(0, MODES), tl.arange(0, ROWS)
start = tl.load(ptr + graph)
here, place, row = t < tl.load(ptr + graph + 1) - start, start + t, h * D + d
here_m, here_d = here[:, None] & (m < M)[None, :], here[:, None] & (d < D)[None, :]
wave, turning, filled, known = h * (M - 1) + m - 1, (m > 0) & (m < M), d < D, h < heads
vector, matrix = h * length + place, row[None, :] * length + place[:, None]
re, gain = m[:, None] * (heads * D) + row[None, :], (2 * M - 1) * heads * D + row
im, filters = re + (M - 1) * heads * D, (m < M)[:, None] & filled[None, :]
turns = filters & (m > 0)[:, None]
mode, power = tl.full((), MODE, T), tl.full((), ROW, T)
"""
_SHARES = """
count = (2 * M - 1 + {0}) * D
shares_out += graph * heads * (M + count + {1})
by_taps = shares_out + (M - 1) * heads
by_powers = by_taps + count * heads + h
"""
_MODE = "tl.where(here_m, {} * mode, 0)"


@functools.cache
def source(order: int, sharpening: int, degree: int) -> str:
    """The convolution (0), its gradient (1), or the derivatives of both along directions (2)."""
    signals = [*"abwqkz", *"g"[:order], *(f"to_{n}" for n in "abwqkz" if order == 2)]
    prefixes = ("", "to_")[: max(order, 1)]
    parameters = [p + n for p in prefixes for n in ("omega", "taps", "powers")]
    outs = (["u"], [*"abwqkz", "shares"], [*"uabwqkz", "shares"])[order]
    rows = [f"{n}_row" for n in signals]
    names = [*(f"{n}_all" for n in signals + parameters), *(f"{n}_out" for n in outs), "ptr"]
    names += ["heads", "length", *rows, *(f"{n}: tl.constexpr" for n in _CONSTANTS)]
    lines = _START.strip().splitlines()
    if order:
        lines += _SHARES.strip().format(degree, sharpening).splitlines()
    _write(lines, order, sharpening, degree)
    head = f"@triton.jit(do_not_specialize={['heads', 'length', *rows]})"
    kernel = [head, f"def set_conv({', '.join(names)}):", *lines]
    return "\n\n".join([kernels.HEADER, _DOT, kernels.text(kernel)])


def _each(form: str) -> Callable[[Jet], Jet]:
    """A linear function of tensors."""
    return lambda x: x.map(lambda line: line.put(form))


_column, _row, _turned = _each("{}[:, None]"), _each("{}[None, :]"), _each("tl.trans({})")
_scaled = _each("{} * power")
_over_rows, _over_columns = _each("tl.sum({}, axis=0)"), _each("tl.sum({}, axis=1)")


def _total(x: Jet) -> Jet:
    return _over_rows(_over_columns(x))


def _function(x: Jet, form: str, slope: Callable[[Line], Line]) -> Jet:
    """A function of one number, whose slope is one of the result."""
    y = x.parts[0].put(form)
    return Jet([y, *(slope(y) * change for change in x.parts[1:])], x.order)


def _write(lines: list[str], order: int, sharpening: int, degree: int) -> None:
    def load(name: str, place: str, mask: str) -> Jet:
        """An operand and, of a derivative, its direction."""
        names = [name, f"to_{name}"] if order == 2 and name != "g" else [name]
        form = f"tl.load({{0}}_all + {place}, mask={mask}, other=0.0)"
        return Jet([Line(lines, form.format(n)) for n in names], order // 2)

    def store(place: str, x: Jet, mask: str) -> None:
        lines.append(f"tl.store({place}, {x.parts[-1].name}, mask={mask})")

    def waves(x: Jet) -> list[Jet]:
        angle = _column(x) * _row(omega)
        cosine, sine = (f(angle.parts[0]).put(_MODE) for f in (Line.cos, Line.sin))
        changes = [(sine * change * -1.0, cosine * change) for change in angle.parts[1:]]
        pairs = zip((cosine, sine), *changes, strict=True)
        return [Jet([*parts], x.order) for parts in pairs]

    omega, re = load("omega", "wave", "turning"), load("taps", "re", "filters")
    im = load("taps", "im", "turns")
    powers = [load("powers", f"{i} * heads + h", "known") for i in range(sharpening + 1)]
    a, b, w = (load(n, "h * {0}_row + place", "here") for n in "abw")
    q, k, z = (load(n, "row[None, :] * {0}_row + place[:, None]", "here_d") for n in "qkz")
    total = _over_rows(w)
    total.parts[0] = total.parts[0].put("tl.where({0} == 0, 1, {0})")  # of an empty graph
    inverse = _function(total, "1 / {}", lambda y: y * y * -1.0)
    share = w * inverse
    (ck, sk), (cq, sq) = waves(b), waves(a)
    if degree:
        q, k, gain = _scaled(q), _scaled(k), _row(load("taps", "gain", "filled"))

    x, y = [z], powers[0] * z
    if sharpening:
        gram = ck @ _turned(ck) + sk @ _turned(sk)
        if degree:
            gram = gram + k @ _turned(k)
        both = _column(share) * _row(share)
        square = _total(gram * gram * both) + 1e-12
        scale = _function(square, "tl.rsqrt({})", lambda y: y * y * y * -0.5)
        s = gram * (scale * _row(share))
    for c in powers[1:]:
        x.append(x[-1] - s @ x[-1])
        y = y + c * x[-1]
    spoken = _column(share) * y
    cosine, sine = _turned(ck) @ spoken, _turned(sk) @ spoken
    c_read, s_read = re * cosine + im * sine, re * sine - im * cosine
    if degree:
        near = q @ _turned(k)
        heard = near @ spoken
    if order != 1:
        u = cq @ c_read + sq @ s_read
        store("u_out + matrix", u + gain * heard if degree else u, "here_d")
    if order == 0:
        return

    g = load("g", "row[None, :] * {0}_row + place[:, None]", "here_d")
    by_c_read, by_s_read = _turned(cq) @ g, _turned(sq) @ g
    store("by_taps + re", by_c_read * cosine + by_s_read * sine, "filters")
    store("by_taps + im", by_c_read * sine - by_s_read * cosine, "turns")
    by_cosine, by_sine = re * by_c_read - im * by_s_read, im * by_c_read + re * by_s_read
    by_spoken = ck @ by_cosine + sk @ by_sine
    by_ck, by_sk = spoken @ _turned(by_cosine), spoken @ _turned(by_sine)
    turn = cq * (g @ _turned(s_read)) - sq * (g @ _turned(c_read))
    store("a_out + vector", _over_columns(turn * _row(omega)), "here")
    by_omega = _over_rows(turn * _column(a))
    if degree:
        store("by_taps + gain", _over_rows(g * heard), "filled")
        g = g * gain
        by_near = g @ _turned(spoken)
        by_spoken = by_spoken + _turned(near) @ g
        store("q_out + matrix", _scaled(by_near @ k), "here_d")
        by_k = _turned(by_near) @ q
    by_share, by_y = _over_columns(by_spoken * y), _column(share) * by_spoken
    by_z, by_s = powers[-1] * by_y, Jet([], order // 2)
    for c, each in zip(powers[-2::-1], x[-2::-1], strict=True):
        by_s = by_s - by_z @ _turned(each)
        by_z = c * by_y + by_z - _turned(s) @ by_z
    for i, each in enumerate(x):
        store(f"by_powers + {i} * heads", _total(by_y * each), "known")
    if sharpening:
        by_square = _total(by_s * s) * scale * scale * -1.0
        by_gram = by_s * (scale * _row(share)) + by_square * gram * both
        by_s = by_s * scale + by_square * gram * _column(share)
        by_share = by_share + _over_rows(gram * by_s)
        by_gram = by_gram + _turned(by_gram)
        by_ck, by_sk = by_ck + by_gram @ ck, by_sk + by_gram @ sk
        if degree:
            by_k = by_k + by_gram @ k
    turn = ck * by_sk - sk * by_ck
    store("b_out + vector", _over_columns(turn * _row(omega)), "here")
    store("shares_out + wave", by_omega + _over_rows(turn * _column(b)), "turning")
    store("w_out + vector", (by_share - _over_rows(share * by_share)) * inverse, "here")
    store("z_out + matrix", by_z, "here_d")
    if degree:
        store("k_out + matrix", _scaled(by_k), "here_d")
