"""Cells and reports of the simplest shapes: one cell, or one for each value of an option."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.harness.cells import Cell
from benchmarks.harness.study import Config, Done


def one_cell(config: Config) -> list[Cell]:
    """Everything in one cell, whose result is the report: see `its_result`."""
    return [Cell("all", config.options())]


def its_result(config: Config, done: Done) -> dict[str, Any]:
    """What the one cell gave."""
    result: dict[str, Any] = done["measure"][0]["result"]
    return result


def one_per(option: str) -> Callable[[Config], list[Cell]]:
    """A cell for each value of a list of words, which is in its config instead of the list.

    Examples
    --------
    >>> class Two(Config):
    ...     def options(self):
    ...         return {"irreps": ["1o", "2e"], "length": 3}
    >>> [(cell.name, cell.config["irreps"]) for cell in one_per("irreps")(Two())]
    [('1o', '1o'), ('2e', '2e')]
    """

    def cells(config: Config) -> list[Cell]:
        options = config.options()
        return [
            Cell(value.replace(" ", ""), {**options, option: value}) for value in options[option]
        ]

    return cells


def results_by(option: str) -> Callable[[Config, Done], dict[str, Any]]:
    """The results under each of these values."""

    def collect(config: Config, done: Done) -> dict[str, Any]:
        return {option: {cell["config"][option]: cell["result"] for cell in done["measure"]}}

    return collect
