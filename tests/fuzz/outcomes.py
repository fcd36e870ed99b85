"""Try one input after the other, and count what became of each."""

import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks.harness.tables import table

LIMIT = 5.0  # seconds of the processor
PATIENCE = 60  # seconds of the clock, on a machine that does other things too
OUTCOMES = ["clear error", "accepted rightly", "silent", "traceback", "slow"]


class Case(NamedTuple):
    """One input, and how it is used.

    `use` returns when the input was accepted and what came of it is right, raises AssertionError
    when it is not, and anything else when the input is refused.
    """

    kind: str
    name: str
    use: Callable[[], Any]
    errors: tuple[type[Exception], ...] = (ValueError, FileNotFoundError)


class Slow(BaseException):
    """Raised by the alarm; no `except Exception` holds it up."""


def outcome(case: Case) -> tuple[str, str]:
    """One of `OUTCOMES`, and a note."""

    def ring(*_: Any) -> None:
        raise Slow

    before, start = signal.signal(signal.SIGALRM, ring), time.process_time()
    signal.alarm(PATIENCE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case.use()
        found, note = "accepted rightly", ""
    except AssertionError as error:
        found, note = "silent", str(error)
    except Slow:
        found, note = "slow", f"more than {PATIENCE} s"
    except BaseException as error:
        note = f"{type(error).__name__}: {error}"
        found = "clear error" if type(error) in case.errors and str(error) else "traceback"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    taken = time.process_time() - start
    if taken > LIMIT and found in OUTCOMES[:2]:
        found, note = "slow", f"{taken:.1f} s; {note}"
    return found, note


def campaign(cases: Iterator[Case], tell: Callable[[str], None] = print) -> dict[str, Counter[str]]:
    """Outcomes by kind; what must not be is told at once."""
    counts: dict[str, Counter[str]] = {}
    for case in cases:
        found, note = outcome(case)
        counts.setdefault(case.kind, Counter())[found] += 1
        if found not in OUTCOMES[:2]:
            tell(f"{found}: {case.kind}, {case.name}: {note[:300]}")
    return counts


def render(counts: dict[str, Any]) -> str:
    """Markdown."""
    total: Counter[str] = Counter()
    for found in counts.values():
        total.update(found)
    rows = [
        [kind, f"{sum(found.values()):,}", *(f"{found.get(name, 0):,}" for name in OUTCOMES)]
        for kind, found in {**counts, "all": total}.items()
    ]
    return table(["input", "tried", *OUTCOMES], rows)
