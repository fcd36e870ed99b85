"""What every benchmark does around its measurement."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.documents import find_documents, write_block
from benchmarks.harness.environment import environment
from benchmarks.harness.tables import caption

__all__ = ["as_dicts", "caption", "check_documents", "publish"]


def check_documents(documents: Sequence[str], *blocks: str) -> None:
    """Until all studies are on the harness."""
    find_documents(documents, blocks)


def publish(
    block: str,
    config: Any,
    measure: Callable[[], dict[str, Any]],
    render: Callable[[dict[str, Any]], str],
) -> dict[str, Any]:
    """Measure under the threads of a config; print, write JSON and Markdown blocks; return all.

    Parameters
    ----------
    block : str
        Name of the block in the documents.
    config : dataclass
        With ``threads``, ``output`` and ``documents``.
    measure : callable
        What to measure; its result is the report, beside config and environment.
    render : callable
        Report to Markdown table.
    """
    check_documents(config.documents, block)
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        report: dict[str, Any] = {
            "config": dataclasses.asdict(config),
            "environment": environment(),
            **measure(),
        }
    finally:
        torch.set_num_threads(threads)
    report = json.loads(json.dumps(report))  # what a table shows is what the file holds
    print(render(report))
    if config.output is not None:
        path = Path(config.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n")
        print(f"written: {path}")
    for document in config.documents:
        write_block(document, block, render(report))
        print(f"written: {document}")
    return report


def as_dicts(timings: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Until all studies are on the harness."""
    return timings
