"""Memory: the long convolution's peak against its formula, what is kept, one million tokens."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.bench.peak import peak_of_convolution
from benchmarks.bench.report import publish
from benchmarks.operators import check_convolution as check
from benchmarks.operators import peak_memory
from e3hyena.irreps import ChannelIrreps
from e3hyena.ops import Paths, tensor_product_long_conv
from e3hyena.ops.backends import native
from e3hyena.ops.backends.eager.contraction import BLOCK_BYTES
from e3hyena.ops.backends.eager.convolution import channels_at_once
from e3hyena.ops.transforms import transform_batches, transform_length

BLOCK = "memory"


@dataclass
class Config:
    """What to measure.

    Parameters
    ----------
    irreps : list of str
        Irreps of q, k and the result.
    lengths : list of int
        Numbers of tokens of one long convolution.
    operator_irreps : str
        Irreps of the operator below.
    operator_length : int
        Number of tokens of one operator, forward and backward; 0 for none.
    threads, output, documents
        See :class:`benchmarks.harness.study.TimedConfig`.
    """

    irreps: list[str] = dataclasses.field(
        default_factory=lambda: ["32x0e+32x1o", "16x0e+16x1o+16x2e+16x3o"]
    )
    lengths: list[int] = dataclasses.field(default_factory=lambda: [65536, 65537, 262144])
    operator_irreps: str = "32x0e+32x1o"
    operator_length: int = 2**20
    threads: int = 2
    output: str | None = None
    documents: list[str] = dataclasses.field(default_factory=list)


def run(config: Config) -> dict[str, Any]:
    """Measure, print a table, write the JSON, return what it holds.

    Raises
    ------
    RuntimeError
        If the long convolution is wrong; nothing is reported then.
    """
    return publish(BLOCK, config, lambda: _measure(config), render)


def _measure(config: Config) -> dict[str, Any]:
    backends = ["eager", *(["native"] if native.available() else [])]
    rows = []
    for irreps in config.irreps:
        check(irreps)
        for length in config.lengths:
            for backend in backends:
                measured = peak_of_convolution(irreps, length, backend, config.threads)
                predicted = predicted_peak(irreps, length, backend, config.threads)
                rows.append([irreps, length, backend, measured, predicted])
    operator = None
    if config.operator_length:
        operator = peak_memory(
            config.operator_irreps, "query_key", config.operator_length, backward=True
        )
    return {
        "convolution": rows,
        "saved_over_operands": {irreps: saved_ratio(irreps) for irreps in config.irreps},
        "operator_forward_backward": operator,
    }


def predicted_peak(irreps: str, length: int, backend: str, threads: int) -> float:
    r"""Mebibytes of one circular long convolution in float32, result included.

    With S = 4 (d1 + d2 + d3) (P + 2) bytes of spectra per channel and graph: the result and one S
    per thread (``native``); the result, 3/2 of the S of the channels processed at once, or 3 where
    signals are padded and so copied, and six blocks of the contraction (``eager``).
    """
    hidden = ChannelIrreps(irreps)
    paths = Paths(hidden.per_channel, hidden.per_channel, hidden.per_channel)
    result = 4 * hidden.num_channels * paths.dims[2] * length
    points = transform_length(length, "circular")
    spectra = 4 * sum(paths.dims) * (points + 2)
    if backend == "native":
        return (result + threads * spectra) / 2**20
    (bucket,) = transform_batches((length,), "circular")
    like = torch.empty(hidden.num_channels, 0)
    at_once = channels_at_once(paths, bucket, like)
    copies = 1.5 if points == length else 3
    return (result + copies * at_once * spectra + 6 * BLOCK_BYTES) / 2**20


def saved_ratio(irreps: str, length: int = 1009) -> float:
    """Bytes that the long convolution keeps for its gradient over those of q and k."""
    hidden = ChannelIrreps(irreps)
    paths = Paths(hidden.per_channel, hidden.per_channel, hidden.per_channel)
    q, k = (x.requires_grad_() for x in torch.randn(2, hidden.num_channels, hidden.dim, length))
    weight = torch.randn(paths.num_paths, hidden.num_channels, requires_grad=True)
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor is not weight:
            saved[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        tensor_product_long_conv(q, k, weight, paths)
    return sum(saved.values()) / (q.nbytes + k.nbytes)


def render(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    config, machine = report["config"], report["environment"]
    lines = [
        f"MiB that one long convolution adds, result included ({config['threads']} threads, "
        f"{machine['cpu']}, torch {machine['torch']}).",
        "",
        "| irreps | N | back-end | measured | by the formula |",
        "|---|---|---|---|---|",
    ]
    for irreps, length, backend, measured, predicted in report["convolution"]:
        lines.append(f"| {irreps} | {length} | `{backend}` | {measured:.0f} | {predicted:.0f} |")
    saved = ", ".join(f"{ratio:.2f} ({i})" for i, ratio in report["saved_over_operands"].items())
    lines += ["", f"Kept for the gradient, over the bytes of q and k: {saved}."]
    if report["operator_forward_backward"]:
        lines.append(
            f"One `query_key` operator, {config['operator_irreps']}, "
            f"{config['operator_length']} tokens, forward and backward: "
            f"{report['operator_forward_backward'] / 2**10:.1f} GiB."
        )
    return "\n".join(lines)
