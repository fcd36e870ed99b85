"""The command ``e3hyena``; the only place that parses arguments.

Everything heavy is imported by the command that needs it, so that ``e3hyena --help`` is quick and
works without any extra. Every error is one line on the standard error, exit code 2 for wrong
arguments and 1 for everything else; ``--debug`` shows the traceback instead.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser

from e3hyena._signals import end_in_one_line

__all__ = ["main"]

# Lets the parser write shell completions (extra `completion`): --print_completion shtab-bash
os.environ.setdefault("JSONARGPARSE_ADD_PRINT_COMPLETION_ARGUMENT", "true")

# Read by torch when it first allocates: large tensors in huge pages, see docs/performance.md.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# Errors whose message is written for users; any other is a surprise.
EXPECTED = (ValueError, TypeError, OSError, ImportError, RuntimeError)


@dataclass(frozen=True)
class Command:
    """One (sub)command: its help, its arguments, what it does.

    `add` receives the parser and the command line, and is called for the chosen command only.
    """

    help: str
    add: Callable[[Any, Sequence[str]], None]
    run: Callable[[Any], None]


def _parser(description: str, **options: Any) -> Any:
    return ArgumentParser(
        description=description, exit_on_error=False, allow_abbrev=False, **options
    )


# ---- train -------------------------------------------------------------------------------------


def _add_train(parser: Any, arguments: Sequence[str]) -> None:
    from e3hyena.training.config import TrainConfig
    from e3hyena.training.presets import PRESETS

    parser.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help="Start from these options; --config and single options come on top.",
    )
    parser.add_argument(
        "--config",
        action=ActionConfigFile,
        help="YAML or JSON file with any of the options below; single options after it win.",
    )
    parser.add_class_arguments(TrainConfig, as_group=True)
    # The preset decides the defaults, so it must be known before anything is parsed.
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--preset")
    preset = PRESETS.get(finder.parse_known_args(list(arguments))[0].preset)
    if preset is not None:
        for name, value in preset.to_dict().items():
            nested = isinstance(value, dict)
            parser.set_defaults(
                {f"{name}.{key}": v for key, v in value.items()} if nested else {name: value}
            )


def _train(options: dict[str, Any]) -> None:
    from e3hyena.training.config import TrainConfig

    values = {name: value for name, value in options.items() if name not in ("config", "preset")}
    config = TrainConfig.from_dict(values)
    from e3hyena.training.run import train

    train(config)


# ---- predict and info --------------------------------------------------------------------------


def _add_checkpoint(parser: Any, _: Sequence[str]) -> None:
    parser.add_argument(
        "checkpoint", type=str, help="The model.pt that `e3hyena train` wrote, or its folder."
    )


def _add_predict(parser: Any, arguments: Sequence[str]) -> None:
    _add_checkpoint(parser, arguments)
    parser.add_argument(
        "files",
        type=str,
        nargs="+",
        help="Molecules: .xyz, .extxyz or .sdf, one or many per file; positions in angstrom.",
    )
    parser.add_argument(
        "--format",
        choices=["table", "json", "extxyz"],
        default="table",
        help="How predictions are written; each names the unit.",
    )
    parser.add_argument("--output", type=str | None, help="File to write; null: the terminal.")
    parser.add_argument("--batch_size", type=int, default=64, help="Molecules per call.")
    parser.add_argument(
        "--accelerator", choices=["auto", "cpu", "gpu"], default="auto", help="Where to compute."
    )


def _predict(options: dict[str, Any]) -> None:
    from pathlib import Path

    from e3hyena.training.files import check_writable, write_text
    from e3hyena.training.prediction import FORMATS, predict

    output = None if options["output"] is None else Path(options["output"])
    if output is not None:
        if output.resolve() in {Path(file).resolve() for file in options["files"]}:
            raise ValueError(f"--output {str(output)!r} is one of the inputs: name another file")
        if output.is_dir():
            raise ValueError(f"--output {str(output)!r} is a folder: name a file in it")
        check_writable(output.parent)
    predictions = predict(
        options["checkpoint"],
        options["files"],
        batch_size=options["batch_size"],
        accelerator=options["accelerator"],
    )
    text = FORMATS[options["format"]](predictions)
    if output is None:
        sys.stdout.write(text)
    else:
        write_text(output, text)
        print(f"written: {output} ({predictions.task.name} in {predictions.task.unit})")


def _info(options: dict[str, Any]) -> None:
    from e3hyena.training.info import describe

    print(describe(options["checkpoint"]))


def _add_export(parser: Any, arguments: Sequence[str]) -> None:
    _add_checkpoint(parser, arguments)
    parser.add_argument(
        "--output", type=str, required=True, help="FILE.safetensors, or FILE.pt to go back."
    )


def _export(options: dict[str, Any]) -> None:
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


# ---- data --------------------------------------------------------------------------------------


def _add_root(parser: Any) -> None:
    parser.add_argument(
        "--root",
        type=str | None,
        help="Folder of the data (data/NAME by default); of extxyz the file.",
    )


def _add_fetch(parser: Any, _: Sequence[str]) -> None:
    parser.add_argument(
        "name", choices=["qm9", "md17"], nargs="?", default="qm9", help="What to download."
    )
    _add_root(parser)


def _add_describe(parser: Any, _: Sequence[str]) -> None:
    parser.add_argument(
        "--source",
        choices=["extract", "qm9", "md17", "extxyz"],
        default="extract",
        help="See `e3hyena data list`.",
    )
    _add_root(parser)


def _dataset(source: str, root: str | None) -> Any:
    from e3hyena import data
    from e3hyena.data.catalogue import CATALOGUE

    dataset = getattr(data, CATALOGUE[source].dataset)
    if source == "extract":
        return dataset()
    if source == "extxyz" and root is None:
        raise ValueError("--source extxyz needs --root, the file")
    return dataset(root or f"data/{source}")


def _list(options: dict[str, Any]) -> None:
    from e3hyena.data.catalogue import CATALOGUE

    for name, entry in CATALOGUE.items():
        print(f"{name}  (e3hyena.data.{entry.dataset})")
        for field in ("size", "holds", "download", "origin", "licence"):
            print(f"    {field:9} {getattr(entry, field)}")


def _fetch(options: dict[str, Any]) -> None:
    name, root = options["name"], options["root"] or f"data/{options['name']}"
    dataset = _dataset(name, root)
    task = " --task forces" if name == "md17" else ""
    print(f"{len(dataset):,} molecules in {root}")
    print(f"train on them: e3hyena train{task} --data.source {name} --data.root {root} ...")


def _describe(options: dict[str, Any]) -> None:
    print(_dataset(options["source"], options["root"]).describe())


def _no_arguments(parser: Any, _: Sequence[str]) -> None:
    """Nothing to add."""


# ---- all of it ---------------------------------------------------------------------------------

Commands = Mapping[str, Command | tuple[str, dict[str, Command]]]
COMMANDS: Commands = {
    "train": Command(
        "Train a network for molecules, or continue an interrupted training.", _add_train, _train
    ),
    "predict": Command(
        "Predict properties of molecules in files with a trained network.", _add_predict, _predict
    ),
    "info": Command("Show what a trained network is.", _add_checkpoint, _info),
    "export": Command("Write a trained network as safetensors, or back.", _add_export, _export),
    "data": (
        "Fetch and describe the molecules.",
        {
            "list": Command("Show which data there are.", _no_arguments, _list),
            "fetch": Command(
                "Download QM9 (104 MB) or MD17's ethanol (54 MB), and process it.",
                _add_fetch,
                _fetch,
            ),
            "describe": Command(
                "Show size, targets, units and statistics.", _add_describe, _describe
            ),
        },
    ),
}


def _build(
    arguments: Sequence[str], available: Commands, prog: str, description: str
) -> tuple[Any, dict[tuple[str, ...], Command]]:
    """The parser, with the arguments of the chosen command only, and all commands by name.

    A shell completion wants the arguments of all.
    """
    from e3hyena import __version__

    chosen = tuple(word for word in arguments if not word.startswith("-"))
    everything = any(word.startswith("--print_completion") for word in arguments)
    commands: dict[tuple[str, ...], Command] = {}

    def leaf(path: tuple[str, ...], command: Command) -> Any:
        commands[path] = command
        parser = _parser(command.help)
        if everything or chosen[: len(path)] == path:
            command.add(parser, arguments)
        return parser

    top = _parser(description, prog=prog)
    top.add_argument("--version", action="version", version=f"e3hyena {__version__}")
    top.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
    subcommands = top.add_subcommands(dest="command", required=True)
    for name, entry in available.items():
        if isinstance(entry, Command):
            subcommands.add_subcommand(name, leaf((name,), entry), help=entry.help)
            continue
        about, children = entry
        parser = _parser(about)
        subcommands.add_subcommand(name, parser, help=about)
        nested = parser.add_subcommands(dest="what", required=True)
        for child, command in children.items():
            nested.add_subcommand(child, leaf((name, child), command), help=command.help)
    return top, commands


def _execute(arguments: Sequence[str], available: Commands, prog: str, description: str) -> None:
    parser, commands = _build(arguments, available, prog, description)
    chosen = parser.parse_args(list(arguments)).as_dict()
    path: tuple[str, ...] = (chosen["command"],)
    options = chosen[chosen["command"]]
    if path not in commands:
        path = (*path, options["what"])
        options = options[options["what"]]
    commands[path].run(options)


def main(
    arguments: Sequence[str] | None = None,
    available: Commands = COMMANDS,
    prog: str = "e3hyena",
    description: str = "Equivariant Hyena networks: train, predict.",
) -> int:
    """Run a command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name; those of the process by default.
    available : mapping
        Commands by name.
    prog, description : str
        Name of the program in messages, and what its help says first.

    Returns
    -------
    code : int
        0 when all went well, 1 after an error, 2 after wrong arguments, 130 after an interrupt.
        Without `arguments`, Ctrl-C and SIGTERM end the process at once, with 130 and 143.
    """
    if arguments is None:
        end_in_one_line(sys.argv[1:])
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        with warnings.catch_warnings():
            if not debug:  # notes of dependencies to their developers
                warnings.simplefilter("ignore", DeprecationWarning)
                warnings.simplefilter("ignore", FutureWarning)
            words_left = [word for word in words if word != "--debug"]
            _execute(words_left, available, prog, description)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            raise
        message = " ".join(str(error).split())
        if isinstance(error, argparse.ArgumentError):
            print(f"{prog}: error: {message} (see --help)", file=sys.stderr)
            return 2
        if not isinstance(error, EXPECTED):
            message = f"unexpected {type(error).__name__}: {message}; --debug shows where"
        print(f"{prog}: error: {message}", file=sys.stderr)
        return 1
    return 0
