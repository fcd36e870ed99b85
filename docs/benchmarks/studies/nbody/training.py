"""One training on charged particles."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.data.nbody import SPLITS, NBody
from benchmarks.harness import fit
from benchmarks.networks.egnn import EGNN
from benchmarks.networks.lgatr_particles import LGATrParticles
from benchmarks.networks.linear_dynamics import LinearDynamics
from benchmarks.networks.particle_net import ParticleNet
from e3hyena.ops.segments import Segments

DATA_SEED = 43  # that of EGNN's data


class Systems(NamedTuple):
    """Systems of equally many particles: ``(S, n, 3)``, charges ``(S, n, 1)``."""

    pos: Tensor
    vel: Tensor
    charge: Tensor
    y: Tensor


def train(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train a network, keep the averaged state that validates best, test it.

    Simulations are cached in the folder ``data`` beside the parent of `folder`.
    """
    torch.manual_seed(values["seed"])
    data = {split: load(_root(folder), values, split) for split in SPLITS}
    model, particles = build(values), values["particles_per_step"]

    def loss(model: nn.Module, systems: Systems) -> Tensor:
        return _loss(squared_error(model, systems), values["loss_scale"])

    options = ("steps", "lr", "warmup", "weight_decay", "averaging")
    result = fit(
        model,
        _shuffled(data["train"], particles // values["num_particles"]),
        loss,
        lambda model: test(model, data["val"], particles),
        folder,
        validations=40,
        **{name: values[name] for name in options},
    )
    return {"mse": test(model, data["test"], particles), **result}


def simulate(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """All systems of a protocol, kept for the trainings; how many there are."""
    return {split: len(load(_root(folder), values, split).pos) for split in SPLITS}


def _root(folder: Path) -> Path:
    return folder.parents[1] / "data"


def build(values: dict[str, Any]) -> nn.Module:
    """The network of a cell."""
    if values["row"] == "linear":
        return LinearDynamics()
    if values["row"] == "egnn":
        return EGNN()
    if values["row"] == "lgatr":
        return LGATrParticles(values["irreps"], values["num_layers"])
    return ParticleNet(
        values["irreps"],
        values["num_layers"],
        mixer=values["mixer"],
        mixer_options=values["mixer_options"],
        cutoff=values["cutoff"],
    )


def load(root: Path, values: dict[str, Any], split: str) -> Systems:
    """A split as dense tensors, simulated if it is not there."""
    data = NBody(
        root,
        split,
        num_particles=values["num_particles"],
        protocol=values["protocol"],
        fraction=values["fraction"],
        seed=DATA_SEED,
    )
    shape = len(data), values["num_particles"], -1
    return Systems(*(getattr(data._data, name).view(shape) for name in Systems._fields))


def _shuffled(systems: Systems, size: int) -> Iterator[Systems]:
    """Batches without end, every system once per round; an incomplete batch is left out."""
    size = min(max(size, 1), len(systems.pos))
    while True:
        for chosen in torch.randperm(len(systems.pos)).split(size):
            if len(chosen) == size:
                yield Systems(*(part[chosen] for part in systems))


def squared_error(model: nn.Module, systems: Systems) -> Tensor:
    """Squared error of every component, ``(S * n, 3)``."""
    number, n, _ = systems.pos.shape
    pos, vel, charge, y = (part.flatten(0, 1) for part in systems)
    return (model(pos, vel, charge, pairs(number, n), Segments((n,) * number)) - y).square()


def pairs(number: int, n: int) -> Tensor:
    """Edges between all particles of every system, ``(2, number * n * (n - 1))``."""
    edges = (~torch.eye(n, dtype=torch.bool)).nonzero().T
    return (edges[:, None] + n * torch.arange(number)[:, None]).flatten(1)


def _loss(squares: Tensor, scale: float) -> Tensor:
    """Mean of sqrt(d^2 + scale^2) - scale over the errors d of all particles, without rounding."""
    squares = squares.sum(dim=-1)
    return (squares / ((squares + scale**2).sqrt() + scale)).mean()


@torch.no_grad()
def test(model: nn.Module, systems: Systems, particles: int) -> float:
    """Mean square error over all systems, some particles at a time."""
    size = max(1, particles // systems.pos.shape[1])
    errors = [
        squared_error(model, Systems(*parts)).sum()
        for parts in zip(*(part.split(size) for part in systems), strict=True)
    ]
    return float(torch.stack(errors).sum() / systems.y.numel())
