"""Files that are either whole or absent, and tell when they were changed since."""

import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from e3hyena._digest import KEY, check_digest, with_digest

_PARTIAL = ".partial-"
_SEAL = "# sha256 "


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; what was written there becomes `path` on success.

    A process killed at any moment, or a machine, leaves the old file or the new one, never half of
    one. If the body raises, the old file stays and the temporary one is removed. The temporary name
    is unique, so that two processes never write into the same file.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}{_PARTIAL}{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write {str(path)!r} ({error.strerror or error}); what was there is kept",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Have the disk hold a file, or the names in a folder, before anything else happens."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some network file systems cannot do it for folders
            raise
    finally:
        os.close(descriptor)


def check_writable(folder: str | Path) -> Path:
    """Make `folder` if it is missing and prove that a file can be written there."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise OSError(
            f"cannot write to the folder {str(folder)!r} ({error.strerror or error}): "
            "choose another output folder or change its permissions"
        ) from error
    return folder


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep every other process out of this block for `folder`, and remove what a killed one left.

    The lock is the system's and on the folder itself: it ends with the process, however that ends,
    and leaves no file. Where the system has no such locks, nothing is checked.
    """
    descriptor = _lock(folder)
    try:
        for partial in folder.rglob(f".*{_PARTIAL}*"):
            partial.unlink(missing_ok=True)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(folder: Path) -> int | None:
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OSError(
            f"another process is training into the folder {str(folder)!r}: wait for it, or choose "
            "another output folder"
        ) from error
    except OSError:  # not on this file system
        os.close(descriptor)
        return None
    return descriptor


def write_text(path: str | Path, text: str, *, sealed: bool = False) -> None:
    """Write `text` to `path`, whole or not at all.

    With `sealed`, comments in the first and the last line, ``# sha256 ...``, let `read_text` see
    changes, and lines that are missing at either end.
    """
    seal = _seal(text) if sealed else ""
    with atomic_path(path) as temporary:
        temporary.write_text(seal + text + seal, encoding="utf-8")


def read_text(path: str | Path) -> str:
    """Read a text file; ValueError if it is not UTF-8, or not as `write_text` sealed it."""
    whole = text = Path(path).read_text(encoding="utf-8")
    seals = []
    if text.startswith(_SEAL):
        first, _, text = text.partition("\n")
        seals.append(first)
    body, mark, last = text.rpartition(_SEAL)  # early files have this one only
    if mark and (body == "" or body.endswith("\n")):
        text = body
        seals.append(mark + last)
    if any(seal.strip() != _seal(text).strip() for seal in seals):
        raise ValueError(
            "it was changed since it was written, or is damaged; if you changed it, delete the "
            f"lines {_SEAL.strip()!r} at its beginning and end"
        )
    return whole


def _seal(text: str) -> str:
    return f"{_SEAL}{hashlib.sha256(text.encode()).hexdigest()}\n"


def write_json(path: str | Path, value: Any, *, sealed: bool = True) -> None:
    """Write `value` as indented JSON to `path`, whole or not at all.

    With `sealed`, a dictionary gets the key ``sha256``, its digest, by which `read_json` sees
    changes.
    """
    text = json.dumps(value, indent=2, allow_nan=False)
    if sealed and isinstance(value, dict):
        text = json.dumps(with_digest(json.loads(text)), indent=2)
    write_text(path, text + "\n")


def read_json(path: str | Path, *keys: str) -> Any:
    """Read a JSON file that holds `keys`; damage, or a change by hand, is a ValueError."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
        if isinstance(value, dict):
            check_digest(value)
            value.pop(KEY, None)
        if keys and not (isinstance(value, dict) and set(keys) <= value.keys()):
            raise ValueError(f"not a record of {', '.join(keys)}")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is damaged ({error}): delete it and run again") from error
    return value
