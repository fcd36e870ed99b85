"""Trains one network for a given processor time, in the interpreter that has its package.

``python worker.py JOB.json DATA.npz RESULT.json``; every network goes through this loop.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

AVERAGING = 0.99  # of the weights that are tested, per step


class Task:
    """Molecules with the same atoms, in units of the forces' deviation."""

    def __init__(self, file: str) -> None:
        data = dict(np.load(file))
        self.z = torch.from_numpy(data["z"]).long()
        self.data = {name: torch.from_numpy(data[name]).float() for name in data if name != "z"}
        self.mean = float(data["train_energy"].mean())
        self.scale = float(data["train_force"].std())
        self.energy_weight = (self.scale / float(data["train_energy"].std())) ** 2

    def batches(self, size: int) -> Iterator[Tensor]:
        """Indices of training molecules, without end."""
        while True:
            order = torch.randperm(len(self.data["train_pos"]))
            yield from order[: len(order) - len(order) % size].split(size)

    def outputs(self, energy: Callable, pos: Tensor, grad: bool) -> tuple[Tensor, Tensor]:
        """Energies and forces, in the unit of the network."""
        num, atoms = pos.shape[:2]
        flat = pos.reshape(-1, 3).detach().requires_grad_()
        batch = torch.arange(num).repeat_interleave(atoms)
        value = energy(self.z.repeat(num), flat, batch)
        force = -torch.autograd.grad(value.sum(), flat, create_graph=grad)[0]
        return value, force.reshape(pos.shape)

    def loss(self, energy: Callable, which: Tensor) -> Tensor:
        """Mean squared errors over variances, of energies and of forces."""
        pos, true, force = (
            self.data[f"train_{name}"][which] for name in ("pos", "energy", "force")
        )
        value, found = self.outputs(energy, pos, True)
        missed = (value - (true - self.mean) / self.scale).square().mean()
        return self.energy_weight * missed + (found - force / self.scale).square().mean()

    def predict(self, energy: Callable, pos: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """In the unit of the labels."""
        parts = [self.outputs(energy, part, False) for part in pos.split(20)]
        value, force = (torch.cat([p[i].detach() for p in parts]).double() for i in (0, 1))
        return (value * self.scale + self.mean).numpy(), (force * self.scale).numpy()

    def error(self, energy: Callable, split: str) -> dict[str, Any]:
        """Of a split; energies in double precision, for they are told from each other."""
        value, force = self.predict(energy, self.data[f"{split}_pos"])
        missed = value - self.data[f"{split}_energy"].double().numpy()
        off = force - self.data[f"{split}_force"].double().numpy()
        return {
            "energy_mae": float(np.abs(missed).mean()),
            "force_mae": float(np.abs(off).mean()),
            "loss": float(
                self.energy_weight * np.square(missed / self.scale).mean()
                + np.square(off / self.scale).mean()
            ),
            "missed": missed.tolist(),
        }


def train(task: Task, job: dict[str, Any], lr: float, seconds: float) -> tuple[Any, Any, int]:
    """AdamW, warmup and cosine over processor time; the mean of the last weights."""
    from networks import BUILD  # beside this file, which runs as a script

    torch.manual_seed(job["seed"])
    net, energy = BUILD[job["row"]](job)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-4)
    mean, steps, batches = copy.deepcopy(net.state_dict()), 0, task.batches(job["batch_size"])
    task.loss(energy, next(batches)).backward()  # whatever compiles does so before the clock
    start = time.process_time()
    while (share := (time.process_time() - start) / seconds) < 1:
        factor = min(share / 0.05, 1.0) * (0.5 + 0.5 * math.cos(math.pi * share))
        for group in optimizer.param_groups:
            group["lr"] = lr * max(factor, 1e-3)
        loss = task.loss(energy, next(batches))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
        steps += 1
        keep = min(AVERAGING, steps / (steps + 9))
        for name, value in net.state_dict().items():
            mean[name] = torch.lerp(value, mean[name], keep) if value.is_floating_point() else value
    net.load_state_dict(mean)
    return net, energy, steps


def main(job_file: str, data_file: str, result_file: str) -> None:
    """Choose the learning rate by short trainings, train, test."""
    torch.set_num_threads(1)
    job, task = json.loads(Path(job_file).read_text()), Task(data_file)
    tried = {}
    for lr in job["lrs"]:
        loss = task.error(train(task, job, lr, job["trial_seconds"])[1], "val")["loss"]
        tried[lr] = loss if math.isfinite(loss) else math.inf
    lr = min(tried, key=tried.__getitem__)
    net, energy, steps = train(task, job, lr, job["seconds"])
    result = {
        **task.error(energy, "test"),
        "lr": lr,
        "steps": steps,
        "milliseconds": 1000 * job["seconds"] / steps,
        "parameters": sum(p.numel() for p in net.parameters() if p.requires_grad),
        "versions": {name: version(name) for name in ("torch", *job["packages"])},
    }
    Path(result_file).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
