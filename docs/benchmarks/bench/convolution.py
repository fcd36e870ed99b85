"""The long convolution alone: over its own three transforms, and against the attention kernel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.bench.report import as_dicts, caption, publish
from benchmarks.harness.timing import interleave
from benchmarks.operators import check_convolution as check
from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.heads import split_heads
from e3hyena.nn.operator import HyenaOperator
from e3hyena.ops import Paths, tensor_product_long_conv
from e3hyena.ops.backends import native, use_backend
from e3hyena.ops.segments import Segments
from e3hyena.ops.transforms import transform_length

BLOCK = "convolution"


@dataclass
class Config:
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
    repeats, threads, output, documents
        See :class:`benchmarks.harness.study.TimedConfig`.
    """

    irreps: list[str] = dataclasses.field(
        default_factory=lambda: ["32x0e+32x1o", "32x0e+32x1o+32x2e", "16x0e+16x1o+16x2e+16x3o"]
    )
    lengths: list[int] = dataclasses.field(default_factory=lambda: [8192, 65536])
    uneven: list[int] = dataclasses.field(default_factory=lambda: [8192, 8191, 8193, 8200])
    attention_length: int = 8192
    repeats: int = 7
    threads: int = 2
    output: str | None = None
    documents: list[str] = dataclasses.field(default_factory=list)


def run(config: Config) -> dict[str, Any]:
    """Measure, print a table, write the JSON, return what it holds.

    Raises
    ------
    RuntimeError
        If a back-end disagrees with the plain-loop reference; nothing is reported then.
    """
    return publish(
        BLOCK,
        config,
        lambda: {"irreps": {irreps: _measure(irreps, config) for irreps in config.irreps}},
        render,
    )


@torch.no_grad()
def _measure(irreps: str, config: Config) -> dict[str, Any]:
    backends = ["eager", *(["native"] if native.available() else [])]
    for name in backends:
        with use_backend(name):
            check(irreps)
            check(irreps, 97)
    return {
        "lengths": {
            n: as_dicts(interleave(_against_transforms(irreps, n, backends), config.repeats))
            for n in config.lengths
        },
        "uneven": as_dicts(
            interleave({str(n): _convolution(irreps, n) for n in config.uneven}, config.repeats)
        ),
        "uneven_operator": as_dicts(
            interleave({str(n): _operator(irreps, n) for n in config.uneven}, config.repeats)
        ),
        "attention": as_dicts(
            interleave(_against_attention(irreps, config.attention_length), config.repeats)
        )
        if config.attention_length
        else {},
    }


def _against_transforms(irreps: str, n: int, backends: list[str]) -> dict[str, Callable[[], Any]]:
    """Three transforms by torch, all channels at once and few at a time; the convolution."""
    hidden = ChannelIrreps(irreps)
    q, k = torch.randn(2, hidden.num_channels, hidden.dim, n)
    length = transform_length(n, "circular")
    spectrum = torch.fft.rfft(q, n=length)

    def transforms(step: int) -> None:
        for c in range(0, len(q), step):
            part = slice(c, c + step)
            torch.fft.rfft(q[part], n=length)
            torch.fft.rfft(k[part], n=length)
            torch.fft.irfft(spectrum[part], n=length)

    def convolution(name: str) -> Callable[[], None]:
        inner = _convolution(irreps, n)

        def call() -> None:
            with use_backend(name):
                inner()

        return call

    calls: dict[str, Callable[[], Any]] = {
        "transforms": lambda: transforms(len(q)),
        "transforms_in_cache": lambda: transforms(4),
    }
    return calls | {name: convolution(name) for name in backends}


def _convolution(irreps: str, n: int) -> Callable[[], Tensor]:
    hidden = ChannelIrreps(irreps)
    paths = Paths(hidden.per_channel, hidden.per_channel, hidden.per_channel)
    q, k = torch.randn(2, hidden.num_channels, hidden.dim, n)
    weight = torch.randn(paths.num_paths, hidden.num_channels)
    return lambda: tensor_product_long_conv(q, k, weight, paths)


def _operator(irreps: str, n: int) -> Callable[[], Tensor]:
    operator = HyenaOperator(irreps, irreps_hidden=irreps, mixer="query_key")
    x = operator.irreps_in.randn(n, -1)
    return lambda: operator(x)


def _against_attention(irreps: str, n: int) -> dict[str, Callable[[], Any]]:
    """Convolution, gate and product with the value; the fused kernel on heads laid out for it."""
    operator = HyenaOperator(irreps, irreps_hidden=irreps, mixer="query_key")
    channels = ChannelIrreps(irreps)
    q, k, v = torch.randn(3, channels.num_channels, channels.dim, n)
    q_heads, k_heads, v_heads = (split_heads(x.unsqueeze(2), 4) for x in (q, k, v))
    segments = Segments((n,))
    return {
        "hyena": lambda: operator.mix(q, k, v, segments),
        "attention": lambda: torch.nn.functional.scaled_dot_product_attention(
            q_heads, k_heads, v_heads
        ),
    }


def render(report: dict[str, Any]) -> str:
    """The report as two Markdown tables."""
    config = report["config"]
    lines = [
        f"Forward, float32, circular ({caption(report)}); milliseconds, in brackets over the three "
        "transforms of all channels at once.",
        "",
        "| irreps | N | three transforms | the same, 4 channels at a time | `native` | `eager` |",
        "|---|---|---|---|---|---|",
    ]
    for irreps, result in report["irreps"].items():
        for n, timings in result["lengths"].items():
            floor = timings["transforms"]["median"]
            cells = [irreps, n, f"{floor:.2f}", f"{timings['transforms_in_cache']['median']:.2f}"]
            for name in ("native", "eager"):
                ms = timings[name]["median"] if name in timings else float("nan")
                cells.append(f"{ms:.2f} ({ms / floor:.2f})")
            lines.append("| " + " | ".join(cells) + " |")
    uneven = config["uneven"]
    lines += [
        "",
        f"Time per token over that at N = {uneven[0]}, of the convolution and, in brackets, of the "
        "whole operator; then convolution, gate and product with the value (milliseconds) against "
        f"`scaled_dot_product_attention` alone at N = {config['attention_length']}.",
        "",
        "| irreps | "
        + " | ".join(f"N = {n}" for n in uneven[1:])
        + " | Hyena | attention | ratio |",
        "|" + "---|" * (len(uneven) + 3),
    ]
    for irreps, result in report["irreps"].items():
        cells = [irreps]
        for n in uneven[1:]:
            ratio, whole = (
                result[kind][str(n)]["median"] / n * uneven[0]
                / result[kind][str(uneven[0])]["median"]
                for kind in ("uneven", "uneven_operator")
            )  # fmt: skip
            cells.append(f"{ratio:.2f} ({whole:.2f})")
        if result["attention"]:
            ours, theirs = (result["attention"][name]["median"] for name in ("hyena", "attention"))
            cells += [f"{ours:.2f}", f"{theirs:.1f}", f"{theirs / ours:.1f}x"]
        else:
            cells += ["", "", ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
