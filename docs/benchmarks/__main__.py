"""One entry point for all measurements: ``python docs/benchmarks NAME [options]``."""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Python put this folder on the path: the one above makes `benchmarks` a package, here and in
    # the processes that are started from here.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from e3hyena.cli import Command, main

BENCHMARKS = {
    "convolution": "Time the long convolution against its own transforms and the attention kernel.",
    "operator": "Time the operator against attention of the same width.",
    "block": "Time a whole block and tell where the time goes.",
    "ragged": "Time batches of molecules of different sizes.",
    "sets": "Time the mixer of sets per token, and against attention.",
    "gridding": "Time moments on a grid against sums mode by mode.",
    "transforms": "Time real transforms by length.",
    "swap": "Time and measure e3nn attention layers before and after the swap.",
    "memory": "Measure peak memory, and what is kept for the gradient.",
    "pages": "Measure what memory that stays mapped and huge pages gain.",
}
EXPERIMENTS = {
    "molecules": "Compare all mixers on QM9 at equal budget.",
    "set_recall": "Compare how many pairs mixers tell apart.",
    "recall": "Compare associative recall in sequences.",
    "nbody": "Compare predictions of charged particles.",
    "scaling": "Measure time and memory against the number of tokens.",
    "symmetry": "Measure the symmetry of every mixer with every order of the atoms.",
    "ethanol": "Report forces of ethanol, and run dynamics with them.",
    "path": "Draw energy and force while an atom is pulled through a molecule.",
}


def _module(name: str, help: str) -> Command:
    """The command of a module that holds `Config` and `run`."""

    def add(parser: Any, _: Sequence[str]) -> None:
        parser.add_class_arguments(import_module(name).Config, as_group=True)

    def run(options: dict[str, Any]) -> None:
        module = import_module(name)
        module.run(module.Config(**options))

    return Command(help, add, run)


COMMANDS = {
    **{name: _module(f"benchmarks.bench.{name}", help) for name, help in BENCHMARKS.items()},
    **{name: _module(f"benchmarks.experiments.{name}", help) for name, help in EXPERIMENTS.items()},
}

if __name__ == "__main__":
    sys.exit(main(None, COMMANDS, "benchmarks", "Measurements behind the documentation."))
