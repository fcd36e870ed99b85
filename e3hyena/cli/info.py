"""``e3hyena info``."""

from collections.abc import Sequence
from typing import Any

from e3hyena.cli.command import Command


def add_checkpoint(parser: Any, _: Sequence[str]) -> None:
    """The argument ``checkpoint``."""
    parser.add_argument(
        "checkpoint", type=str, help="The model.pt that `e3hyena train` wrote, or its folder."
    )


def _run(options: dict[str, Any]) -> None:
    from e3hyena.training.info import describe

    print(describe(options["checkpoint"]))


COMMAND = Command("Show what a trained network is.", add_checkpoint, _run)
