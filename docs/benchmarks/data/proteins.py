"""Real proteins, their formal charges, and the far part of what these do to every atom."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from benchmarks.data.mmtf_entry import read_mmtf
from benchmarks.data.packages import fetch, read_files
from e3hyena.data.biomolecules import read_biomolecules

SIZES = range(300, 5001)  # atoms of the proteins for training and test
NEAR, FAR = 8.0, 10.0  # Angstrom; the switch
# Formal charges of residues at pH 7; histidine is neutral, ends of chains count as capped.
CHARGES = {"LYS": 1.0, "ARG": 1.0, "ASP": -1.0, "GLU": -1.0}
SPIKES = {"6ZDH", "7K43"}
HEAVY = {"hetero": False, "water": False, "hydrogens": False}


class Protein(NamedTuple):
    """Heavy atoms in the order of the file; charges in e, lengths in Angstrom."""

    name: str
    z: Tensor
    pos: Tensor
    residue: Tensor
    charge: Tensor
    potential: Tensor  # e / A
    field: Tensor  # e / A^2


def small_proteins() -> tuple[list[Protein], list[Protein]]:
    """Training and test proteins of 300 to 5,000 atoms; no test protein has a relative in training.

    Relatives share a fifth of their quintuples of residues; every fifth family is for the test.
    """
    files = read_files(fetch("bioemu-benchmarks==0.0.2.post1"), ".pdb")
    families: list[tuple[set[str], list[Protein]]] = []
    for name, text in sorted(files.items()):
        graph = _read(name, text)
        if len(graph.z) not in SIZES:
            continue
        words = _words(graph)
        near = [f for f in families if len(words & f[0]) > 0.2 * min(len(words), len(f[0]))]
        merged = set().union(words, *(f[0] for f in near))
        members = [p for f in near for p in f[1]] + [charged(Path(name).stem, graph)]
        families = [f for f in families if f not in near] + [(merged, members)]
    train = [p for i, (_, members) in enumerate(families) if i % 5 for p in members]
    test = [p for _, members in families[::5] for p in members]
    return train, test


def large_proteins() -> list[Protein]:
    """Antibody 1IGT, spike proteins 7K43 and 6ZDH, twelve chains of glutamine synthetase 1HTQ."""
    files = read_files(fetch("torchani==2.9.0"), ".pdb")
    graphs = {
        Path(path).stem: _read(path, files[path]) for path in files if SPIKES & {Path(path).stem}
    }
    graphs |= {"1IGT": read_mmtf("1IGT", 4), "1HTQ": read_mmtf("1HTQ", 12)}
    return sorted((charged(*item) for item in graphs.items()), key=lambda p: len(p.z))


def _read(name: str, text: bytes) -> Data:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of several models the first
        return read_biomolecules(name, text.decode(), HEAVY)[0].graph()


def _words(graph: Data) -> set[str]:
    """All runs of five residues."""
    kinds = dict(zip(graph.residue.tolist(), graph.residue_name, strict=True))
    names = list(kinds.values())
    return {"-".join(names[i : i + 5]) for i in range(len(names) - 4)}


def charged(name: str, graph: Data) -> Protein:
    """With the charge of every residue spread evenly over its atoms, and the far field of all."""
    _, residue, sizes = graph.residue.unique(return_inverse=True, return_counts=True)
    formal = [CHARGES.get(kind, 0.0) for kind in graph.residue_name]
    charge = torch.tensor(formal, dtype=torch.float64) / sizes[residue]
    pos = graph.pos.double()
    potential, field = far_field(pos, charge)
    made = (charge, potential, field)
    return Protein(name, graph.z, pos.float(), residue, *(x.float() for x in made))


def redrawn(p: Protein) -> Protein:
    """The same charges, or all of them with the other sign, on residues drawn anew."""
    sizes = p.residue.bincount()
    formal = p.charge.new_zeros(len(sizes)).index_add(0, p.residue, p.charge)
    sign = 2 * torch.randint(2, ()) - 1
    charge = (sign * formal[torch.randperm(len(sizes))] / sizes)[p.residue]
    potential, field = far_field(p.pos, charge)
    return p._replace(charge=charge, potential=potential, field=field)


def far_field(pos: Tensor, charge: Tensor, chunk: int = 1024) -> tuple[Tensor, Tensor]:
    r"""Potential and field of all charges beyond 8 A, by direct sum.

    .. math:: \phi_i = \sum_j s(r_{ij})\,q_j / r_{ij},\qquad
              E_i = \sum_j s(r_{ij})\,q_j\,(r_i - r_j) / r_{ij}^3,\qquad
              s = t^3(10 - 15t + 6t^2),\; t = (r - 8)/2 \text{ within } [0, 1]

    Examples
    --------
    >>> pos = torch.tensor([[0.0, 0, 0], [0, 0, 20.0], [0, 0, 7.0]])
    >>> far_field(pos, torch.tensor([1.0, 0.0, 0.0]))[0].tolist()
    [0.0, 0.05..., 0.0]
    """
    some = charge != 0
    sources, q = pos[some], charge[some]
    potentials, fields = [pos[:0, 0]], [pos[:0]]
    for targets in pos.split(chunk):
        apart = targets[:, None] - sources
        distance = apart.norm(dim=-1)
        t = ((distance - NEAR) / (FAR - NEAR)).clamp(0, 1)
        share = t**3 * (10 - 15 * t + 6 * t**2) * q / distance.clamp(min=1)
        potentials.append(share.sum(dim=1))
        fields.append(torch.einsum("ij,ijx->ix", share / distance.clamp(min=1) ** 2, apart))
    return torch.cat(potentials), torch.cat(fields)
