"""What the processes of a test compute, and what one process computes alone.

Imported by name in every process, so it stands beside the tests, not in them.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def in_processes(number: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What ``work(*arguments)`` returns in each of a group of gloo processes."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_begin, (number, folder, work, arguments), nprocs=number)
        return [torch.load(Path(folder, f"{rank}.pt")) for rank in range(number)]


def _begin(rank: int, number: int, folder: str, work: Callable[..., Any], arguments: Any) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder}/meet", timedelta(minutes=1), rank=rank, world_size=number
    )
    try:
        torch.save(work(*arguments), Path(folder, f"{rank}.pt"))
        dist.barrier()
    finally:
        dist.destroy_process_group()
