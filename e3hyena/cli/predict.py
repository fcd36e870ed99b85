"""``e3hyena predict``."""

import sys
from collections.abc import Sequence
from typing import Any

from e3hyena.cli.command import Command
from e3hyena.cli.info import add_checkpoint


def _add(parser: Any, arguments: Sequence[str]) -> None:
    add_checkpoint(parser, arguments)
    parser.add_argument(
        "files",
        type=str,
        nargs="+",
        help="Molecules: .xyz, .extxyz, .sdf, .mol, .smi, .csv, .pdb, .cif or .traj, many per "
        "file or one; positions in angstrom.",
    )
    parser.add_argument(
        "--format",
        choices=["table", "json", "csv", "extxyz"],
        default=None,
        help="How predictions are written; each names the unit. By default what the ending of "
        "--output means; on the terminal a table.",
    )
    parser.add_argument(
        "--output",
        type=str | None,
        help="File to write, .json, .csv, .extxyz or .txt; null: the terminal.",
    )
    parser.add_argument("--batch_size", type=int, default=64, help="Molecules per call.")
    parser.add_argument(
        "--accelerator", choices=["auto", "cpu", "gpu"], default="auto", help="Where to compute."
    )


def _run(options: dict[str, Any]) -> None:
    from pathlib import Path

    from e3hyena.training.files import check_writable, write_text
    from e3hyena.training.prediction import FORMATS, format_of, predict

    output = None if options["output"] is None else Path(options["output"])
    if output is not None:
        if output.resolve() in {Path(file).resolve() for file in options["files"]}:
            raise ValueError(f"--output {str(output)!r} is one of the inputs: name another file")
        if output.is_dir():
            raise ValueError(f"--output {str(output)!r} is a folder: name a file in it")
        check_writable(output.parent)
    form = options["format"] or format_of(output)
    predictions = predict(
        options["checkpoint"],
        options["files"],
        batch_size=options["batch_size"],
        accelerator=options["accelerator"],
    )
    text = FORMATS[form](predictions)
    if output is None:
        sys.stdout.write(text)
    else:
        write_text(output, text)
        print(f"written: {output} ({predictions.task.name} in {predictions.task.unit})")


COMMAND = Command("Predict properties of molecules in files with a trained network.", _add, _run)
