"""A process that is killed from outside, as a machine that is switched off."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from e3hyena.training import train

# The run, slowed down so that the kill falls between two checkpoints, not behind the end.
SLOW = """
import sys, time
import torch
torch.set_num_threads(1)
from e3hyena.training import TrainConfig, train
from e3hyena.training.callbacks.clock import Clock
Clock.on_train_batch_start = lambda *_: time.sleep(0.1)
train(TrainConfig.load(sys.argv[1]))
"""


def step_of(checkpoint: Path) -> int:
    return torch.load(checkpoint, weights_only=True)["global_step"]


def test_kill_9_between_two_checkpoints(tiny, tmp_path):
    config = tiny(checkpoint_minutes=60.0)  # so there is one after every epoch only
    config.save(tmp_path / "config.yaml")
    checkpoint = tmp_path / "run" / "model" / "last.ckpt"
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tmp_path / "config.yaml")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
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

    results = train(config)
    assert step_of(checkpoint) == 9
    assert results["rows"]["model"]["test"] == train(tiny("other"))["rows"]["model"]["test"]
