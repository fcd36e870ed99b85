"""The heap of the C library."""

import ctypes
import functools
import os

KEPT_BYTES = 2**29
_LARGEST_BYTES = 2**25  # what the GNU C library allows; larger blocks are mapped one by one
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


@functools.cache
def keep_freed_pages() -> None:
    """Have the GNU C library keep up to 512 MiB of freed memory for the next allocation.

    By default it returns a few megabytes already, and tensors of the next layer fault every page
    in again. Nothing is done elsewhere, or where ``MALLOC_TRIM_THRESHOLD_`` is set.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None and "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES)
