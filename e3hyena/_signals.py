"""Ctrl-C and SIGTERM end the command line at once, with one line and the usual exit code."""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

_CONTINUED = ("train", "experiment")


def end_in_one_line(words: Sequence[str]) -> None:
    """From now on, SIGINT and SIGTERM end the process with one line, exit code 130 and 143.

    An exception instead would show a traceback where it falls into an import, a destructor or the
    code of another library. Nothing is lost: files are replaced whole, and the next run removes
    what was half written. Signals that are ignored or handled otherwise stay as they are.
    """
    command = next((word for word in words if not word.startswith("-")), "")
    note = "; the same command continues" if command in _CONTINUED else ""
    line = f"e3hyena: interrupted{note}\n".encode()

    def end(signum: int, frame: FrameType | None) -> None:
        with suppress(Exception):
            sys.stdout.flush()
        with suppress(OSError):
            os.write(2, line)
        os._exit(128 + signum)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, end)
