"""``e3hyena export``."""

from collections.abc import Sequence
from typing import Any

from e3hyena.cli.command import Command
from e3hyena.cli.info import add_checkpoint


def _add(parser: Any, arguments: Sequence[str]) -> None:
    add_checkpoint(parser, arguments)
    parser.add_argument(
        "--output",
        type=str,
        required=True,
        help="FILE.safetensors, FILE.pt to go back, or FILE.pt2 for an AOTInductor package.",
    )
    parser.add_argument(
        "--periodic", type=bool, default=False, help="Whether a .pt2 takes cells and gives stress."
    )


def _run(options: dict[str, Any]) -> None:
    from pathlib import Path

    from e3hyena.models import export_potential, save_package
    from e3hyena.training.checkpoint import load_model, save_model
    from e3hyena.training.files import check_writable
    from e3hyena.training.predictor import load_predictor

    output = Path(options["output"])
    if output.suffix not in (".safetensors", ".pt", ".pt2"):
        raise ValueError(
            f"--output {str(output)!r}: its name must end in .safetensors, .pt or .pt2"
        )
    check_writable(output.parent)
    if output.suffix == ".pt2":
        predictor = load_predictor(options["checkpoint"])
        save_package(export_potential(predictor, periodic=options["periodic"]), output)
    else:
        model, info = load_model(options["checkpoint"])
        save_model(output, model.state_dict(), info)
    print(f"written: {output}")


COMMAND = Command(
    "Write a trained network as safetensors, or back, or as an AOTInductor package.", _add, _run
)
