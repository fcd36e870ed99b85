"""Files of torch: plain values and tensors, with a digest, whole or not at all."""

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from e3hyena._digest import check_sums, with_digest
from e3hyena.training.files import atomic_path


def write_torch(path: str | Path, content: dict[str, Any]) -> None:
    """Write `content` with its digest."""
    buffer = io.BytesIO()  # torch itself names no cause when a disk is full
    torch.save(with_digest(content), buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read_torch(path: str | Path) -> Any:
    """Content of a file of torch; that of `write_torch` still has its digest, for `check_digest`.

    No code in the file is run. The check sums that torch writes are looked at.
    """
    size = Path(path).stat().st_size
    try:
        check_sums(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        check_tensors(content, size)
    except Exception as error:  # torch has many ways to say so
        raise ValueError(" ".join(str(error).split())[:200] or type(error).__name__) from error
    return content


def check_tensors(value: Any, size: int) -> None:
    """ValueError if a tensor among nested values says to be larger than `size` bytes."""
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.numel() * value.element_size() > size:
            raise ValueError(f"a tensor of shape {tuple(value.shape)} in {size} bytes")
    elif isinstance(value, dict):
        for item in value.values():
            check_tensors(item, size)
    elif isinstance(value, list | tuple):
        for item in value:
            check_tensors(item, size)
