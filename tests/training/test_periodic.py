"""Training on forces and stress of cells, from labels of a public calculator to predictions."""

import io
import json

import numpy as np
import pytest
import torch
from ase.stress import voigt_6_to_full_3x3_stress

from e3hyena.ase import HyenaCalculator
from e3hyena.cli import main
from e3hyena.training import load_predictor, predict

pytest.importorskip("vesin")
ase = pytest.importorskip("ase")
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
        atoms.get_stress()
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def finished_metals(tmp_path_factory, metals):
    folder = tmp_path_factory.mktemp("metals")
    ase_io.write(folder / "metals.extxyz", metals)
    arguments = {
        "task": "stress",
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
    guess, stress = (rows["mean_predictor"]["test"][n] for n in ("force_mae", "stress_mae"))
    del rows["mean_predictor"]
    assert all(row["test"]["force_mae"] < 0.8 * guess for row in rows.values())
    assert all(row["test"]["stress_mae"] < 0.8 * stress for row in rows.values())
    card = (finished_metals / "MODEL_CARD.md").read_text()
    assert "stress component, MAE (eV/A^3)" in card


def test_predictions_are_those_of_any_cell_of_the_crystal(finished_metals, metals):
    atoms = metals[1].copy()
    wrapped = atoms.copy()
    wrapped.positions += np.random.default_rng(0).integers(-2, 3, (len(atoms), 3)) @ atoms.cell
    found = predict(finished_metals, [atoms, atoms.repeat((1, 2, 1)), wrapped])
    energy = float(found.values[0])
    assert found.values[:, 0].tolist() == pytest.approx([energy, 2 * energy, energy], rel=1e-5)
    largest = float(found.forces[0].abs().max())
    assert largest > 0.1 and torch.allclose(found.forces[2], found.forces[0], atol=1e-4 * largest)
    assert found.stress is not None and found.stress.abs().max() > 1e-3
    for stress in found.stress[1:]:
        assert torch.allclose(stress, found.stress[0], atol=1e-4 * found.stress[0].abs().max())
    expected = HyenaCalculator(finished_metals).get_property("stress", atoms)
    assert np.allclose(found.stress[0], voigt_6_to_full_3x3_stress(expected), atol=1e-5)
    assert np.allclose(json.loads(found.to_json())["predictions"][0]["stress"], found.stress[0])
    images = ase_io.read(io.StringIO(found.to_extxyz()), index=":", format="extxyz")
    assert np.allclose(images[0].info["predicted_stress"], found.stress[0], atol=1e-6)
    molecule = ase.Atoms("CuAu", [[0, 0, 0], [2.5, 0, 0]])
    assert predict(finished_metals, [atoms, molecule]).stress is None  # a molecule has none
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
