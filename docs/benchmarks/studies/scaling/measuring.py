"""Time and memory of operators at growing lengths, until a limit."""

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.harness import added_mebibytes
from benchmarks.networks.blocks import build_block
from benchmarks.operators import added_on_gpu, backward, force, forward

ENOUGH_SECONDS = 20.0  # of all passes where a length is measured alone
MOST_REPEATS = 11  # the first ones still fault fresh memory in
Point = dict[str, float]


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Measure operators at the lengths of a cell; at the last one they take turns.

    An operator stops at the first length whose pass fails for want of memory, or would, going by
    its growth so far, exceed a limit. The first pass at a length gives the memory. Without a number
    of rounds, there are as many as fit in 20 seconds.
    """
    torch.manual_seed(0)
    operators = {
        row: build_operator(values["irreps"], mixer).to(values["device"])
        for row, mixer in values["mixers"].items()
    }
    results: dict[str, Any] = {row: {"points": [], "stopped": None} for row in operators}
    for length in values["lengths"]:
        running = {}
        for row, result in results.items():
            result["stopped"] = result["stopped"] or would_exceed(result["points"], length, values)
            if not result["stopped"]:
                call = pass_of(operators[row], values["pass"], length, values["device"])
                result["stopped"] = _first(call, length, result["points"], values)
            if not result["stopped"]:
                running[row] = call
        rounds = values["rounds"] if length == values["lengths"][-1] else None
        for row, seconds in _repeat(running, results, rounds).items():
            results[row]["points"][-1]["seconds"] = seconds
    return results


def build_operator(irreps: str, mixer: str) -> nn.Module:
    """The operator inside `build_block`."""
    operator = build_block(irreps, mixer).operator
    assert operator is not None
    return operator


def would_exceed(points: list[Point], length: int, values: dict[str, Any]) -> str | None:
    """What an operator would need at a length, if it is more than a limit."""
    seconds = extrapolate(points, length, "seconds")
    gibibytes = extrapolate(points, length, "mebibytes") / 1024
    if seconds > values["time_limit"]:
        return f"about {seconds:.0f} s"
    return f"about {gibibytes:.0f} GiB" if gibibytes > values["memory_limit"] else None


def extrapolate(points: list[Point], length: float, key: str) -> float:
    """Value at another length, by the power law through the last two points."""
    if len(points) < 2 or min(point[key] for point in points[-2:]) <= 0:
        return 0.0
    before, last = points[-2:]
    exponent = math.log(last[key] / before[key]) / math.log(last["length"] / before["length"])
    return last[key] * (length / last["length"]) ** max(exponent, 0.0)


PASSES: dict[str, Callable[..., Callable[[], None]]] = {
    "forward": forward,
    "backward": backward,
    "force": force,
}


def pass_of(operator: nn.Module, name: str, length: int, device: str = "cpu") -> Callable[[], None]:
    """One pass, an entry of `PASSES`, over random tokens, waited for."""
    irreps: Any = operator.irreps_in
    call = PASSES[name](operator, torch.randn(length, irreps.dim, device=device))

    def waited() -> None:
        call()
        torch.cuda.synchronize()

    return call if device == "cpu" else waited


def _first(
    call: Callable[[], None], length: int, points: list[Point], values: dict[str, Any]
) -> str | None:
    """Time and memory of the first pass; why there is none, if it fails for want of memory."""
    limit = min(values["memory_limit"], _available())
    start = time.perf_counter()
    try:
        with _memory_limited(limit):
            added = (added_mebibytes if values["device"] == "cpu" else added_on_gpu)(call)
    except (RuntimeError, MemoryError) as error:
        if not any(word in str(error) for word in ("allocate", "out of memory")):
            raise
        return f"more than {limit:.3g} GiB"
    seconds = time.perf_counter() - start
    points.append({"length": length, "seconds": seconds, "mebibytes": added})
    return f"more than {values['time_limit']:g} s" if seconds > values["time_limit"] else None


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


def _kibibytes(file: str, name: str) -> int | None:
    """An entry of the system's account; None where there is none."""
    lines = Path(file).read_text().splitlines() if Path(file).exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), None)


def _available() -> float:
    """GiB of memory that can be had without killing anybody."""
    free = _kibibytes("/proc/meminfo", "MemAvailable")
    return math.inf if free is None else 0.97 * free / 2**20


@contextlib.contextmanager
def _memory_limited(gibibytes: float) -> Iterator[None]:
    """Let allocations fail that bring this process above its present size and so much more."""
    size = _kibibytes("/proc/self/status", "VmData")
    if size is None:  # not Linux: the growth so far has to stop a sweep in time
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * size + int(gibibytes * 2**30), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
