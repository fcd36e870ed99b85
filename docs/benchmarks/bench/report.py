"""Until the last experiments are on the harness, which look for documents through here."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness.documents import find_documents


def check_documents(documents: Sequence[str], *blocks: str) -> None:
    """Refuse documents without these blocks."""
    find_documents(documents, blocks)
