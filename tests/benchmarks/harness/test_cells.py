"""Cells are computed once each, whatever happens in between."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from benchmarks.harness.cells import Cell, forget, read_cells, run_cells

# What workers compute, in a file of its own: they import it by name.
WORK = """
import os, time

def square(config, folder):
    with (folder / "calls").open("a") as file:
        file.write("x")
    print("computing", config["x"])
    if config["x"] == "bad":
        raise ValueError("bad number")
    if config["x"] == "crash":
        os._exit(7)
    return {"square": config["x"] ** 2}

def apart(config, folder):
    from benchmarks.harness.peak import in_fresh_process
    return {"self": os.getpid(), "child": in_fresh_process(os.getpid)}

def slow(config, folder):
    with (folder / "calls").open("a") as file:
        file.write("x")
    if config["x"] and not (folder / "part").exists():
        (folder / "part.new").write_text(str(os.getpid()))
        (folder / "part.new").rename(folder / "part")
        time.sleep(600)
    return {"square": config["x"] ** 2, "continued": (folder / "part").exists()}
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "cell_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("cell_work", None)
    import cell_work

    return cell_work


def cells(*numbers: Any) -> list[Cell]:
    return [Cell(f"n{x}", {"x": x}) for x in numbers]


def runs(stat: Path) -> bool:
    """Whether a process is there and not just waits to be buried."""
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def calls(output: Path, name: str) -> int:
    return len((output / "work" / name / "calls").read_text())


def test_all_cells_failing_ones_and_a_second_call(work, tmp_path, capfd) -> None:
    output = tmp_path / "out"
    every = cells(1, "bad", "crash", 2, 3)
    failures = run_cells(every, work.square, output, jobs=2)
    assert failures.keys() == {"nbad", "ncrash"}
    assert failures["nbad"] == "ValueError: bad number"
    assert "Traceback" in (output / "work" / "nbad" / "log.txt").read_text()
    assert "exit code 7" in failures["ncrash"]
    shown = capfd.readouterr().out
    assert "5/5" in shown and "failed: nbad" in shown and "min left" in shown
    assert "computing" not in shown
    assert "computing 1" in (output / "work" / "n1" / "log.txt").read_text()
    found = read_cells(every, output)
    assert {name: cell["result"]["square"] for name, cell in found.items()} == {
        "n1": 1,
        "n2": 4,
        "n3": 9,
    }
    assert found["n1"]["environment"]["threads"] == 1

    again = run_cells(cells(1, "bad", 2, 3), work.square, output, jobs=0)
    assert again.keys() == {"nbad"}
    assert [calls(output, name) for name in ("n1", "n2", "nbad")] == [1, 1, 2]


def test_a_result_of_other_options_is_refused(work, tmp_path) -> None:
    run_cells(cells(2, "bad"), work.square, tmp_path / "out", jobs=0)
    for name in ("n2", "nbad"):  # finished and not
        with pytest.raises(ValueError, match=rf"{name}.*other options \(x\)"):
            run_cells([Cell(name, {"x": 3})], work.square, tmp_path / "out")


@pytest.mark.parametrize(
    ("how", "parent_alone"),
    [
        pytest.param(signal.SIGINT, False, marks=pytest.mark.slow),
        (signal.SIGTERM, True),
        pytest.param(signal.SIGKILL, False, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_experiment_continues(work, tmp_path, how, parent_alone) -> None:
    output = tmp_path / "out"
    script = (
        "import cell_work, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it\n"
        "from benchmarks.harness.cells import Cell, run_cells\n"
        "if __name__ == '__main__':\n"
        f"    run_cells([Cell(f'n{{x}}', {{'x': x}}) for x in (0, 1, 2)], cell_work.slow, "
        f"{str(output)!r})\n"
    )
    (tmp_path / "main.py").write_text(script)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "main.py")],
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (output / "work" / "n1" / "part").exists():
            assert process.poll() is None, "it ended before it could be interrupted"
            time.sleep(0.02)
    finally:
        if parent_alone:
            process.send_signal(how)
        else:
            os.killpg(process.pid, how)  # as a terminal or a machine does
        process.wait()
    worker = Path("/proc", (output / "work" / "n1" / "part").read_text(), "stat")
    end = time.monotonic() + 60
    while runs(worker):
        assert time.monotonic() < end, "a worker goes on for an experiment that has ended"
        time.sleep(0.02)
    assert json.loads((output / "cells" / "n0.json").read_text())["result"]["square"] == 0
    assert not (output / "cells" / "n1.json").exists()
    assert run_cells(cells(0, 1), work.slow, output) == {}
    assert [calls(output, name) for name in ("n0", "n1")] == [1, 2]
    assert read_cells(cells(1), output)["n1"]["result"]["continued"]


def test_nothing_to_compute(tmp_path: Path, work: Any) -> None:
    with pytest.raises(ValueError, match="select nothing"):
        run_cells([], work.square, tmp_path)


def test_nobody_to_compute(tmp_path: Path, work: Any) -> None:
    with pytest.raises(ValueError, match="jobs=-1; use 0"):
        run_cells([Cell("a", {"x": 1})], work.square, tmp_path, jobs=-1)


def test_in_this_process(tmp_path: Path, work: Any) -> None:
    failures = run_cells(cells(2, "bad"), lambda c, f: work.square(c, f), tmp_path, jobs=0)
    assert failures == {"nbad": "ValueError: bad number"}
    assert read_cells(cells(2, "bad"), tmp_path)["n2"]["result"] == {"square": 4}


def test_threads_and_a_process_of_its_own_inside_a_cell(tmp_path: Path, work: Any) -> None:
    assert run_cells(cells(2), work.apart, tmp_path, threads=2) == {}
    found = read_cells(cells(2), tmp_path)["n2"]
    assert found["environment"]["threads"] == 2
    assert found["result"]["child"] not in (found["result"]["self"], os.getpid())


def test_forget(tmp_path: Path, work: Any) -> None:
    run_cells(cells(1, 2), work.square, tmp_path, jobs=0)
    forget(cells(1), tmp_path)
    assert read_cells(cells(1, 2), tmp_path).keys() == {"n2"}
    run_cells(cells(1, 2), work.square, tmp_path, jobs=0)
    assert [calls(tmp_path, name) for name in ("n1", "n2")] == [1, 1]
