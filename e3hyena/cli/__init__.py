"""The command ``e3hyena``; the only place that parses arguments. One file per command.

Everything heavy is imported by the command that needs it, so that ``e3hyena --help`` is quick and
works without any extra. Every error is one line on the standard error, exit code 2 for wrong
arguments and 1 for everything else; ``--debug`` shows the traceback instead.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

from e3hyena._signals import end_in_one_line
from e3hyena.cli import bench, data, export, info, predict, train
from e3hyena.cli.command import Command, Commands, build_parser, suggestion

__all__ = ["COMMANDS", "Command", "main"]

# Lets the parser write shell completions (extra `completion`): --print_completion shtab-bash
os.environ.setdefault("JSONARGPARSE_ADD_PRINT_COMPLETION_ARGUMENT", "true")

# Read by torch when it first allocates: large tensors in huge pages, see docs/performance.md.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# Errors whose message is written for users; any other is a surprise.
EXPECTED = (ValueError, TypeError, OSError, ImportError, RuntimeError)

COMMANDS: Commands = {
    "train": train.COMMAND,
    "predict": predict.COMMAND,
    "info": info.COMMAND,
    "export": export.COMMAND,
    "data": ("Fetch and describe the molecules.", data.COMMANDS),
    "bench": bench.COMMAND,
}


def main(
    arguments: Sequence[str] | None = None,
    available: Commands = COMMANDS,
    prog: str = "e3hyena",
    description: str = "Equivariant Hyena networks: train, predict.",
) -> int:
    """Run a command line."""
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


def _execute(arguments: Sequence[str], available: Commands, prog: str, description: str) -> None:
    parser, commands = build_parser(arguments, available, prog, description)
    try:
        chosen = parser.parse_args(list(arguments)).as_dict()
    except argparse.ArgumentError as error:
        named = tuple(word for word in arguments if not word.startswith("-"))
        leaves = [leaf for path, (_, leaf) in commands.items() if path == named[: len(path)]]
        options = [name for leaf in leaves for name in leaf.get_defaults().keys()]
        raise argparse.ArgumentError(None, f"{error}{suggestion(str(error), options)}") from error
    path: tuple[str, ...] = (chosen["command"],)
    options = chosen[chosen["command"]]
    if path not in commands:
        path = (*path, options["what"])
        options = options[options["what"]]
    commands[path][0].run(options)
