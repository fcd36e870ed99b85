"""The long convolution between coordinates of small graphs: one launch, its gradient another.

One program has one head of one graph on chip. Its Gram matrix is that of the tokens; a gradient
computes the convolution again. What parameters get from every program is summed in a fixed order.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from e3hyena.ops.backends.triton import kernels

_LEAST = 16  # the least side of a matrix that Triton multiplies
_BYTES = 8192  # of the largest matrix: a gradient holds some ten of them in shared memory
_STEPS = 16


def fits(q: Tensor, frequencies: Tensor, degree: int, sharpening: int, longest: int) -> bool:
    """Whether a graph of so many tokens fits: up to 32, with 64 rows and 32 modes, in float32."""
    heads, waves = frequencies.shape
    tokens, modes, rows = _tiles(longest, waves + 1, q.shape[0] // heads * q.shape[1])
    largest = max(tokens, rows) * max(tokens, modes) * q.element_size()
    return degree < 2 and sharpening <= _STEPS and 0 < longest and largest <= _BYTES


def _tiles(*sizes: int) -> list[int]:
    """Powers of two."""
    return [max(_LEAST, 1 << (size - 1).bit_length()) for size in sizes]


def set_conv(operands: Sequence[Tensor], ptr: Tensor, degree: int, longest: int) -> Tensor:
    """See :func:`e3hyena.ops.set_conv.set_conv`; ``operands`` are all up to ``powers``."""
    out = torch.empty_like(operands[3], memory_format=torch.contiguous_format)
    _launch([*operands, operands[5]], [out] * 7, ptr, degree, longest, back=False)
    return out


def set_conv_backward(
    grad: Tensor, operands: Sequence[Tensor], ptr: Tensor, degree: int, longest: int
) -> list[Tensor]:
    """Gradients by all operands."""
    parameters = operands[6:]
    outs = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in operands[:6]]
    counts = [x.numel() for x in parameters]
    shares = grad.new_empty(len(ptr) - 1, sum(counts))
    _launch([*operands, grad], [*outs, shares], ptr, degree, longest, back=True)
    if not degree:
        outs[3], outs[4] = (torch.zeros_like(x) for x in operands[3:5])
    sums = shares.sum(dim=0).split(counts)  # in a fixed order, unlike atomic additions
    return [*outs, *(s.view(x.shape) for s, x in zip(sums, parameters, strict=True))]


def _launch(
    given: list[Tensor], outs: list[Tensor], ptr: Tensor, degree: int, longest: int, back: bool
) -> None:
    signals = [kernels.rows(x.flatten(0, -2)) for x in (*given[:6], given[9])]
    parameters = [x.contiguous() for x in given[6:9]]
    heads, waves = given[6].shape
    rows, sharpening = len(signals[3]) // heads, len(given[8]) - 1
    tiles = _tiles(longest, waves + 1, rows)
    kernels.launch(
        _source(sharpening), "set_conv", (len(ptr) - 1, heads),
        *signals, *parameters, *outs, ptr, heads, signals[0].shape[1],
        *(x.stride(0) for x in signals), M=waves + 1, D=rows, MODE=(waves + 1) ** -0.5,
        ROW=rows**-0.5, EPS=1e-12, SHARPENING=sharpening, DEGREE=degree, BACK=back,
        TOKENS=tiles[0], MODES=tiles[1], ROWS=tiles[2], num_warps=8,
    )  # fmt: skip


@functools.cache
def _source(sharpening: int) -> str:
    """The kernel with the polynomial written out; all its steps are kept for the gradient."""
    ahead, back = [], [f"l = c{sharpening} * by_y"]
    for i in range(1, sharpening + 1):
        ahead += [f"c{i} = tl.load(powers + {i} * heads + h)"]
        ahead += [f"x{i} = x{i - 1} - dot(s, x{i - 1})", f"y += c{i} * x{i}"]
    for i in range(sharpening, 0, -1):
        back += [f"by_s -= dot(l, tl.trans(x{i - 1}))"]
        back += [f"l = c{i - 1} * by_y + l - dot(tl.trans(s), l)"]
    for i in range(sharpening + 1):
        back += [f"tl.store(by_powers + {i} * heads, tl.sum(tl.sum(by_y * x{i}, axis=1), axis=0))"]
    return _KERNEL.replace("AHEAD", "\n    ".join(ahead)).replace(
        "BACKWARD", "\n        ".join(back)
    )


_KERNEL = (
    kernels.HEADER
    + """

@triton.jit
def dot(x, y):
    return tl.dot(x, y, input_precision="ieee")


@triton.jit(do_not_specialize=[
    "heads", "length", "a_row", "b_row", "w_row", "q_row", "k_row", "z_row", "g_row"
])
def set_conv(
    a_all, b_all, w_all, q_all, k_all, z_all, g_all, omega_all, taps, powers,
    a_out, b_out, w_out, q_out, k_out, z_out, shares, ptr, heads, length,
    a_row, b_row, w_row, q_row, k_row, z_row, g_row,
    M: tl.constexpr, D: tl.constexpr, MODE: tl.constexpr, ROW: tl.constexpr, EPS: tl.constexpr,
    SHARPENING: tl.constexpr, DEGREE: tl.constexpr, BACK: tl.constexpr,
    TOKENS: tl.constexpr, MODES: tl.constexpr, ROWS: tl.constexpr,
):
    T = z_all.dtype.element_ty
    graph, h = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    t, m, d = tl.arange(0, TOKENS), tl.arange(0, MODES), tl.arange(0, ROWS)
    start = tl.load(ptr + graph)
    here, place, row = t < tl.load(ptr + graph + 1) - start, start + t, h * D + d
    here_m, here_d = here[:, None] & (m < M)[None, :], here[:, None] & (d < D)[None, :]
    tap, filters = m[:, None] * (heads * D) + row[None, :], (m < M)[:, None] & (d < D)[None, :]
    wave, turning = h * (M - 1) + m - 1, (m > 0) & (m < M)
    mode, power = tl.full((), MODE, T), tl.full((), ROW, T)

    omega = tl.load(omega_all + wave, mask=turning, other=0.0)
    re = tl.load(taps + tap, mask=filters, other=0.0)
    im = tl.load(taps + (M - 1) * heads * D + tap, mask=filters & (m > 0)[:, None], other=0.0)
    a = tl.load(a_all + h * a_row + place, mask=here, other=0.0)
    b = tl.load(b_all + h * b_row + place, mask=here, other=0.0)
    w = tl.load(w_all + h * w_row + place, mask=here, other=0.0)
    z = tl.load(z_all + row[None, :] * z_row + place[:, None], mask=here_d, other=0.0)
    total = tl.sum(w, axis=0)
    total = tl.where(total == 0, 1, total)  # of an empty graph
    share = w / total
    angle = b[:, None] * omega[None, :]
    ck, sk = tl.where(here_m, tl.cos(angle) * mode, 0), tl.where(here_m, tl.sin(angle) * mode, 0)
    angle = a[:, None] * omega[None, :]
    cq, sq = tl.where(here_m, tl.cos(angle) * mode, 0), tl.where(here_m, tl.sin(angle) * mode, 0)
    if DEGREE:
        q = tl.load(q_all + row[None, :] * q_row + place[:, None], mask=here_d, other=0.0) * power
        k = tl.load(k_all + row[None, :] * k_row + place[:, None], mask=here_d, other=0.0) * power
        gain_at = taps + (2 * M - 1) * heads * D + row
        gain = tl.load(gain_at, mask=d < D, other=0.0)

    x0, c0 = z, tl.load(powers + h)
    y = c0 * x0
    if SHARPENING:
        gram = dot(ck, tl.trans(ck)) + dot(sk, tl.trans(sk))
        if DEGREE:
            gram += dot(k, tl.trans(k))
        both = share[:, None] * share[None, :]
        square = tl.sum(tl.sum(gram * gram * both, axis=1), axis=0)
        scale = tl.rsqrt(square + tl.full((), EPS, T))
        s = gram * (scale * share[None, :])
    AHEAD
    spoken = share[:, None] * y
    cosine, sine = dot(tl.trans(ck), spoken), dot(tl.trans(sk), spoken)
    c_read, s_read = re * cosine + im * sine, re * sine - im * cosine
    if DEGREE:
        near = dot(q, tl.trans(k))
        heard = dot(near, spoken)

    if BACK:
        g = tl.load(g_all + row[None, :] * g_row + place[:, None], mask=here_d, other=0.0)
        count = (2 * M - 1 + DEGREE) * D
        shares += graph * heads * (M + count + SHARPENING)
        by_c_read, by_s_read = dot(tl.trans(cq), g), dot(tl.trans(sq), g)
        by_taps = shares + (M - 1) * heads
        by_powers = by_taps + count * heads + h
        tl.store(by_taps + tap, by_c_read * cosine + by_s_read * sine, mask=filters)
        by_im = by_c_read * sine - by_s_read * cosine
        tl.store(by_taps + (M - 1) * heads * D + tap, by_im, mask=filters & (m > 0)[:, None])
        by_cosine, by_sine = re * by_c_read - im * by_s_read, im * by_c_read + re * by_s_read
        by_spoken = dot(ck, by_cosine) + dot(sk, by_sine)
        by_ck, by_sk = dot(spoken, tl.trans(by_cosine)), dot(spoken, tl.trans(by_sine))
        turn = cq * dot(g, tl.trans(s_read)) - sq * dot(g, tl.trans(c_read))
        tl.store(a_out + h * length + place, tl.sum(turn * omega[None, :], axis=1), mask=here)
        by_omega = tl.sum(turn * a[:, None], axis=0)
        out = row[None, :] * length + place[:, None]
        if DEGREE:
            by_gain = by_taps + (2 * M - 1) * heads * D + row
            tl.store(by_gain, tl.sum(g * heard, axis=0), mask=d < D)
            g = g * gain[None, :]
            by_near = dot(g, tl.trans(spoken))
            by_spoken += dot(tl.trans(near), g)
            tl.store(q_out + out, dot(by_near, k) * power, mask=here_d)
            by_k = dot(tl.trans(by_near), q)
        by_share = tl.sum(by_spoken * y, axis=1)
        by_y = share[:, None] * by_spoken
        by_s = tl.zeros((TOKENS, TOKENS), T)
        BACKWARD
        if SHARPENING:
            by_square = -scale * scale * tl.sum(tl.sum(by_s * s, axis=1), axis=0)
            by_gram = by_s * (scale * share[None, :]) + by_square * gram * both
            by_s = by_s * scale + by_square * gram * share[:, None]
            by_share += tl.sum(gram * by_s, axis=0)
            by_gram += tl.trans(by_gram)
            by_ck += dot(by_gram, ck)
            by_sk += dot(by_gram, sk)
            if DEGREE:
                by_k += dot(by_gram, k)
        turn = ck * by_sk - sk * by_ck
        by_omega += tl.sum(turn * b[:, None], axis=0)
        tl.store(shares + wave, by_omega, mask=turning)
        tl.store(b_out + h * length + place, tl.sum(turn * omega[None, :], axis=1), mask=here)
        by_w = (by_share - tl.sum(share * by_share, axis=0)) / total
        tl.store(w_out + h * length + place, by_w, mask=here)
        tl.store(z_out + out, l, mask=here_d)
        if DEGREE:
            tl.store(k_out + out, by_k * power, mask=here_d)
    else:
        u = dot(cq, c_read) + dot(sq, s_read)
        if DEGREE:
            u += gain[None, :] * heard
        tl.store(z_out + row[None, :] * length + place[:, None], u, mask=here_d)
"""
)
