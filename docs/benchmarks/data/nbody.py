"""Charged particles: a vectorised simulator, and its trajectories as a PyG dataset."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from e3hyena._digest import check_sums

__all__ = ["PROTOCOLS", "NBody", "Protocol", "energy", "forces", "simulate"]

TIME_STEP = 1e-3
LARGEST_FORCE = 100.0  # per component; only close encounters exceed it
_FRAMES = 49  # of a trajectory in EGNN's data
SPLITS = ("train", "val", "test")
_PAIRS_AT_ONCE = 16384  # of one chunk of systems, so that it stays in the cache


@dataclass(frozen=True)
class Protocol:
    """How trajectories are cut into examples.

    Parameters
    ----------
    sizes : tuple of int
        Systems for training, validation and test.
    drawn : tuple of int
        As many are drawn for them; the first ones are simulated.
    charges : tuple of float
        Charges, drawn with equal probability.
    start : int
        Simulation steps before the input.
    horizon : int
        Simulation steps from the input to the target.
    """

    sizes: tuple[int, int, int]
    drawn: tuple[int, int, int]
    charges: tuple[float, ...]
    start: int
    horizon: int


PROTOCOLS = {
    "standard": Protocol((3000, 2000, 2000), (10000, 2000, 2000), (-1.0, 1.0), 3100, 1000),
    "paper": Protocol((1000, 2000, 2000), (1000, 2000, 2000), (-1.0, 0.0, 1.0), 0, 1000),
}


class NBody(InMemoryDataset):
    r"""Charged particles now, and where they are 1,000 steps later.

    Positions are normal with standard deviation :math:`(n/5)^{1/3}`, velocities isotropic of
    length 1/2, masses one. ``standard`` is the recipe of Satorras et al. (EGNN), which SEGNN, CGENN
    and others follow: charges of either sign, input after 3,100 steps; with the default seed these
    are the very systems of its script (``--num-train 10000 --seed 43``). ``paper`` is that of
    Moskalev et al. (SE(3)-Hyena), as far as it is published: 1,000 training systems, one-hot
    charges, input at the start; three kinds of charges (negative, none, positive) bring its linear
    baseline close to the published one, two do not.

    Every system has ``pos``, ``vel`` and the target ``y``, all (n, 3) and float32, and ``charge``,
    (n, 1).

    Parameters
    ----------
    root : str or path
        Folder of the cache; a set is simulated once for every choice of the options below.
    split : {"train", "val", "test"}
    num_particles : int
        n.
    protocol : {"standard", "paper"}
        See `PROTOCOLS`.
    fraction : float
        Share of the protocol's systems, for particles so many that all of them would take hours.
    seed : int
        Of all three splits together.
    transform, force_reload
        As in every `InMemoryDataset`.

    References
    ----------
    Satorras et al. 2021, E(n) Equivariant Graph Neural Networks; Kipf et al. 2018 (simulator).
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        *,
        num_particles: int = 5,
        protocol: str = "standard",
        fraction: float = 1.0,
        seed: int = 43,
        transform: Callable | None = None,
        force_reload: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split={split!r} is unknown; use one of {', '.join(SPLITS)}")
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol={protocol!r} is unknown; use one of {', '.join(PROTOCOLS)}")
        if num_particles < 2:
            raise ValueError(f"num_particles={num_particles}; give at least 2, one alone is free")
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction={fraction} must lie in (0, 1]")
        self.num_particles = num_particles
        self.protocol = protocol
        self.fraction = fraction
        self.seed = seed
        super().__init__(os.fspath(root), transform, force_reload=force_reload)
        check_sums(self.processed_paths[SPLITS.index(split)])
        self.load(self.processed_paths[SPLITS.index(split)])

    @property
    def processed_file_names(self) -> list[str]:
        """One file for each split, named by everything that it depends on."""
        stem = f"{self.protocol}-{self.num_particles}-{self.fraction:g}-{self.seed}"
        return [f"{stem}-{split}.pt" for split in SPLITS]

    def process(self) -> None:
        """Simulate."""
        protocol = PROTOCOLS[self.protocol]
        random = np.random.RandomState(self.seed)
        sizes = zip(self.processed_paths, protocol.sizes, protocol.drawn, strict=True)
        for path, size, drawn in sizes:
            number = max(1, round(self.fraction * size))
            systems = _draw(number, drawn - number, self.num_particles, protocol, random)
            examples = [
                Data(pos=pos, vel=vel, charge=charge, y=y)
                for pos, vel, charge, y in zip(*systems, strict=True)
            ]
            partial = f"{path}.{os.getpid()}.partial"
            self.save(examples, partial)
            Path(partial).replace(path)


def _draw(
    number: int, skipped: int, num_particles: int, protocol: Protocol, random: np.random.RandomState
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Positions, velocities, charges and later positions of fresh systems.

    Numbers are drawn one system after the other, those of `skipped` more systems and of an unused
    noise included, so that they are those of EGNN's script.
    """
    spread = (num_particles / 5) ** (1 / 3)
    charges, positions, velocities = [], [], []
    equally = [1 / len(protocol.charges)] * len(protocol.charges)
    for _ in range(number + skipped):
        charges.append(random.choice(protocol.charges, num_particles, p=equally))
        positions.append(spread * random.standard_normal((3, num_particles)))
        velocities.append(random.standard_normal((3, num_particles)))
        random.standard_normal((2, _FRAMES, 3, num_particles))
    charge = torch.from_numpy(np.stack(charges[:number]))
    pos, vel = (
        torch.from_numpy(np.stack(x[:number])).transpose(1, 2) for x in (positions, velocities)
    )
    vel = 0.5 * torch.nn.functional.normalize(vel, dim=-1)
    pos, vel = simulate(pos, vel, charge, protocol.start)
    later, _ = simulate(pos, vel, charge, protocol.horizon)
    return pos.float(), vel.float(), charge.unsqueeze(-1).float(), later.float()


def forces(pos: Tensor, charge: Tensor) -> Tensor:
    r"""Coulomb forces on all particles of all systems.

    .. math:: F_i = \sum_{j \ne i} q_i q_j\, \frac{x_i - x_j}{|x_i - x_j|^3}

    with every component clipped at `LARGEST_FORCE`.
    """
    squares = _squared_distances(pos)
    size = charge.unsqueeze(2) * charge.unsqueeze(1) / (squares * squares.sqrt())
    force = size.sum(dim=2, keepdim=True) * pos - size @ pos
    return force.clamp(-LARGEST_FORCE, LARGEST_FORCE)


def energy(pos: Tensor, vel: Tensor, charge: Tensor) -> Tensor:
    r"""Kinetic plus potential energy of every system, ``(num_systems,)``.

    .. math:: E = \tfrac12 \sum_i |v_i|^2 + \tfrac12 \sum_{i \ne j} q_i q_j / |x_i - x_j|
    """
    pairs = charge.unsqueeze(2) * charge.unsqueeze(1) / _squared_distances(pos).sqrt()
    return 0.5 * (vel.square().sum(dim=(1, 2)) + pairs.sum(dim=(1, 2)))


def _squared_distances(pos: Tensor) -> Tensor:
    """``(num_systems, n, n)``; infinite from a particle to itself."""
    apart = [x.unsqueeze(2) - x.unsqueeze(1) for x in pos.unbind(dim=-1)]
    squares = torch.stack(apart).square_().sum(dim=0)
    squares.diagonal(dim1=1, dim2=2).fill_(float("inf"))
    return squares


def simulate(
    pos: Tensor, vel: Tensor, charge: Tensor, steps: int, *, time_step: float = TIME_STEP
) -> tuple[Tensor, Tensor]:
    r"""Leapfrog: kick, drift, kick, drift.

    .. math:: v \leftarrow v + \tau F(x),\qquad x \leftarrow x + \tau v

    A call continues where another ended, so two halves are the whole. The recipe's step is too long
    for close encounters of opposite charges, which heat a system; like charges keep their energy.
    """
    at_once = max(1, _PAIRS_AT_ONCE // pos.shape[1] ** 2)
    done = []
    for x, v, q in zip(pos.split(at_once), vel.split(at_once), charge.split(at_once), strict=True):
        for _ in range(steps):
            v = v + time_step * forces(x, q)
            x = x + time_step * v
        done.append((x, v))
    return torch.cat([x for x, _ in done]), torch.cat([v for _, v in done])
