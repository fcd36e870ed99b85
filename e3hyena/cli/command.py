"""What a command is, and the parser that holds them all."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonargparse import ArgumentParser


@dataclass(frozen=True)
class Command:
    """One (sub)command: its help, its arguments, what it does.

    `add` receives the parser and the command line, and is called for the chosen command only.
    """

    help: str
    add: Callable[[Any, Sequence[str]], None]
    run: Callable[[Any], None]


# By name; several under one name, as (help, commands).
Commands = Mapping[str, Command | tuple[str, dict[str, Command]]]


def build_parser(
    arguments: Sequence[str], available: Commands, prog: str, description: str
) -> tuple[Any, dict[tuple[str, ...], tuple[Command, Any]]]:
    """The parser, with the arguments of the chosen command only; by name all commands and parsers.

    A shell completion wants the arguments of all.
    """
    from e3hyena import __version__

    chosen = tuple(word for word in arguments if not word.startswith("-"))
    everything = any(word.startswith("--print_completion") for word in arguments)
    commands: dict[tuple[str, ...], tuple[Command, Any]] = {}

    def leaf(path: tuple[str, ...], command: Command) -> Any:
        parser = _parser(command.help)
        commands[path] = command, parser
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


def suggestion(message: str, options: Sequence[str]) -> str:
    """What the unknown options in an error could have been.

    Examples
    --------
    >>> suggestion("unrecognized arguments: --lr 1e-3", ["optim.lr", "optim.epochs"])
    '; did you mean --optim.lr?'
    """
    meant = []
    for word in message.partition("unrecognized arguments:")[2].split():
        name = word.removeprefix("--").partition("=")[0]
        if word.startswith("--"):
            last = {option.rpartition(".")[2]: option for option in options}
            near = difflib.get_close_matches(name.rpartition(".")[2], last, n=1, cutoff=0.6)
            meant += [f"--{last[near[0]]}"] if near else []
    return f"; did you mean {' and '.join(meant)}?" if meant else ""


def _parser(description: str, **options: Any) -> Any:
    return ArgumentParser(
        description=description, exit_on_error=False, allow_abbrev=False, **options
    )
