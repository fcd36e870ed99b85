"""The four tasks as graphs: what is learned, on what, and by what it is judged."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from benchmarks.data import chains, ends, pairs
from benchmarks.data.chains import load, straight, turn
from e3hyena.training.files import atomic_path

SCAN = list(range(0, 91, 10))  # torsions of the straight chain, degrees
C17 = 17
TRAINED = (4, 5, 6, 7, 9, 10, 12, 13, 15, 16)
UNSEEN = (8, 11, 14)
LONGER = (17, 18, 19, 20)
SEEDS = {"train": 0, "val": 1, "test": 2}
SIZES = {  # of every length, in lengths
    "torsion": {"train": 500, "val": 40, "test": 160},
    "lengths": {"train": 60, "val": 5, "test": 16},
    "pairs": {"train": 600, "val": 60, "test": 240},
    "ends": {"train": 400, "val": 40, "test": 160},
}

Splits = dict[str, list[Data]]


@dataclass(frozen=True)
class Task:
    """One task.

    Parameters
    ----------
    title : str
        For tables and plots.
    load : callable
        From the folder of the labels to the graphs of every split.
    forces : bool
        Whether forces are learned with the energies.
    network : dict
        Arguments of `HyenaNet`.
    settings : dict
        What differs from the options of the study, in all rows alike.
    options : dict
        Of the mixers of sets.
    """

    title: str
    load: Callable[[Path], Splits]
    forces: bool = False
    network: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def colours(num_carbons: int) -> np.ndarray:
    """The two colours of the carbons in turn, that of a carbon for its hydrogens: 1 and -1.

    Chemists star every other atom. Which colour comes first is drawn anew for every chain.
    """
    stars = (-1.0) ** np.arange(num_carbons)
    return np.concatenate([stars[:1].repeat(2), stars, stars[-1:].repeat(2)])[:, None]


def graphs(found: chains.Chains, *, starred: bool = False) -> list[Data]:
    """Chains with energies and forces."""
    number = len(found.z) - 4
    signs = np.random.default_rng(number).choice([-1.0, 1.0], len(found.pos))
    return [
        Data(
            z=torch.from_numpy(found.z),
            pos=torch.from_numpy(found.pos[i]).float(),
            y=torch.tensor([found.energy[i]]),
            force=torch.from_numpy(found.force[i]).float(),
            group=int(found.group[i]),
            number=number,
            features=torch.from_numpy(signs[i] * colours(number)).float() if starred else None,
        )
        for i in range(len(found.pos))
    ]


def scan(num_carbons: int, *, starred: bool = False) -> list[Data]:
    """The straight chain, turned."""
    z, pos = straight(num_carbons)
    turned = np.stack([turn(pos, angle) for angle in SCAN])
    nothing = np.zeros(len(SCAN))
    held = chains.Chains(z, turned, np.array(SCAN), nothing, nothing, np.zeros_like(turned))
    return graphs(held, starred=starred)


def _one_length(root: Path) -> Splits:
    sizes = SIZES["torsion"].items()
    return {split: graphs(load(root, split, C17, size)) for split, size in sizes}


def _many_lengths(root: Path) -> Splits:
    def several(split: str, *numbers: int) -> list[Data]:
        size = SIZES["lengths"][split]
        found = [graphs(load(root, split, number, size), starred=True) for number in numbers]
        return [graph for graphs in found for graph in graphs]

    return {
        "train": several("train", *TRAINED),
        "val": several("val", *TRAINED),
        "test": several("test", *TRAINED, *UNSEEN, *LONGER),
    }


def _kept(root: Path, name: str, make: Callable[[], Any]) -> Any:
    """Labels from the cache, or computed and put there."""
    path = root / f"{name}.pkl"
    if not path.exists():
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(pickle.dumps(made))
    return pickle.loads(path.read_bytes())  # written here


def _pairs(root: Path) -> Splits:
    return {
        split: [
            Data(
                z=torch.from_numpy(z),
                pos=torch.from_numpy(pos).float(),
                y=torch.tensor([energy]),
                distance=distance,
            )
            for z, pos, distance, energy in _kept(
                root,
                f"pairs-{split}-{size}",
                partial(pairs.draw, size, SEEDS[split]),
            )
        ]
        for split, size in SIZES["pairs"].items()
    }


def _ends(root: Path) -> Splits:
    return {
        split: [
            Data(
                z=torch.from_numpy(z),
                pos=torch.from_numpy(pos).float(),
                y=torch.from_numpy(charges),
                far=torch.arange(len(z)) >= len(z) - 3,
                group=group,
            )
            for z, pos, charges, group in _kept(
                root,
                f"ends-{split}-{size}",
                partial(ends.draw, split == "test", size, SEEDS[split]),
            )
        ]
        for split, size in SIZES["ends"].items()
    }


NARROW = {"irreps": "16x0e + 16x1o", "lr": 1.5e-2}
TASKS = {
    "torsion": Task("C17H4", _one_length, forces=True),
    "lengths": Task(
        "4 to 20 carbons", _many_lengths, forces=True, network={"irreps_features": "0e"}
    ),
    "pairs": Task("pairs", _pairs, settings={**NARROW, "cutoff": 4.0}, options={"range": 20.0}),
    "ends": Task("donors and acceptors", _ends, settings=NARROW, network={"pool": None}),
}
