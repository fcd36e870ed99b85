"""Time and memory of operators at growing lengths, until a limit."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.harness.peak import added_mebibytes
from benchmarks.networks.blocks import build_block

ENOUGH_SECONDS = 20.0  # of all passes where a length is measured alone
MOST_REPEATS = 11  # the first ones still fault fresh memory in


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Measure operators at the lengths of a cell; at the last one they take turns.

    An operator stops at the first length whose pass fails for want of memory, or would, going by
    its growth so far, exceed a limit. The first pass at a length gives the memory.

    Parameters
    ----------
    values : dict
        mixers (row to mixer of `build_block`), irreps, pass, lengths, rounds (of the turns; None:
        as many as fit in 20 seconds), memory_limit, time_limit, threads, device.
    folder : Path
        Not used.

    Returns
    -------
    result : dict
        For every row the points reached (length, seconds, mebibytes), and why it stopped.
    """
    torch.set_num_threads(values["threads"])
    torch.manual_seed(0)
    operators = {
        row: build_operator(values["irreps"], mixer).to(values["device"])
        for row, mixer in values["mixers"].items()
    }
    results: dict[str, Any] = {row: {"points": [], "stopped": None} for row in operators}
    for length in values["lengths"]:
        calls = {}
        for row, operator in operators.items():
            points = results[row]["points"]
            reason = results[row]["stopped"] or would_exceed(points, length, values)
            if not reason:
                call = pass_of(operator, values["pass"], length, values["device"])
                reason = _first(call, length, points, values)
                calls[row] = call
            results[row]["stopped"] = reason
        running = {row: call for row, call in calls.items() if not results[row]["stopped"]}
        rounds = values["rounds"] if length == values["lengths"][-1] else None
        for row, seconds in _repeat(running, results, rounds).items():
            results[row]["points"][-1]["seconds"] = seconds
    return results


def build_operator(irreps: str, mixer: str) -> nn.Module:
    """The operator inside `build_block`.

    Examples
    --------
    >>> build_operator("8x0e + 8x1o", "attention_half").mixer_name
    'attention_half'
    """
    operator = build_block(irreps, mixer).operator
    assert operator is not None
    return operator


def would_exceed(points: list[dict[str, float]], length: int, values: dict[str, Any]) -> str | None:
    """What an operator would need at a length, if it is more than a limit.

    Examples
    --------
    >>> points = [dict(length=n, seconds=n**2 / 1e6, mebibytes=1.0) for n in (1000, 2000)]
    >>> would_exceed(points, 4000, {"time_limit": 10, "memory_limit": 1})
    'about 16 s'
    """
    for key, limit, unit in (
        ("seconds", values["time_limit"], "s"),
        ("mebibytes", 1024 * values["memory_limit"], "GiB"),
    ):
        expected = extrapolate(points, length, key)
        if expected > limit:
            return f"about {expected / (1 if unit == 's' else 1024):.0f} {unit}"
    return None


def extrapolate(points: list[dict[str, float]], length: float, key: str) -> float:
    """Value at another length, by the power law through the last two points.

    Examples
    --------
    >>> round(extrapolate([{"length": 1, "seconds": 1}, {"length": 2, "seconds": 4}], 4, "seconds"))
    16
    """
    if len(points) < 2 or min(point[key] for point in points[-2:]) <= 0:
        return 0.0
    before, last = points[-2:]
    exponent = math.log(last[key] / before[key]) / math.log(last["length"] / before["length"])
    return last[key] * (length / last["length"]) ** max(exponent, 0.0)


def pass_of(operator: nn.Module, name: str, length: int, device: str = "cpu") -> Callable[[], None]:
    """One pass over random tokens, waited for.

    Parameters
    ----------
    operator : nn.Module
        With ``irreps_in``; called with tokens ``(length, irreps_in.dim)``.
    name : {"forward", "backward", "force"}
        forward: without gradients. backward: and the gradients of all outputs' sum. force: training
        on forces, which differentiates twice; attention then needs torch's plain kernel.
    length : int
    device : str
    """
    irreps: Any = operator.irreps_in
    x = torch.randn(length, irreps.dim, device=device)

    def forward() -> None:
        with torch.no_grad():
            operator(x)

    def backward() -> None:
        operator.zero_grad()
        operator(x.detach().requires_grad_()).sum().backward()

    def force() -> None:
        operator.zero_grad()
        with sdpa_kernel(SDPBackend.MATH):
            pos = x.detach().requires_grad_()
            energy = operator(pos).square().sum()
            (gradient,) = torch.autograd.grad(energy, pos, create_graph=True)
            gradient.square().sum().backward()

    chosen = {"forward": forward, "backward": backward, "force": force}[name]
    if device == "cpu":
        return chosen

    def waited() -> None:
        chosen()
        torch.cuda.synchronize()

    return waited


def _first(
    call: Callable[[], None], length: int, points: list[dict[str, float]], values: dict[str, Any]
) -> str | None:
    """Time and memory of the first pass; why there is none, if it fails for want of memory."""
    start = time.perf_counter()
    try:
        limit = min(values["memory_limit"], _available())
        with _memory_limited(limit):
            added = _added(call, values["device"])
    except (RuntimeError, MemoryError) as error:
        if not any(word in str(error) for word in ("allocate", "out of memory")):
            raise
        return f"more than {limit:.3g} GiB"
    seconds = time.perf_counter() - start
    points.append({"length": length, "seconds": seconds, "mebibytes": added})
    if seconds > values["time_limit"]:
        return f"more than {values['time_limit']:g} s"
    return None


def _available() -> float:
    """GiB of memory that can be had without killing anybody."""
    file = Path("/proc/meminfo")
    if not file.exists():
        return math.inf
    line = next(text for text in file.read_text().splitlines() if text.startswith("MemAvailable"))
    return 0.97 * int(line.split()[1]) / 2**20


def _added(call: Callable[[], None], device: str) -> float:
    if device == "cpu":
        return added_mebibytes(call)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def _repeat(
    calls: dict[str, Callable[[], None]], results: dict[str, Any], rounds: int | None
) -> dict[str, float]:
    """Medians of further passes, taken in turns; the first pass where it took long enough."""
    first = {row: results[row]["points"][-1]["seconds"] for row in calls}
    seconds: dict[str, list[float]] = {row: [] for row in calls}
    for _ in range(MOST_REPEATS if rounds is None else rounds):
        for row, call in calls.items():
            if rounds is not None or sum(seconds[row], first[row]) < ENOUGH_SECONDS:
                start = time.perf_counter()
                call()
                seconds[row].append(time.perf_counter() - start)
    return {row: statistics.median(seconds[row] or [first[row]]) for row in calls}


@contextlib.contextmanager
def _memory_limited(gibibytes: float) -> Iterator[None]:
    """Let allocations fail that bring this process above its present size and so much more."""
    status = Path("/proc/self/status")
    if not status.exists():  # not Linux: the growth so far has to stop a sweep in time
        yield
        return
    import resource

    line = next(text for text in status.read_text().splitlines() if text.startswith("VmData"))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = 1024 * int(line.split()[1]) + int(gibibytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
