"""A study as a list of cells: computed side by side, once each, whatever interrupts."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.environment import environment
from e3hyena.training.files import check_writable, read_json, write_json

Work = Callable[[dict[str, Any], Path], dict[str, Any]]


@dataclass(frozen=True)
class Cell:
    """One thing to compute.

    Parameters
    ----------
    name : str
        Name of its files; unique in the study.
    config : dict
        Everything that its result depends on: numbers, strings, lists and dictionaries.
    cost : float
        Expected time relative to the other cells, for the time left.
    stage : str
        Which of the study's functions computes it.
    """

    name: str
    config: dict[str, Any]
    cost: float = 1.0
    stage: str = "measure"


def run_cells(
    cells: Sequence[Cell], work: Work, output: str | Path, *, jobs: int = 1, threads: int = 1
) -> dict[str, str]:
    """Compute every cell that has no result yet, in the given order.

    A result is ``<output>/cells/<name>.json``, written as a whole when the cell is done, so a
    second call continues where the first was interrupted. A cell that fails is reported at the
    end, does not stop the others, and is tried again by the next call.
    """
    if not cells:
        raise ValueError("these options select nothing to compute: some list in them is empty")
    if jobs < 0:
        raise ValueError(f"jobs={jobs}; use 0 for no process but this one, 1 for one")
    output = check_writable(output)
    check_writable(output / "cells")
    done = read_cells(cells, output)
    progress = _Progress(cells, done.keys())
    queue = deque(cell for cell in cells if cell.name not in done)
    for cell in queue:
        _open_folder(output / "work" / cell.name, cell)
    failures: dict[str, str] = {}
    computed = (
        _side_by_side(queue, work, output, jobs, threads)
        if jobs
        else _in_turn(queue, work, output, threads)
    )
    with contextlib.closing(computed):
        for cell, error in computed:
            if error is not None:
                failures[cell.name] = error
            progress.show(cell, failed=error is not None)
    for name, error in failures.items():
        print(f"failed: {name}: {error} ({output / 'work' / name / 'log.txt'})")
    return failures


Outcome = tuple[Cell, str | None]  # and its error, if it failed


def _in_turn(
    queue: deque[Cell], work: Work, output: Path, threads: int
) -> Generator[Outcome, None, None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for cell in queue:
            yield cell, _compute(cell, work, output)
    finally:
        torch.set_num_threads(before)


def _side_by_side(
    queue: deque[Cell], work: Work, output: Path, jobs: int, threads: int
) -> Generator[Outcome, None, None]:
    workers: list[_Worker] = []
    try:
        while queue or workers:
            while queue and len(workers) < jobs:
                workers.append(_Worker(work, output, threads))
                workers[-1].give(queue.popleft())
            for pipe in wait([worker.pipe for worker in workers]):
                worker = next(w for w in workers if w.pipe is pipe)
                yield worker.outcome()
                if worker.alive and queue:
                    worker.give(queue.popleft())
                else:
                    worker.end()
                    workers.remove(worker)
    finally:
        for worker in workers:
            worker.end()


def stop_after_failures(failures: dict[str, str], total: int) -> None:
    """Turn failures of `run_cells` into an error."""
    if failures:
        raise RuntimeError(
            f"{len(failures)} of {total} cells failed ({', '.join(failures)}): the same command "
            "again tries them anew, --stage report shows the others"
        )


def forget(cells: Iterable[Cell], output: str | Path) -> None:
    """Remove what is there of these cells."""
    for cell in cells:
        Path(output, "cells", f"{cell.name}.json").unlink(missing_ok=True)
        shutil.rmtree(Path(output, "work", cell.name), ignore_errors=True)


def read_cells(cells: Sequence[Cell], output: str | Path) -> dict[str, dict[str, Any]]:
    """Contents of the result files that exist: name, config, result, seconds, environment."""
    found = {}
    for cell in cells:
        path = Path(output) / "cells" / f"{cell.name}.json"
        if not path.exists():
            continue
        found[cell.name] = read_json(path)
        _check_config(path, found[cell.name]["config"], cell)
    return found


def _open_folder(folder: Path, cell: Cell) -> None:
    """Make the folder of a cell, or see that what it holds belongs to the cell."""
    config = check_writable(folder) / "config.json"
    if config.exists():
        _check_config(folder, read_json(config), cell)
    else:
        write_json(config, cell.config)


def _check_config(path: Path, config: dict[str, Any], cell: Cell) -> None:
    keys = sorted(config.keys() | cell.config.keys())
    other = [key for key in keys if config.get(key) != cell.config.get(key)]
    if other:
        raise ValueError(
            f"{str(path)!r} is of other options ({', '.join(other)}): "
            "choose another output folder, or delete it"
        )


class _Worker:
    """A process that computes one cell after the other, and what the parent knows of it."""

    def __init__(self, work: Work, output: Path, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, output, threads))
        self.process.start()
        theirs.close()  # so that the end of the process closes the pipe
        self.alive = True

    def give(self, cell: Cell) -> None:
        self.cell = cell
        self.pipe.send(cell)

    def outcome(self) -> Outcome:
        """The cell that is done, and its error; waits."""
        try:
            return self.cell, self.pipe.recv()
        except EOFError:
            self.alive = False
            self.process.join()
            return self.cell, f"its process ended with exit code {self.process.exitcode}"

    def end(self) -> None:
        self.process.terminate()
        self.process.join()
        self.pipe.close()


def _serve(pipe: Connection, work: Work, output: Path, threads: int) -> None:
    """Life of a worker: until its parent ends it, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends the workers
    end_with_parent()
    torch.set_num_threads(threads)
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(_compute(pipe.recv(), work, output))


def end_with_parent() -> None:
    """Leave nothing running for a parent that was killed: the next call computes it again."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _compute(cell: Cell, work: Work, output: Path) -> str | None:
    """Compute a cell and write its result; its error if it fails."""
    folder = output / "work" / cell.name
    start = time.perf_counter()
    with (
        (folder / "log.txt").open("a") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        try:
            result = work(cell.config, folder)
            content = {
                "name": cell.name,
                "config": cell.config,
                "result": result,
                "seconds": time.perf_counter() - start,
                "environment": environment(),
            }
            write_json(output / "cells" / f"{cell.name}.json", content)
        except Exception as error:
            traceback.print_exc()
            return f"{type(error).__name__}: {error}"
    return None


class _Progress:
    """One line per finished cell: how many of all, how long it may take."""

    def __init__(self, cells: Sequence[Cell], done: Any) -> None:
        self.total, self.done = len(cells), len(done)
        self.left = sum(cell.cost for cell in cells if cell.name not in done)
        self.spent = 0.0
        self.start = time.perf_counter()
        print(f"{self.done} of {self.total} cells are done", flush=True)

    def show(self, cell: Cell, *, failed: bool) -> None:
        self.done += 1
        self.left -= cell.cost
        self.spent += cell.cost
        minutes = (time.perf_counter() - self.start) / self.spent * self.left / 60
        state = "FAILED" if failed else "done"
        print(
            f"{self.done}/{self.total}  {cell.name}  {state}, about {minutes:.0f} min left",
            flush=True,
        )
