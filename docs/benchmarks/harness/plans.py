"""Studies of the simplest shapes: one cell, or one for each value of an option."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.harness.cells import Cell, Work
from benchmarks.harness.study import Config, Done, Report, Study


def plain_study(
    name: str,
    config: type[Config],
    measure: Work,
    render: Callable[[Report], str] | Mapping[str, Callable[[Report], str]],
    draw: Callable[[Report, Any], None] | None = None,
    *,
    per: str | None = None,
    more: Callable[[dict[str, Any]], dict[str, Any]] = lambda _: {},
) -> Study:
    """A study whose report is what its one cell gives.

    Parameters
    ----------
    name, config, measure, draw
        See `Study`.
    render : callable or dict of str to callable
        Makes the block of the study's name; or what makes each block.
    per : str, optional
        An option, a list of words: there is a cell for each, which has it in its config instead of
        the list, and the report holds the results by word, under the name of the option.
    more : callable
        Options to what else the report holds.
    """

    def cells(config: Config) -> list[Cell]:
        options = config.options()
        if per is None:
            return [Cell("all", options)]
        return [Cell(word.replace(" ", ""), {**options, per: word}) for word in options[per]]

    def collect(config: Config, done: Done) -> dict[str, Any]:
        found = done["measure"]
        by_word = {per: {cell["config"][per]: cell["result"] for cell in found}} if per else {}
        return {**more(config.options()), **(by_word or found[0]["result"])}

    blocks = {name: render} if callable(render) else render
    return Study(name, config, cells, measure, blocks, draw, collect)
