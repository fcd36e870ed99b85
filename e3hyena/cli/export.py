"""``e3hyena export``."""

from collections.abc import Sequence
from typing import Any

from e3hyena.cli.command import Command
from e3hyena.cli.info import add_checkpoint


def _add(parser: Any, arguments: Sequence[str]) -> None:
    add_checkpoint(parser, arguments)
    parser.add_argument(
        "--output", type=str, required=True, help="FILE.safetensors, or FILE.pt to go back."
    )


def _run(options: dict[str, Any]) -> None:
    from pathlib import Path

    from e3hyena.training.checkpoint import load_model, save_model
    from e3hyena.training.files import check_writable

    output = Path(options["output"])
    if output.suffix not in (".safetensors", ".pt"):
        raise ValueError(f"--output {str(output)!r}: its name must end in .safetensors or .pt")
    check_writable(output.parent)
    model, info = load_model(options["checkpoint"])
    save_model(output, model.state_dict(), info)
    print(f"written: {output}")


COMMAND = Command("Write a trained network as safetensors, or back.", _add, _run)
