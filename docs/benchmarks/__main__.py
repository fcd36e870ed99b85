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


COMMANDS = {name: _command(name, help) for name, help in find_studies().items()}

if __name__ == "__main__":
    words = sys.argv[1:] or ["--help"]
    sys.exit(main(words, COMMANDS, "benchmarks", "Measurements behind the documentation."))
