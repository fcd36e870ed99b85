"""``e3hyena predict``."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from e3hyena.cli.command import Command


def _add(parser: Any, arguments: Sequence[str]) -> None:
    parser.add_argument(
        "checkpoint",
        type=str,
        help="The model.pt that `e3hyena train` wrote, or its folder; with --pretrained left out.",
    )
    parser.add_argument(
        "--pretrained",
        action="store_true",
        help="Use the networks of the package: dipole vector, partial charges and gap (GFN2-xTB), "
        "each with a doubt that nine of ten errors do not reach.",
    )
    parser.add_argument(
        "files",
        type=str,
        nargs="*",
        help="Molecules: .xyz, .extxyz, .sdf, .mol, .smi, .csv, .pdb, .cif, .mmtf or .traj, many "
        "per file or one; positions in angstrom.",
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

    from e3hyena.training.ensemble import load_pretrained
    from e3hyena.training.files import check_writable, write_text
    from e3hyena.training.prediction import FORMATS, format_of, predict

    if options["pretrained"]:
        options["files"].insert(0, options["checkpoint"])
        options["checkpoint"] = load_pretrained()
    if not options["files"]:
        missing = "files, after the checkpoint or --pretrained"
        raise argparse.ArgumentError(None, f"the following arguments are required: {missing}")
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
        said = [f"{part.quantity} in {part.unit}" for part in predictions.task.each]
        if predictions.forces is not None:
            said.append(f"forces in {predictions.task.unit}/Angstrom")
        print(f"written: {output} ({', '.join(said)})")


COMMAND = Command("Predict properties of molecules in files with a trained network.", _add, _run)
