"""Tables in Markdown files, rewritten from what was measured."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path


def check_documents(documents: Iterable[str], *blocks: str) -> None:
    """See that every document can be rewritten, before anything long is computed.

    Raises
    ------
    ValueError
        If one does not exist, or holds none of the blocks.
    """
    for document in documents:
        if not Path(document).is_file():
            raise ValueError(f"documents: there is no file {document!r}")
        if not any(f"<!-- {name} -->" in Path(document).read_text() for name in blocks):
            read_block(document, blocks[0])  # says what is missing


def write_block(path: str | os.PathLike[str], name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->``.

    Raises
    ------
    ValueError
        If the file has no such block.
    """
    file = Path(path)
    old = file.read_text()
    read_block(path, name)
    new = re.sub(
        rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
        lambda match: f"{match[1]}{text}\n{match[2]}",
        old,
        flags=re.DOTALL,
    )
    file.write_text(new)


def read_block(path: str | os.PathLike[str], name: str) -> str:
    """What stands in the block now."""
    pattern = rf"<!-- {name} -->\n(.*?)\n?<!-- /{name} -->"
    found = re.search(pattern, Path(path).read_text(), flags=re.DOTALL)
    if found is None:
        raise ValueError(f"{path} has no block <!-- {name} --> ... <!-- /{name} --> to write to")
    return found[1]
