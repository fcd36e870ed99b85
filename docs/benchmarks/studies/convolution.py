"""The long convolution against its own three transforms, and against the attention kernel."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.harness import TimedConfig, caption, interleave, plain_study, table
from benchmarks.operators import backends, check_convolution, forward, operands
from e3hyena.mixers.heads import split_heads
from e3hyena.nn.operator import HyenaOperator
from e3hyena.ops import tensor_product_long_conv
from e3hyena.ops.backends import use_backend
from e3hyena.ops.segments import Segments
from e3hyena.ops.transforms import transform_length

Calls = dict[str, Callable[[], Any]]


@dataclass(kw_only=True)
class ConvolutionConfig(TimedConfig):
    """What to measure.

    Parameters
    ----------
    irreps : list of str
        Irreps of q, k and the result.
    lengths : list of int
        Numbers of tokens compared with three transforms of the same length.
    uneven : list of int
        A length that needs no padding, then others compared with it, per token.
    attention_length : int
        Number of tokens at which the attention kernel runs; 0 for none.
    """

    irreps: list[str] = field(
        default_factory=lambda: ["32x0e+32x1o", "32x0e+32x1o+32x2e", "16x0e+16x1o+16x2e+16x3o"]
    )
    lengths: list[int] = field(default_factory=lambda: [8192, 65536])
    uneven: list[int] = field(default_factory=lambda: [8192, 8191, 8193, 8200])
    attention_length: int = 8192
    repeats: int = 7


@torch.no_grad()
def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Check every back-end, then time."""
    irreps, attention_length = values["irreps"], values["attention_length"]
    for name in backends():
        with use_backend(name):
            check_convolution(irreps)
            check_convolution(irreps, 97)
    timed = partial(interleave, repeats=values["repeats"])
    operator = HyenaOperator(irreps, irreps_hidden=irreps, mixer="query_key")
    inputs = {str(n): operator.irreps_in.randn(n, -1) for n in values["uneven"]}
    return {
        "lengths": {n: timed(_against_transforms(irreps, n)) for n in values["lengths"]},
        "uneven": timed({str(n): _convolution(irreps, n) for n in values["uneven"]}),
        "uneven_operator": timed({n: forward(operator, x) for n, x in inputs.items()}),
        "attention": timed(_against_attention(operator, attention_length))
        if attention_length
        else {},
    }


def _convolution(irreps: str, length: int) -> Callable[[], Any]:
    return partial(tensor_product_long_conv, *operands(irreps, length))


def _against_transforms(irreps: str, length: int) -> Calls:
    """Three transforms by torch, all channels at once and few at a time; the convolution."""
    q, k, *_ = operands(irreps, length)
    points = transform_length(length, "circular")
    spectrum = torch.fft.rfft(q, n=points)

    def transforms(step: int) -> None:
        for c in range(0, len(q), step):
            part = slice(c, c + step)
            torch.fft.rfft(q[part], n=points)
            torch.fft.rfft(k[part], n=points)
            torch.fft.irfft(spectrum[part], n=points)

    def convolution(name: str, call: Callable[[], Any]) -> None:
        with use_backend(name):
            call()

    return {
        "transforms": partial(transforms, len(q)),
        "transforms_in_cache": partial(transforms, 4),
        **{name: partial(convolution, name, _convolution(irreps, length)) for name in backends()},
    }


def _against_attention(operator: HyenaOperator, length: int) -> Calls:
    """Convolution, gate and product with the value; the fused kernel on heads laid out for it."""
    hidden = operator.mixer.hidden
    q, k, v = torch.randn(3, hidden.num_channels, hidden.dim, length)
    q_heads, k_heads, v_heads = (split_heads(x.unsqueeze(2), 4) for x in (q, k, v))
    return {
        "hyena": partial(operator.mix, q, k, v, Segments((length,))),
        "attention": partial(scaled_dot_product_attention, q_heads, k_heads, v_heads),
    }


def render(report: dict[str, Any]) -> str:
    config = report["config"]
    first, *uneven = config["uneven"]
    over_transforms, others = [], []
    for irreps, result in report["irreps"].items():
        for n, timings in result["lengths"].items():
            ms = {name: timing["median"] for name, timing in timings.items()}
            line = [irreps, n, f"{ms['transforms']:.2f}", f"{ms['transforms_in_cache']:.2f}"]
            for name in ("native", "eager"):
                own = ms.get(name, float("nan"))
                line.append(f"{own:.2f} ({own / ms['transforms']:.2f})")
            over_transforms.append(line)
        line = [irreps]
        for n in uneven:
            alone, whole = (
                result[kind][str(n)]["median"] / n * first / result[kind][str(first)]["median"]
                for kind in ("uneven", "uneven_operator")
            )
            line.append(f"{alone:.2f} ({whole:.2f})")
        ms = {name: timing["median"] for name, timing in result["attention"].items()}
        if ms:
            ours, theirs = ms["hyena"], ms["attention"]
            line += [f"{ours:.2f}", f"{theirs:.1f}", f"{theirs / ours:.1f}x"]
        others.append(line + [""] * (len(uneven) + 4 - len(line)))
    timed = ["three transforms", "the same, 4 channels at a time", "`native`", "`eager`"]
    lengths = [f"N = {n}" for n in uneven]
    return (
        f"Forward, float32, circular ({caption(report)}); milliseconds, in brackets over the three "
        "transforms of all channels at once.\n\n"
        + table(["irreps", "N", *timed], over_transforms)
        + f"\n\nTime per token over that at N = {first}, of the convolution and, in brackets, of "
        "the whole operator; then convolution, gate and product with the value (milliseconds) "
        f"against `scaled_dot_product_attention` alone at N = {config['attention_length']}.\n\n"
        + table(["irreps", *lengths, "Hyena", "attention", "ratio"], others)
    )


STUDY = plain_study("convolution", ConvolutionConfig, measure, render, per="irreps")
