"""Builds the pretrained networks: molecules, GFN2-xTB labels, trainings, the files of the package.

``PYTHONPATH=docs python -m benchmarks.data.build_pretrained [FOLDER]``

Two thirds of the molecules are of the embedded extract of QM9. The others are drawn: two pieces
joined by a bond (molecules of the extract, common groups of medicinal chemistry), up to 18 atoms
besides hydrogens, some with sulfur or chlorine, some zwitterions, relaxed by MMFF94. Half of all
positions are shaken. FOLDER (default ``runs/pretrained``) holds labels and runs; what is there is
kept.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data.build_extract import BOHR, DEBYE
from e3hyena._extras import require
from e3hyena.data import QM9Extract
from e3hyena.data.readers.smiles import from_smiles
from e3hyena.training import TrainConfig, train

__all__ = ["SEEDS", "config", "draw", "labels", "molecules", "write"]

SIZES = {"val": 500, "test": 1500, "train": 5000}
SEEDS = (0, 1, 2)
MAX_HEAVY = 18
SHAKE = 0.03  # Angstrom, of every coordinate
HARTREE = 27.211386245988  # eV
HELD_OUT = ("CC(=O)Oc1ccccc1C(=O)O", "[NH3+]CC(=O)[O-]", "NCC(=O)O")
GROUPS = (
    "c1ccccc1 c1ccncc1 c1ccoc1 c1ccsc1 c1cc[nH]c1 c1c[nH]cn1 c1cncnc1 c1ccc2[nH]ccc2c1 C1CCCCC1 "
    "C1CCNCC1 C1COCCN1 C1CCNC1 CC(=O)O CC(=O)N CC(=O)OC CC#N CN COC CO CS CSC CS(C)(=O)=O "
    "CS(N)(=O)=O NC(N)=O C[N+](=O)[O-] CCl ClC=C FC(F)F CC(C)C C=C C#C CC=O CC(C)=O Oc1ccccc1 "
    "Nc1ccccc1 Clc1ccccc1 Fc1ccccc1 OC(=O)c1ccccc1"
).split()
TARGETS = {
    "dipole": {"unit": "D", "irreps": "1o", "summed": True},
    "charges": {"unit": "e", "per_atom": True},
    "gap": {"unit": "eV"},
}


def draw(pieces: list[str], rng: np.random.Generator) -> str:
    """The SMILES of a molecule of two pieces."""
    chem = require("rdkit.Chem", "chem")
    while True:
        other = GROUPS if rng.random() < 0.6 else pieces
        names = [str(rng.choice(pieces)), str(rng.choice(other))]
        kind = rng.random()
        if kind < 0.2:
            names = [names[0], "[NH4+]", "OC=O"]
        elif kind < 0.4:
            names += ["Cl" if rng.random() < 0.5 else "S"]
        molecule = chem.MolFromSmiles(names[0])
        for name in names[1:]:
            molecule = molecule and _join(molecule, chem.MolFromSmiles(name), rng)
        if molecule is None or molecule.GetNumHeavyAtoms() > MAX_HEAVY:
            continue
        if kind < 0.2:
            acid = chem.MolFromSmarts("[CX3](=O)[OX2H]")
            for match in molecule.GetSubstructMatches(acid)[:1]:
                molecule.GetAtomWithIdx(match[2]).SetFormalCharge(-1)
        smiles = chem.MolToSmiles(molecule)
        if chem.GetFormalCharge(molecule) == 0 and smiles not in HELD_OUT:
            return smiles


def _join(first: Any, second: Any, rng: np.random.Generator) -> Any:
    """Two molecules with a bond in the place of two hydrogens, or None."""
    chem = require("rdkit.Chem", "chem")
    ends = [
        [atom.GetIdx() for atom in one.GetAtoms() if atom.GetTotalNumHs()]
        for one in (first, second)
    ]
    if not all(ends):
        return None
    both = chem.RWMol(chem.CombineMols(first, second))
    start, end = int(rng.choice(ends[0])), first.GetNumAtoms() + int(rng.choice(ends[1]))
    both.AddBond(start, end, chem.BondType.SINGLE)
    for atom in (both.GetAtomWithIdx(start), both.GetAtomWithIdx(end)):
        if atom.GetNumExplicitHs():
            atom.SetNumExplicitHs(atom.GetNumExplicitHs() - 1)
    try:
        chem.SanitizeMol(both)
    except ValueError:
        return None
    return both.GetMol()


def molecules(split: str, size: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, atomic numbers and positions (Angstrom), drawn anew the same way."""
    rng = np.random.default_rng(list(SIZES).index(split))
    extract = QM9Extract(split)
    pieces = [molecule.smiles for molecule in extract]
    rows = iter(rng.permutation(len(extract)).tolist())
    for number in range(size):
        if number % 3:
            one = extract[next(rows)]
            name, z, pos = one.smiles, one.z.numpy(), one.pos.double().numpy()
        else:
            while True:
                name = draw(pieces, rng)
                try:
                    atoms = from_smiles(name).atoms
                    break
                except ValueError:  # RDKit finds no geometry
                    continue
            z, pos = atoms.numbers, atoms.positions
        if rng.random() < 0.5:
            pos = pos + rng.normal(0, SHAKE, pos.shape)
        yield name, z, pos


def labels(z: np.ndarray, pos: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """GFN2-xTB dipole (debye), Mulliken charges (e) and gap of the orbitals (eV)."""
    interface = require("tblite.interface", "label")
    calculator = interface.Calculator("GFN2-xTB", z, pos / BOHR)
    calculator.set("verbosity", 0)
    result = calculator.singlepoint()
    energies, occupied = result.get("orbital-energies"), result.get("orbital-occupations")
    last = round(float(occupied.sum()) / 2)
    gap = HARTREE * (energies[last] - energies[last - 1])
    return DEBYE * result.get("dipole"), result.get("charges"), float(gap)


def write(file: Path, split: str, size: int) -> None:
    """Label molecules, and write them as extended xyz."""
    symbols = require("ase.data", "chem").chemical_symbols
    partial = file.with_suffix(".partial")
    with open(partial, "w", encoding="utf-8") as out:
        for number, (name, z, pos) in enumerate(molecules(split, size)):
            try:
                dipole, charges, gap = labels(z, pos)
            except RuntimeError as error:  # not converged
                print(f"{name}: {error}", file=sys.stderr)
                continue
            vector = " ".join(f"{value:.4f}" for value in dipole)
            print(len(z), file=out)
            print(
                "Properties=species:S:1:pos:R:3:charges:R:1 "
                f'dipole="{vector}" gap={gap:.4f} name="{name}"',
                file=out,
            )
            for element, place, charge in zip(z, pos, charges, strict=True):
                numbers = " ".join(f"{value:.4f}" for value in [*place, charge])
                print(symbols[element], numbers, file=out)
            if number % 500 == 0:
                print(f"{split}: {number} of {size}", file=sys.stderr, flush=True)
    partial.replace(file)


def config(folder: Path, seed: int) -> TrainConfig:
    """The training of one network."""
    return TrainConfig.from_dict(
        {
            "task": "dipole, charges, gap",
            "output": str(folder / f"seed{seed}"),
            "seed": seed,
            "extend": 8,
            "threads": 1,
            "data": {"source": "own", "root": str(folder), "options": {"targets": TARGETS}},
            "model": {"irreps_hidden": "32x0e + 32x1o", "num_layers": 2, "cutoff": 3.0},
            "optim": {"epochs": 9, "batch_size": 16, "lr": 3e-3, "ema_decay": 0.995},
        }
    )


def main(folder: Path) -> None:
    """Do what is not done yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, size in SIZES.items():
        if not (folder / f"{split}.extxyz").exists():
            write(folder / f"{split}.extxyz", split, size)
    for seed in SEEDS:
        train(config(folder, seed))
    from benchmarks.data.pack_pretrained import pack

    pack(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/pretrained"))
