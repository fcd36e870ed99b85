"""Processes that are killed or interrupted from outside, and disks that are full."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from e3hyena.training import train
from e3hyena.training.files import exclusive, read_json

# The run, slowed down so that the kill falls between two checkpoints, not behind the end.
SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
from e3hyena._signals import end_in_one_line
end_in_one_line(["train"])
import torch
torch.set_num_threads(1)
from e3hyena.training import TrainConfig, train
from e3hyena.training.callbacks.clock import Clock
Clock.on_train_batch_start = lambda *_: time.sleep(0.1)
train(TrainConfig.load(sys.argv[1]))
"""
LINE = "e3hyena: interrupted; the same command continues\n"
KILLS = int(os.environ.get("KILLS", 24))


def start(config: Path, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SLOW, str(config)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def step_of(checkpoint: Path) -> int:
    return torch.load(checkpoint, weights_only=True)["global_step"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "model.pt", weights_only=True)["state_dict"]


def test_kill_9_between_two_checkpoints(tiny, finished, tmp_path):
    config = tiny(checkpoint_minutes=60.0)  # so there is one after every epoch only
    config.save(tmp_path / "config.yaml")
    checkpoint = tmp_path / "run" / "model" / "last.ckpt"
    process = start(tmp_path / "config.yaml")
    try:
        while not checkpoint.exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        time.sleep(0.15)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert step_of(checkpoint) == 3
    assert not (tmp_path / "run" / "results.json").exists()
    (tmp_path / "run" / "model" / ".last.partial-0123abcd.ckpt").touch()  # half a file

    results = train(config)
    assert step_of(checkpoint) == 9
    whole = read_json(finished / "results.json")
    assert results["rows"]["model"]["test"] == whole["rows"]["model"]["test"]
    assert not list((tmp_path / "run").rglob(".*"))


def test_a_second_training_into_the_same_folder_is_refused(tiny, tmp_path):
    config = tiny()
    config.save(tmp_path / "config.yaml")
    process = start(tmp_path / "config.yaml")
    try:
        while not (tmp_path / "run" / "model").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        with pytest.raises(OSError, match=r"another process is training into .* another output"):
            train(config)
        assert process.wait() == 0
    finally:
        process.kill()
        process.communicate()
    train(config)  # is only reported


def test_a_lock_leaves_no_file_and_ends_with_its_block(tmp_path):
    with exclusive(tmp_path):
        assert os.listdir(tmp_path) == []
        with pytest.raises(OSError, match="another process"), exclusive(tmp_path):
            pass
    with exclusive(tmp_path):
        pass


def handles(process: subprocess.Popen) -> bool:
    """Whether a process has its own answer to SIGTERM; else Python has not even started."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("SigCgt"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")


@needs_proc
@pytest.mark.parametrize("how, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_in_one_line_also_while_importing(how, code, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", "import signal, sys\n"
         "signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it\n"
         "from e3hyena.__main__ import main\n"
         f"sys.argv[1:] = ['train', '--output', {str(tmp_path / 'run')!r}]\n"
         "sys.exit(main())"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    while not handles(process):
        time.sleep(0.001)
    process.send_signal(how)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (code, "", LINE)


@needs_proc
@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_equals_an_uninterrupted_one(tiny, tmp_path):
    config = tiny()
    config.save(tmp_path / "config.yaml")
    train(tiny("whole"))
    expected = weights(tmp_path / "whole")
    draw, counts, finished = random.Random(0), {}, 0
    run, checkpoint = tmp_path / "run", tmp_path / "run" / "model" / "last.ckpt"

    def at_any_time(process):
        while process.poll() is None and not handles(process):
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 4))

    def after_a_checkpoint(process):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None:
            if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
                break
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.3))

    while sum(counts.values()) < KILLS:
        how = draw.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        process = start(tmp_path / "config.yaml")
        draw.choice([at_any_time, after_a_checkpoint])(process)
        process.send_signal(how)
        _, err = process.communicate()
        if process.returncode == 0:  # it was faster
            finished += 1
            assert all(map(torch.equal, weights(run).values(), expected.values()))
            for path in sorted(run.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            continue
        counts[how.name] = counts.get(how.name, 0) + 1
        if how == signal.SIGKILL:
            assert (process.returncode, err) == (-how, "")
        else:
            assert (process.returncode, err) == (128 + how, LINE)
    print(f"killed: {counts}; runs that ended in between: {finished}")
    train(config)
    found = weights(run)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not list(run.rglob(".*"))
