"""A private folder of compiled libraries, which are looked at before they are loaded.

A library that is loaded runs with all rights of the process. So it is taken from a folder that
nobody else can write only, and only if its content has the digest in its name; all else is made
anew. Nothing here needs a lock: files become visible whole, under names that their content decides.
"""

import atexit
import functools
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_WORK = "build-"
_OLD = 86_400.0  # seconds
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def folder() -> Path:
    """``$E3HYENA_CACHE`` or ``~/.cache/e3hyena``; a new temporary folder if that is not private."""
    return _folder(os.environ.get("E3HYENA_CACHE"))


@functools.cache
def _folder(wanted: str | None) -> Path:
    try:
        return private(Path(wanted) if wanted else Path.home() / ".cache" / "e3hyena")
    except (OSError, RuntimeError) as error:  # the latter: there is no home
        warnings.warn(
            f"compiled code is not kept ({error}): it is compiled anew by every process. Set "
            "E3HYENA_CACHE to a folder that is yours alone",
            stacklevel=2,
        )
        temporary = Path(tempfile.mkdtemp(prefix="e3hyena-"))
        atexit.register(_remove, temporary, os.getpid())
        return temporary


def _remove(temporary: Path, owner: int) -> None:
    if os.getpid() == owner:  # not a fork of it
        shutil.rmtree(temporary, ignore_errors=True)


def private(home: Path) -> Path:
    """Where `home` really is, made if missing; a PermissionError if others can write there."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    real = home.resolve(strict=True)
    if os.name != "posix":
        return real
    if not os.access(real, os.W_OK):
        raise PermissionError(f"{str(real)!r} cannot be written")
    for place in (real, *real.parents):
        state = place.stat()
        sticky = place != real and state.st_mode & stat.S_ISVTX  # as /tmp
        if state.st_uid not in (0, os.geteuid()):
            raise PermissionError(f"{str(place)!r} belongs to another user")
        if state.st_mode & _OTHERS_WRITE and not sticky:
            raise PermissionError(f"other users can write to {str(place)!r}")
    return real


def kept(key: str, suffix: str, make: Callable[[Path], None]) -> Path:
    """The file that `make` writes, from the cache if it is there and whole."""
    home = folder()
    index = home / f"{key}.sha256"  # names the file by its digest
    return _whole(index, suffix) or _make(index, suffix, make)


def _whole(index: Path, suffix: str) -> Path | None:
    try:
        name = index.read_bytes().decode("ascii", "replace")
        if not re.fullmatch("[0-9a-f]{64}", name):
            return None
        path = index.with_name(name + suffix)
        return path if hashlib.sha256(path.read_bytes()).hexdigest() == name else None
    except OSError:
        return None


def _make(index: Path, suffix: str, make: Callable[[Path], None]) -> Path:
    _sweep(index.parent)
    with tempfile.TemporaryDirectory(dir=index.parent, prefix=_WORK) as work:
        made = Path(work, f"made{suffix}")
        make(made)
        name = hashlib.sha256(made.read_bytes()).hexdigest()
        path = index.with_name(name + suffix)
        os.replace(made, path)
        entry = Path(work, "index")
        entry.write_text(name)
        os.replace(entry, index)
    return path


def _sweep(home: Path) -> None:
    """Remove what killed processes left."""
    for work in home.glob(f"{_WORK}*"):
        with suppress(OSError):
            if time.time() - work.stat().st_mtime > _OLD:
                shutil.rmtree(work)
