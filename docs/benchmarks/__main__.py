"""One entry point for all measurements: ``python docs/benchmarks NAME [options]``."""

import ast
import dataclasses
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

STUDIES = Path(__file__).parent / "studies"


def find_studies(folder: Path = STUDIES) -> dict[str, str]:
    """Every study and what it says about itself first, without importing it."""
    files = {path.stem: path for path in folder.glob("[!_]*.py")}
    files |= {path.parent.name: path for path in folder.glob("[!_]*/__init__.py")}
    return {
        name: (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
        for name, path in sorted(files.items())
    }


def load_study(name: str) -> Any:
    """The declaration of a study."""
    return import_module(f"benchmarks.studies.{name}").STUDY


def _command(name: str, help: str) -> Command:
    def add(parser: Any, _: Sequence[str]) -> None:
        study = load_study(name)
        # Each class explains its own options: the harness's come first, once.
        known = {"stage"}
        for part in reversed(study.config.__mro__[:-1]):
            parser.add_class_arguments(part, as_group=True, skip=known)
            known |= {field.name for field in dataclasses.fields(part)}
        parser.set_defaults({k: v for k, v in vars(study.config()).items() if k != "stage"})
        parser.add_argument(
            "--stage",
            choices=["all", *study.stages, "report"],
            default="all",
            help="What to do: one stage, the report of what is there, or all in turn.",
        )

    def run(options: dict[str, Any]) -> None:
        study = load_study(name)
        study.run(study.config(**options))

    return Command(help, add, run)


BENCHMARKS = {
    "convolution": "Time the long convolution against its own transforms and the attention kernel.",
    "block": "Time a whole block and tell where the time goes.",
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
    "scaling": "Measure time and memory against the number of tokens.",
    "symmetry": "Measure the symmetry of every mixer with every order of the atoms.",
    "ethanol": "Report forces of ethanol, and run dynamics with them.",
    "path": "Draw energy and force while an atom is pulled through a molecule.",
}


def _module(name: str, help: str) -> Command:
    """The command of a module that holds `Config` and `run`: studies that are not moved yet."""

    def add(parser: Any, _: Sequence[str]) -> None:
        parser.add_class_arguments(import_module(name).Config, as_group=True)

    def run(options: dict[str, Any]) -> None:
        module = import_module(name)
        module.run(module.Config(**options))

    return Command(help, add, run)


COMMANDS = {
    **{name: _module(f"benchmarks.bench.{name}", help) for name, help in BENCHMARKS.items()},
    **{name: _module(f"benchmarks.experiments.{name}", help) for name, help in EXPERIMENTS.items()},
    **{name: _command(name, help) for name, help in find_studies().items()},
}

if __name__ == "__main__":
    words = sys.argv[1:] or ["--help"]
    sys.exit(main(words, COMMANDS, "benchmarks", "Measurements behind the documentation."))
