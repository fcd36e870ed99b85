"""Adenylate kinase between its closed and its open state, frame by frame."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.data.packages import fetch, read_files
from e3hyena._extras import require

TOPOLOGY = "adk.psf"
RUNS = ("adk_dims.dcd", "adk_dims2.dcd")


class Trajectory(NamedTuple):
    """Frames of equally many atoms in the order of the chain, in Angstrom."""

    z: Tensor  # (N,)
    frames: Tensor  # (F, N, 3)


def trajectories(atoms: str) -> list[Trajectory]:
    """Two transitions by dynamic importance sampling, all atoms or ``"backbone"``.

    Raises
    ------
    RuntimeError
        If the package MDAnalysisTests cannot be downloaded.
    ImportError
        If the extra ``biomolecules`` is not installed.
    """
    archive = fetch("MDAnalysisTests==2.11.0")
    mda = require("MDAnalysis", "biomolecules")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (TOPOLOGY, *RUNS):
            (content,) = read_files(archive, f"/{name}").values()
            Path(folder, name).write_bytes(content)
        found = []
        for name in RUNS:
            universe = mda.Universe(str(Path(folder, TOPOLOGY)), str(Path(folder, name)))
            chosen = universe.select_atoms("backbone" if atoms == "backbone" else "all")
            number = {"H": 1, "C": 6, "N": 7, "O": 8, "S": 16}
            z = torch.tensor([number[name[0]] for name in chosen.names])
            frames = [torch.from_numpy(chosen.positions.copy()) for _ in universe.trajectory]
            found.append(Trajectory(z, torch.stack(frames)))
    return found
