"""Training on forces of periodic cells, from labels of a public calculator to predictions."""

import io
import json

import numpy as np
import pytest
import torch

from e3hyena.cli import main
from e3hyena.training import load_predictor, predict

pytest.importorskip("vesin")
ase_io = pytest.importorskip("ase.io")
build = pytest.importorskip("ase.build")
emt = pytest.importorskip("ase.calculators.emt")


@pytest.fixture(scope="module")
def metals():
    """Cells of copper and gold, one to eight atoms, strained and rattled, labelled with EMT."""
    frames, generator = [], np.random.default_rng(0)
    for seed in range(40):
        a = 3.8 + 0.2 * generator.random()
        atoms = build.bulk("Cu", "fcc", a=a, cubic=bool(seed % 2))
        atoms *= (1, 1, 1 + seed % 3 // 2)
        atoms.symbols[generator.random(len(atoms)) < 0.5] = "Au"
        strain = np.eye(3) + 0.04 * generator.normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = emt.EMT()
        atoms.get_forces()
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def finished_metals(tmp_path_factory, metals):
    folder = tmp_path_factory.mktemp("metals")
    ase_io.write(folder / "metals.extxyz", metals)
    arguments = {
        "task": "forces",
        "accelerator": "cpu",
        "compare_without_mixer": "true",
        "data.source": "extxyz",
        "data.root": str(folder / "metals.extxyz"),
        "model.irreps_hidden": "8x0e + 8x1o",
        "model.num_layers": "1",
        "model.cutoff": "4.0",
        "optim.epochs": "12",
        "optim.batch_size": "8",
        "optim.lr": "1e-2",
        "optim.ema_decay": "0.9",
        "output": str(folder / "run"),
    }
    command = [part for key, value in arguments.items() for part in (f"--{key}", value)]
    assert not main(["train", *command])
    return folder / "run"


def test_errors_are_below_the_guess_with_the_local_network_beside(finished_metals):
    rows = json.loads((finished_metals / "results.json").read_text())["rows"]
    assert len(rows) == 3
    guess = rows.pop("mean_predictor")["test"]["force_mae"]
    assert all(row["test"]["force_mae"] < 0.8 * guess for row in rows.values())


def test_predictions_are_those_of_any_cell_of_the_crystal(finished_metals, metals):
    atoms = metals[1].copy()
    wrapped = atoms.copy()
    wrapped.positions += np.random.default_rng(0).integers(-2, 3, (len(atoms), 3)) @ atoms.cell
    found = predict(finished_metals, [atoms, atoms.repeat((1, 2, 1)), wrapped])
    energy = float(found.values[0])
    assert found.values[:, 0].tolist() == pytest.approx([energy, 2 * energy, energy], rel=1e-5)
    largest = float(found.forces[0].abs().max())
    assert largest > 0.1 and torch.allclose(found.forces[2], found.forces[0], atol=1e-4 * largest)
    images = ase_io.read(io.StringIO(found.to_extxyz()), index=":", format="extxyz")
    assert images[1].pbc.all() and np.allclose(images[1].cell, atoms.repeat((1, 2, 1)).cell)


def test_a_predictor_takes_cells(finished_metals, metals):
    atoms, predictor = metals[1], load_predictor(finished_metals)
    z, pos = torch.from_numpy(atoms.numbers).long(), torch.from_numpy(atoms.positions).float()
    cell = torch.from_numpy(atoms.cell.array).float()
    energy, forces = predictor.energy_and_forces(z, pos, cell=cell)
    found = predict(finished_metals, atoms)
    torch.testing.assert_close(energy, found.values, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(forces, found.forces[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(predictor(z, pos, cell=cell), energy)
