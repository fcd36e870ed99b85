"""``e3hyena bench``: mixers against attention, on the irreps, lengths and device of the user."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from e3hyena.cli.command import Command

OPPONENT = "attention"


@dataclass
class BenchConfig:
    """What is timed.

    Parameters
    ----------
    irreps : str
        Irreps of the tokens; hidden irreps are `irreps_hidden`, or the operator's default.
    irreps_hidden : str or None
        Irreps of query, key and value.
    mixers : list of str
        Mixers beside attention; all of them by default.
    lengths : list of int
        Tokens per graph, one row of the table each.
    batch : int
        Graphs of that length in a batch.
    accelerator : {"auto", "cpu", "gpu"}
        Where to compute.
    threads : int or None
        Threads of the processor; null: torch's choice.
    backward : bool
        Time forward and backward instead of forward.
    repeats : int
        Counted rounds, in which all mixers take turns; medians are shown.
    """

    irreps: str = "32x0e + 32x1o"
    irreps_hidden: str | None = None
    mixers: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=lambda: [64, 512, 4096])
    batch: int = 1
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    threads: int | None = None
    backward: bool = False
    repeats: int = 5

    def __post_init__(self) -> None:
        for name in ("batch", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be at least 1")
        if not self.lengths or min(self.lengths) < 1:
            raise ValueError(f"lengths = {self.lengths}: give at least one, each at least 1")


def bench(config: BenchConfig) -> str:
    """Time all mixers in turn; a table of milliseconds and of how often attention fits in."""
    import torch

    from e3hyena.testing.timing import interleave
    from e3hyena.training.device import cpu_threads, device_of

    device = device_of(config.accelerator)
    kind = "forward and backward" if config.backward else "forward"
    with cpu_threads(config.threads):
        timings = {n: interleave(_calls(config, n, device), config.repeats) for n in config.lengths}
        where = f"{torch.get_num_threads()} threads" if device == "cpu" else device
    names = list(next(iter(timings.values())))
    rows = [["tokens", *names]]
    for length, found in timings.items():
        medians = [found[name]["median"] for name in names]
        ratios = [found[OPPONENT]["median"] / median for median in medians]
        cells = zip(medians, ratios, strict=True)
        rows.append([str(length), *(f"{ms:.3g} ({ratio:.2g}x)" for ms, ratio in cells)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    title = (
        f"{config.irreps}, {config.batch} graphs, {kind}, {where}: "
        "milliseconds (times as fast as attention)"
    )
    lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([title, *lines])


def _calls(config: BenchConfig, length: int, device: str) -> dict[str, Callable[[], object]]:
    import torch

    from e3hyena import HyenaOperator
    from e3hyena.mixers import MIXERS

    names = [OPPONENT, *(n for n in config.mixers or MIXERS if n != OPPONENT)]
    torch.manual_seed(0)
    operators = {
        name: HyenaOperator(config.irreps, irreps_hidden=config.irreps_hidden, mixer=name).to(
            device
        )
        for name in names
    }
    dim = operators[OPPONENT].irreps_in.dim
    x = torch.randn(config.batch, length, dim, device=device, requires_grad=config.backward)
    finish = torch.cuda.synchronize if device == "cuda" else (lambda: None)

    def call(operator: HyenaOperator) -> None:
        if config.backward:
            torch.autograd.grad(operator(x).sum(), [x, *operator.parameters()], allow_unused=True)
        else:
            with torch.no_grad():
                operator(x)
        finish()

    return {name: lambda o=o: call(o) for name, o in operators.items()}  # type: ignore[misc]


def _add(parser: Any, _: Sequence[str]) -> None:
    parser.add_class_arguments(BenchConfig, as_group=True)


def _run(options: dict[str, Any]) -> None:
    print(bench(BenchConfig(**options)))


COMMAND = Command("Time the mixers against attention on your irreps and lengths.", _add, _run)
