"""Tables in Markdown files, rewritten from what was measured."""

import os
import re
from collections.abc import Iterable
from pathlib import Path


def find_documents(places: Iterable[str], blocks: Iterable[str]) -> list[Path]:
    """Files that hold one of the blocks: before anything long is computed."""
    names, asked = list(blocks), list(places)
    found = []
    for place in asked:
        path = Path(place)
        if not path.exists():
            raise ValueError(f"documents: there is no file {place!r}")
        files = sorted(path.glob("*.md")) if path.is_dir() else [path]
        holding = [file for file in files if any(holds_block(file, name) for name in names)]
        if not holding and not path.is_dir():
            raise ValueError(_none_of(names, place))
        found += holding
    if asked and not found:
        raise ValueError(_none_of(names, ", ".join(asked)))
    return found


def _none_of(names: list[str], place: str) -> str:
    return f"documents: {place!r} has no block <!-- {' --> or <!-- '.join(names)} -->"


def holds_block(path: str | os.PathLike[str], name: str) -> bool:
    """Whether a file has a place for the block."""
    return f"<!-- {name} -->" in Path(path).read_text(encoding="utf-8")


def write_block(path: str | os.PathLike[str], name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->``."""
    file = Path(path)
    old = file.read_text(encoding="utf-8")
    read_block(path, name)
    new = re.sub(
        rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
        lambda match: f"{match[1]}{text}\n{match[2]}",
        old,
        flags=re.DOTALL,
    )
    file.write_text(new, encoding="utf-8")


def read_block(path: str | os.PathLike[str], name: str) -> str:
    """What stands in the block now."""
    pattern = rf"<!-- {name} -->\n(.*?)\n?<!-- /{name} -->"
    found = re.search(pattern, Path(path).read_text(encoding="utf-8"), flags=re.DOTALL)
    if found is None:
        raise ValueError(f"{path} has no block <!-- {name} --> ... <!-- /{name} --> to write to")
    return found[1]
