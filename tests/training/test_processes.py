"""One network trained by several processes."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from e3hyena import HyenaNet
from e3hyena.data import TARGETS
from e3hyena.training import OptimConfig, TrainConfig, train
from e3hyena.training.module import PartsRegression, Regression
from e3hyena.training.molecules import EvalLoader, Molecules, TrainLoader
from e3hyena.training.processes import ALONE, Share
from e3hyena.training.resume import resumable
from e3hyena.training.scaling import Scaling
from tests.parallel.processes import in_processes

COMMAND = [sys.executable, "-W", "ignore", "-m", "e3hyena", "train"]


def molecules(number: int) -> Molecules:
    """Some points with labels, one of which is missing."""
    draw = torch.Generator().manual_seed(0)
    counts = torch.randint(2, 7, (number,), generator=draw)
    ptr = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    z = torch.randint(1, 9, (int(ptr[-1]),), generator=draw)
    pos = 2 * torch.randn(len(z), 3, generator=draw, dtype=torch.float64)
    label = torch.randn(number, 1, generator=draw, dtype=torch.float64)
    label[3] = torch.nan
    return Molecules(z, pos, ptr, label)


class Step(nn.Module):
    """A training step as something to call."""

    def __init__(self, regression: Regression) -> None:
        super().__init__()
        self.regression = regression

    def forward(self, batch):
        return self.regression.training_step(batch, 0)


def losses(steps: int) -> tuple[list[float], list[torch.Tensor], dict[str, float]]:
    """Of every step, gradients of the first, and errors of all molecules, of all processes."""
    alone = not dist.is_initialized()
    share = ALONE if alone else Share(dist.get_rank(), dist.get_world_size())
    torch.manual_seed(0)
    net = HyenaNet("0e", irreps_hidden="4x0e + 4x1o", num_layers=1, cutoff=3.0).double()
    one = torch.ones((), dtype=torch.float64)
    scaling = Scaling(one, 0 * one, torch.zeros(119, dtype=torch.float64))
    optim = OptimConfig(loss="mse")
    regression = PartsRegression(net, TARGETS["gap"], scaling, optim, None, share)
    step = Step(regression)
    run = step if alone else DistributedDataParallel(step)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    data = molecules(11)
    loader = TrainLoader(data, 3, 0, share)  # the last batch of two leaves processes without
    found, gradients = [], []
    while len(found) < steps:
        for batch in loader:
            optimizer.zero_grad()
            out = run(batch)
            out["loss"].backward()
            gradients = gradients or [weight.grad.clone() for weight in net.parameters()]
            optimizer.step()
            found.append(float(out["mean"]))
    net.eval()
    with torch.no_grad():
        for batch in EvalLoader(data, 3, share):
            regression.validation_step(batch, 0)
    regression.on_validation_epoch_end()
    return found[:steps], gradients, regression.val_metrics


def test_shares_hold_everything_once_and_follow_the_batches_of_one_process():
    data = molecules(11)
    whole = [batch.label for batch in TrainLoader(data, 4, 0)]
    parts = zip(*(TrainLoader(data, 4, 0, Share(rank, 3)) for rank in range(3)), strict=True)
    for batch, part in zip(whole, parts, strict=True):
        torch.testing.assert_close(torch.cat([p.label for p in part]), batch, equal_nan=True)
    assert len(list(EvalLoader(data, 10, Share(2, 3)))) == 2  # as many in every process


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 4])
def test_losses_gradients_and_errors_are_those_of_one_process(number):
    steps = 50 if number == 4 else 4
    expected, gradients, errors = losses(steps)
    for found, theirs, metrics in in_processes(number, losses, steps):
        worst = max(abs(a - b) for a, b in zip(found, expected, strict=True))
        assert worst < 1e-6 * max(expected)
        scale = max(float(gradient.abs().max()) for gradient in gradients)
        for gradient, other in zip(gradients, theirs, strict=True):
            torch.testing.assert_close(other, gradient, rtol=0, atol=1e-10 * scale)
        assert metrics == pytest.approx(errors, rel=1e-6)


def children(pid: int) -> list[int]:
    """Processes that it started and that train."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [p for p in map(int, listed) if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_a_killed_process_ends_the_job_and_one_process_continues(tiny, tmp_path):
    config = tiny(devices=2, threads=1)
    config = replace(config, optim=replace(config.optim, epochs=40))
    config.save(tmp_path / "config.yaml")
    process = subprocess.Popen(
        [*COMMAND, "--config", str(tmp_path / "config.yaml")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    checkpoint = tmp_path / "run" / "model" / "last.ckpt"
    try:
        while not checkpoint.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        os.kill(max(children(process.pid)), signal.SIGKILL)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "ended by SIGKILL" in err and "same command continues" in err
    assert err.count("\n") == 1, err
    assert out.count("mean predictor") == 1  # the first process alone speaks
    assert resumable(checkpoint) == checkpoint
    results = train(replace(TrainConfig.load(tmp_path / "config.yaml"), devices=1))
    whole = train(replace(config, output=str(tmp_path / "whole"), devices=1))
    expected = whole["rows"]["model"]["test"]
    assert results["rows"]["model"]["test"] == pytest.approx(expected, rel=1e-3)


def test_machines_must_know_of_each_other(tiny, monkeypatch):
    monkeypatch.setenv("NODE_RANK", "1")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ValueError, match=r"nodes = 2, .* does not say MASTER_ADDR"):
        train(tiny(nodes=2))


@pytest.mark.slow
def test_what_a_process_raises_ends_the_run_with_that_error(tiny):
    config = tiny(devices=2)
    config = replace(config, optim=replace(config.optim, lr=1e30, grad_clip=0.0))
    with pytest.raises(ValueError, match="the loss became"):
        train(config)
