"""Training on forces, from a file of the user's own to predictions."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from e3hyena.data import ExtXYZ
from e3hyena.training import DataConfig, TrainConfig, load_model, predict, train
from e3hyena.training.evaluate import evaluate, predict_forces
from e3hyena.training.load import load_split, scaling_of
from e3hyena.training.module import ForceRegression
from e3hyena.training.plan import resolve
from e3hyena.training.scaling import Scaling

ase_io = pytest.importorskip("ase.io")


@pytest.fixture
def config(finished_forces):
    return TrainConfig.load(finished_forces / "config.yaml")


def test_a_run_reports_force_and_energy_errors_below_the_guess(finished_forces):
    results = json.loads((finished_forces / "results.json").read_text())
    model, guess = (results["rows"][row]["test"] for row in ("model", "mean_predictor"))
    assert list(model) == ["force_mae", "energy_mae"]
    assert model["force_mae"] < 0.9 * guess["force_mae"]
    assert results["unit"] == "eV" and results["test_size"] == 4
    table = (finished_forces / "table.md").read_text()
    assert "force component, MAE (eV/A)" in table and "energy, MAE (eV)" in table


def test_errors_are_those_of_the_model_called_directly(finished_forces, config):
    model, info = load_model(finished_forces)
    test = load_split(config.data, info.task, "test")
    found, panels = evaluate(model, info, test)
    energy, force, stress = predict_forces(model, info, test, batch_size=3)
    assert stress is None
    assert found["force_mae"] == pytest.approx(float((force - test.force).abs().mean()), rel=1e-5)
    assert found["energy_mae"] == pytest.approx(float((energy - test.label).abs().mean()), rel=1e-5)
    assert [panel.unit for panel in panels] == ["eV", "eV/A"]
    stored = json.loads((finished_forces / "results.json").read_text())["rows"]["model"]["test"]
    assert found == pytest.approx(stored, rel=1e-4)


def test_reference_energies_of_the_elements_are_fitted(finished_forces, config):
    """An energy per atom that is added to the labels is found again, to the last digits."""
    _, info = load_model(finished_forces)
    train_part = load_split(config.data, info.task, "train")
    plan = resolve(config)
    scaling = scaling_of(plan, train_part)
    added = Scaling(torch.tensor(1.0), torch.tensor(0.0), -13.6 * torch.arange(119.0).double() ** 2)
    atoms = train_part.z, train_part.batch, train_part.num_graphs
    shifted = scaling_of(plan, train_part._replace(label=train_part.label + added.offset(*atoms)))
    change = shifted.offset(*atoms) - scaling.offset(*atoms)
    assert torch.allclose(change, added.offset(*atoms), rtol=1e-9)
    assert set(shifted.atom_shift.nonzero().flatten().tolist()) == {1, 6, 7, 8}
    rms = train_part.force.double().square().mean().sqrt()
    assert float(scaling.scale) == pytest.approx(float(rms), rel=1e-6)
    assert torch.equal(info.scaling.scale, scaling.scale)


def test_the_loss_trains_forces_as_well_as_energies(finished_forces, config):
    model, info = load_model(finished_forces)
    molecules = load_split(config.data, info.task, "train")
    batch = molecules.select(torch.arange(6))
    module = ForceRegression(model.train(), info.task, 1.0, config.optim, None)
    loss, found = module._step(batch)
    loss.backward()
    energy, force = found["energy_mae"], found["force_mae"]
    assert energy.shape == (6,) and force.shape == (len(batch.z),)
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)
    heavier = ForceRegression(
        model, info.task, 1.0, replace(config.optim, energy_weight=2.0), None
    )._step(batch)[0]
    weight = config.optim.energy_weight
    assert float((heavier - loss).detach()) == pytest.approx(
        (2.0 - weight) * float(energy.mean()), rel=1e-3
    )


def test_the_checkpoint_knows_its_unit(tmp_path, config):
    data = replace(config.data, options={"energy_unit": "kcal/mol"})
    output = tmp_path / "kcal"
    train(replace(config, data=data, output=str(output), optim=replace(config.optim, epochs=1)))
    _, info = load_model(output)
    assert info.task.unit == "kcal/mol" and info.task.has_forces
    assert "force component, MAE (kcal/mol/A)" in (output / "table.md").read_text()


def test_predictions_have_forces_in_every_format(finished_forces, tmp_path, labelled_molecules):
    ase_io.write(tmp_path / "a.xyz", labelled_molecules[:2], format="xyz")
    found = predict(finished_forces, [tmp_path / "a.xyz"])
    model, info = load_model(finished_forces)
    pos = torch.from_numpy(labelled_molecules[0].positions).requires_grad_()
    z = torch.from_numpy(labelled_molecules[0].numbers).long()
    energy = info.scaling.scale * model.double()(z, pos).sum()
    expected = -torch.autograd.grad(energy, pos)[0]
    assert torch.allclose(found.forces[0], expected, atol=1e-4 * float(expected.abs().max()))
    content = json.loads(found.to_json())
    assert (content["unit"], content["force_unit"]) == ("eV", "eV/Angstrom")
    assert np.shape(content["predictions"][1]["forces"]) == (9, 3)
    images = ase_io.read(io.StringIO(found.to_extxyz()), index=":", format="extxyz")
    assert np.allclose(images[0].arrays["predicted_forces"], expected, atol=1e-3)
    assert images[0].info["predicted_energy"] == pytest.approx(float(found.values[0]))
    assert "energy (eV)" in found.to_table()


def test_data_and_task_must_fit():
    with pytest.raises(ValueError, match=r"task 'forces' needs data\.source md17 or extxyz"):
        resolve(TrainConfig(task="forces"))
    md17 = DataConfig(source="md17", root="x")
    with pytest.raises(ValueError, match=r"task 'gap' needs data\.source extract or qm9"):
        resolve(TrainConfig(task="gap", data=md17))
    with pytest.raises(ValueError, match="the order jumps"):
        resolve(TrainConfig(task="forces", data=replace(md17, order="spectral")))
    assert resolve(TrainConfig(task="forces", data=md17)).task.unit == "kcal/mol"
    with pytest.raises(ValueError, match=r"QM9Extract has no option 'energy_unit'"):
        resolve(TrainConfig(data=DataConfig(options={"energy_unit": "eV"})))
    with pytest.raises(ValueError, match=r"MD17Ethanol needs data\.root"):
        resolve(TrainConfig(task="forces", data=DataConfig(source="md17")))


def test_a_dataset_without_forces_says_which_has_them():
    from e3hyena.data import FORCES, QM9Extract

    with pytest.raises(ValueError, match="MD17Ethanol and ExtXYZ and Cumulenes have it"):
        FORCES.of(QM9Extract("test")[0])


def test_parts_without_molecules_are_refused(tmp_path, labelled_molecules):
    ase_io.write(tmp_path / "few.extxyz", labelled_molecules[:3])
    assert len(ExtXYZ(tmp_path / "few.extxyz", "train")) == 2
    config = TrainConfig(
        task="forces",
        output=str(tmp_path / "run"),
        data=DataConfig(source="extxyz", root=str(tmp_path / "few.extxyz")),
    )
    with pytest.raises(ValueError, match=r"data\.test: this split holds no molecules"):
        train(config)
