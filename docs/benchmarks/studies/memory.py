"""Peak memory of the long convolution against its formula, and what is kept for the gradient."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import Config, added_mebibytes, in_fresh_process, plain_study, table
from benchmarks.operators import backends, check_convolution, operands, peak_memory
from e3hyena.ops import tensor_product_long_conv
from e3hyena.ops.backends import use_backend
from e3hyena.ops.backends.eager.contraction import BLOCK_BYTES
from e3hyena.ops.backends.eager.convolution import channels_at_once
from e3hyena.ops.transforms import transform_batches


@dataclass(kw_only=True)
class MemoryConfig(Config):
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
    """

    irreps: list[str] = field(default_factory=lambda: ["32x0e+32x1o", "16x0e+16x1o+16x2e+16x3o"])
    lengths: list[int] = field(default_factory=lambda: [65536, 65537, 262144])
    operator_irreps: str = "32x0e+32x1o"
    operator_length: int = 2**20
    threads: int = 2


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Peaks of the convolution, measured and predicted; what is kept; peak of an operator."""
    rows = []
    for irreps in values["irreps"]:
        check_convolution(irreps)
        for length in values["lengths"]:
            for backend in backends():
                setup = irreps, length, backend, values["threads"]
                rows.append([*setup[:3], peak_of_convolution(*setup), predicted_peak(*setup)])
    length = values["operator_length"]
    return {
        "convolution": rows,
        "saved_over_operands": {irreps: saved_ratio(irreps) for irreps in values["irreps"]},
        "operator_forward_backward": length
        and peak_memory(values["operator_irreps"], "query_key", length, backward=True),
    }


def peak_of_convolution(irreps: str, length: int, backend: str, threads: int) -> float:
    """Mebibytes that one long convolution adds to a fresh process, its result included.

    The largest of three processes: pages that the system takes from one meanwhile (of libraries,
    under memory pressure) make its figure smaller, nothing makes it larger.
    """
    setup = irreps, length, backend, threads
    return max(in_fresh_process(_added, *setup) for _ in range(3))


def _added(irreps: str, length: int, backend: str, threads: int) -> float:
    torch.set_num_threads(threads)
    q, k, weight, paths = operands(irreps, length)

    def call(n: int) -> Tensor:
        with use_backend(backend):
            return tensor_product_long_conv(q[..., :n], k[..., :n], weight, paths)

    call(256)
    return added_mebibytes(lambda: call(length))


def predicted_peak(irreps: str, length: int, backend: str, threads: int) -> float:
    r"""Mebibytes of one circular long convolution in float32, result included.

    With S = 4 (d1 + d2 + d3) (P + 2) bytes of spectra per channel and graph: the result and one S
    per thread (``native``); the result, 3/2 of the S of the channels processed at once, or 3 where
    signals are padded and so copied, and six blocks of the contraction (``eager``).
    """
    like, _, _, paths = operands(irreps, 0)
    (batch,) = transform_batches((length,), "circular")
    result = 4 * len(like) * paths.dims[2] * length
    spectra = 4 * sum(paths.dims) * (batch.length + 2)
    if backend == "native":
        return (result + threads * spectra) / 2**20
    at_once = channels_at_once(paths, batch, like)
    copies = 1.5 if batch.length == length else 3
    return (result + copies * at_once * spectra + 6 * BLOCK_BYTES) / 2**20


def saved_ratio(irreps: str, length: int = 1009) -> float:
    """Bytes that the long convolution keeps for its gradient over those of q and k."""
    q, k, weight, paths = operands(irreps, length)
    for x in (q, k, weight):
        x.requires_grad_()
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor is not weight:
            saved[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        tensor_product_long_conv(q, k, weight, paths)
    return sum(saved.values()) / (q.nbytes + k.nbytes)


def render(report: dict[str, Any]) -> str:
    config, machine = report["config"], report["environment"]
    rows = [
        [irreps, f"{length}", f"`{backend}`", f"{measured:.0f}", f"{predicted:.0f}"]
        for irreps, length, backend, measured, predicted in report["convolution"]
    ]
    saved = ", ".join(f"{ratio:.2f} ({i})" for i, ratio in report["saved_over_operands"].items())
    text = (
        f"MiB that one long convolution adds, result included ({config['threads']} threads, "
        f"{machine['cpu']}, torch {machine['torch']}).\n\n"
        + table(["irreps", "N", "back-end", "measured", "by the formula"], rows)
        + f"\n\nKept for the gradient, over the bytes of q and k: {saved}."
    )
    if report["operator_forward_backward"]:
        text += (
            f"\nOne `query_key` operator, {config['operator_irreps']}, "
            f"{config['operator_length']} tokens, forward and backward: "
            f"{report['operator_forward_backward'] / 2**10:.1f} GiB."
        )
    return text


STUDY = plain_study("memory", MemoryConfig, measure, render)
