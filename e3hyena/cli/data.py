"""``e3hyena data``: list, fetch, describe."""

from collections.abc import Sequence
from typing import Any

from e3hyena.cli.command import Command
from e3hyena.registry import CATALOGUE


def _add_root(parser: Any) -> None:
    parser.add_argument(
        "--root",
        type=str | None,
        help="Folder of the data (data/NAME by default); of own and extxyz the file.",
    )


def _add_fetch(parser: Any, _: Sequence[str]) -> None:
    parser.add_argument(
        "name", choices=list(CATALOGUE), nargs="?", default="qm9", help="What to download."
    )
    _add_root(parser)


def _add_describe(parser: Any, _: Sequence[str]) -> None:
    parser.add_argument(
        "--source",
        choices=list(CATALOGUE),
        default="extract",
        help="See `e3hyena data list`.",
    )
    _add_root(parser)
    parser.add_argument(
        "--options",
        type=dict[str, Any],
        default={},
        help="As data.options of `e3hyena train`; of own files the targets.",
    )


def _open(
    source: str, root: str | None, options: dict[str, Any] | None = None
) -> tuple[Any, str | None]:
    """The dataset, and where it lies."""
    entry = CATALOGUE[source]
    if entry.root == "file" and root is None:
        raise ValueError(f"--source {source} needs --root, the file")
    root = root or f"data/{source}" if entry.root else None
    return entry.open(root, options), root


def _list(options: dict[str, Any]) -> None:
    for name, entry in CATALOGUE.items():
        print(f"{name}  (e3hyena.data.{entry.name})")
        for field in ("size", "holds", "download", "origin", "licence"):
            print(f"    {field:9} {getattr(entry, field) or 'nothing'}")
        print(f"    {'tasks':9} {', '.join(entry.targets({})) or 'what data.options names'}")


def _fetch(options: dict[str, Any]) -> None:
    name = options["name"]
    entry = CATALOGUE[name]
    if not entry.download:
        raise ValueError(f"{name} needs no download: `e3hyena data list` shows what does")
    dataset, root = _open(name, options["root"])
    tasks = list(entry.targets({}))
    task = "" if "gap" in tasks else f" --task {tasks[0]}"
    print(f"{len(dataset):,} molecules in {root}")
    print(f"train on them: e3hyena train{task} --data.source {name} --data.root {root} ...")


def _describe(options: dict[str, Any]) -> None:
    print(_open(options["source"], options["root"], options["options"])[0].describe())


def _no_arguments(parser: Any, _: Sequence[str]) -> None:
    """Nothing to add."""


COMMANDS = {
    "list": Command("Show which data there are.", _no_arguments, _list),
    "fetch": Command("Download a data set, and process it.", _add_fetch, _fetch),
    "describe": Command("Show size, targets, units and statistics.", _add_describe, _describe),
}
