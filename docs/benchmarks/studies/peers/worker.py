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
NAMES = ("energy", "force")
Energy = Callable[[Tensor, Tensor, Tensor], Tensor]


class Task:
    """Molecules with energies and forces, or with one number that is a mean over atoms.

    Labels are learned in units of a deviation: that of the forces, or of the numbers.
    """

    def __init__(self, file: str) -> None:
        self.data: dict[str, Any] = {}
        for name, array in np.load(file).items():
            made = torch.from_numpy(array)
            keep = name.endswith("value") or not made.is_floating_point()
            self.data[name] = made if keep else made.float()
        value, force = self.data["train_value"], self.data.get("train_force")
        self.forces, self.mean = force is not None, float(value.mean())
        self.scale = float(value.std() if force is None else force.std())
        self.weight = (self.scale / float(value.std())) ** 2

    def batches(self, size: int) -> Iterator[Tensor]:
        """Indices of training molecules, without end."""
        while True:
            order = torch.randperm(len(self.data["train_sizes"]))
            yield from order[: len(order) - len(order) % size].split(size)

    def missed(self, energy: Energy, split: str, which: Tensor, grad: bool) -> list[Tensor]:
        """Predictions minus labels, of numbers and of components of forces."""
        z, pos, sizes, value = (
            self.data[f"{split}_{name}"] for name in ("z", "pos", "sizes", "value")
        )
        chosen = sizes[which]
        first = sizes.cumsum(0)[which] - chosen
        batch = torch.arange(len(which)).repeat_interleave(chosen)
        atoms = first[batch] + torch.arange(len(batch)) - (chosen.cumsum(0) - chosen)[batch]
        flat = pos[atoms].requires_grad_(self.forces)
        found = energy(z[atoms], flat, batch)
        if not self.forces:
            found = found / chosen
        off = [found.double() - (value[which] - self.mean) / self.scale]
        if self.forces:
            force = -torch.autograd.grad(found.sum(), flat, create_graph=grad)[0]
            off.append((force - self.data[f"{split}_force"][atoms] / self.scale).flatten())
        return off

    def loss(self, off: list[Tensor]) -> Tensor:
        """Mean squared errors over variances, added."""
        return self.weight * off[0].square().mean() + sum(o.square().mean() for o in off[1:])

    def test(self, energy: Energy, split: str) -> list[Tensor]:
        """What is missed over a split; numbers in double precision, for they are compared."""
        with torch.set_grad_enabled(self.forces):
            whole = torch.arange(len(self.data[f"{split}_sizes"]))
            parts = [self.missed(energy, split, part, False) for part in whole.split(20)]
        return [torch.cat(some).detach().double() for some in zip(*parts, strict=True)]


def train(task: Task, job: dict[str, Any], lr: float, seconds: float) -> tuple[Any, Energy, int]:
    """AdamW, warmup and cosine over processor time; the mean of the last weights."""
    from networks import BUILD  # beside this file, which runs as a script

    torch.manual_seed(job["seed"])
    net, energy = BUILD[job["row"]](job)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-4)
    mean, steps, batches = copy.deepcopy(net.state_dict()), 0, task.batches(job["batch_size"])

    def loss() -> Tensor:
        return task.loss(task.missed(energy, "train", next(batches), True))

    loss().backward()  # whatever compiles does so before the clock
    start = time.process_time()
    while (share := (time.process_time() - start) / seconds) < 1:
        factor = min(share / 0.05, 1.0) * (0.5 + 0.5 * math.cos(math.pi * share))
        for group in optimizer.param_groups:
            group["lr"] = lr * max(factor, 1e-3)
        optimizer.zero_grad()
        loss().backward()
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
        energy = train(task, job, lr, job["trial_seconds"])[1]
        loss = float(task.loss(task.test(energy, "val")))
        tried[lr] = loss if math.isfinite(loss) else math.inf
    lr = min(tried, key=tried.__getitem__)
    net, energy, steps = train(task, job, lr, job["seconds"])
    off = [task.scale * part for part in task.test(energy, "test")]
    result = {
        **{f"{name}_mae": float(part.abs().mean()) for name, part in zip(NAMES, off, strict=False)},
        "missed": off[0].tolist(),
        "lr": lr,
        "steps": steps,
        "milliseconds": 1000 * job["seconds"] / steps,
        "parameters": sum(p.numel() for p in net.parameters() if p.requires_grad),
        "versions": {name: version(name) for name in ("torch", *job["packages"])},
    }
    Path(result_file).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
