"""Digests of what a file says, stored in the file, so that damage shows when it is read."""

import hashlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KEY = "sha256"
_DIGEST = re.compile("[0-9a-f]{64}")


def digest(value: Any) -> str:
    """SHA-256 of nested dictionaries, lists, tensors, strings, numbers, booleans and None.

    Dictionaries count without their order, tuples as lists.
    """
    found = hashlib.sha256()
    for part in _parts(value):
        found.update(b"%d:" % memoryview(part).nbytes)
        found.update(part)
    return found.hexdigest()


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield b"dict %d" % len(value)
        for key in sorted(value, key=lambda key: (type(key).__name__, repr(key))):
            yield from _parts(key)
            yield from _parts(value[key])
    elif isinstance(value, list | tuple):
        yield b"list %d" % len(value)
        for item in value:
            yield from _parts(item)
    elif isinstance(value, str):
        yield b"str"
        yield value.encode("utf-8", "surrogatepass")
    elif value is None or isinstance(value, bool | int | float):
        yield f"{type(value).__name__} {value!r}".encode()
    else:
        yield from _tensor_parts(value)


def _tensor_parts(value: Any) -> Iterator[Any]:
    import torch

    if not isinstance(value, torch.Tensor):
        raise TypeError(f"a {type(value).__name__} has no digest: use tensors, strings and numbers")
    yield f"{value.dtype} {tuple(value.shape)}".encode()
    flat = value.detach().cpu().contiguous().reshape(-1)
    yield flat.view(torch.uint8).numpy()


def with_digest(content: dict[str, Any]) -> dict[str, Any]:
    """A copy of `content` that holds its own digest."""
    rest = {name: value for name, value in content.items() if name != KEY}
    return {**rest, KEY: digest(rest)}


def check_digest(content: dict[str, Any]) -> None:
    """ValueError if `content` holds a digest, and it is another's; early files have none."""
    if KEY in content:
        if content[KEY] != with_digest(content)[KEY]:
            raise ValueError("its content does not fit its digest")
    elif any(isinstance(value, str) and _DIGEST.fullmatch(value) for value in content.values()):
        raise ValueError("the name of its digest was changed")


def check_sums(path: str | Path) -> None:
    """Look at the check sums that torch writes into its files, which `torch.load` does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(record.file_size for record in archive.infolist()) > Path(path).stat().st_size:
                raise zipfile.BadZipFile("its content is larger than the file")
            if (record := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"check sum of {record}")
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile has many ways to say so
        raise ValueError(f"{str(path)!r} is damaged ({error}): delete it and run again") from error
