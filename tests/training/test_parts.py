"""Several quantities together, of molecules and atoms, some of them missing."""

import copy
import json

import numpy as np
import pytest
import torch

from e3hyena.data import TARGETS, Target
from e3hyena.data.targets import combine
from e3hyena.training import (
    DataConfig,
    OptimConfig,
    load_model,
    load_predictor,
    predict,
    train,
)
from e3hyena.training.config import TrainConfig
from e3hyena.training.load import load_split
from e3hyena.training.parts import (
    fit_part,
    labels_of,
    outputs_of,
    to_labels,
    to_properties,
)
from e3hyena.training.plan import resolve
from e3hyena.training.scaling import Scaling, fit_scaling

Q = Target("q", "e", "0e", None, "charge", per_atom=True)
ENERGY = Target("energy", "eV", "0e", None, "energy", summed=True)
GAP, DIPOLE = TARGETS["gap"], TARGETS["dipole"]
Z, BATCH = torch.tensor([8, 1, 1, 6, 1]), torch.tensor([0, 0, 0, 1, 1])


def test_outputs_of_atoms_are_pooled_as_each_quantity_needs():
    task = combine([GAP, Q, ENERGY])
    output = torch.arange(15.0).view(5, 3)
    gap, q, energy = outputs_of(task, output, BATCH, 2, None)
    assert gap.flatten().tolist() == [3.0, 10.5] and energy.flatten().tolist() == [15.0, 25.0]
    assert torch.equal(q, output[:, 1:2])
    assert outputs_of(GAP, output[:2, :1], BATCH, 2, "mean")[0].shape == (2, 1)


def test_labels_go_to_the_scale_and_back():
    task = combine([ENERGY, Q, DIPOLE])
    graphs, atoms = torch.randn(2, 4) + 5, torch.randn(5, 1)
    labels = labels_of(task, graphs, atoms)
    assert torch.equal(labels[0], graphs[:, :1]) and torch.equal(labels[2], graphs[:, 1:])
    scaling = Scaling.stack(
        [fit_part(p, y, Z, BATCH, pooled_sum=True) for p, y in zip(task.each, labels, strict=True)]
    )
    assert scaling.scale.shape == (3,) and scaling.atom_shift.shape == (3, 119)
    own = labels_of(task, *to_labels(task, scaling, labels, Z, BATCH))
    for value, label in zip(to_properties(task, scaling, own, Z, BATCH), labels, strict=True):
        torch.testing.assert_close(value.float(), label)


def test_missing_labels_do_not_count():
    z, batch = torch.tensor([1, 8, 1, 6]), torch.tensor([0, 1, 1, 2])
    label = torch.tensor([[1.0], [float("nan")], [6.0]])
    found = fit_part(GAP, label, z, batch, pooled_sum=False)
    known = fit_scaling(
        label[[0, 2]], z[[0, 3]], torch.tensor([0, 1]), per_atom=False, summed=False
    )
    assert all(torch.equal(a, b) for a, b in zip(found, known, strict=True))


def test_the_gradient_of_a_missing_label_is_nothing(tmp_path):
    from e3hyena.training.callbacks.clock import Clock
    from e3hyena.training.module import PartsRegression, Regression
    from e3hyena.training.molecules import Batch

    net = torch.nn.Linear(1, 1)
    model = lambda z, pos, batch: net(z.float().unsqueeze(1))[:2]  # noqa: E731
    one = Scaling(torch.tensor(1.0), torch.tensor(0.0), torch.zeros(119))
    arguments = (torch.nn.Module(), GAP, one, OptimConfig(), Clock(1))
    part, whole = PartsRegression(*arguments), Regression(*arguments)
    part.model, whole.model = torch.nn.Module(), torch.nn.Module()
    part.model.forward = whole.model.forward = model
    part.model.pool = "mean"
    batch = Batch(Z, torch.zeros(5, 3), BATCH, torch.tensor([[1.0], [2.0]]))
    torch.testing.assert_close(part._step(batch)[0], whole._step(batch)[0])
    missing = batch._replace(label=torch.tensor([[1.0], [float("nan")]]))
    part._step(missing)[0].backward()
    found = copy.deepcopy(net.weight.grad)
    net.zero_grad()
    whole.model.forward = lambda z, pos, batch: model(z, pos, batch)[:1]
    whole._step(batch._replace(label=torch.tensor([[1.0]])))[0].backward()
    torch.testing.assert_close(found, net.weight.grad)


def test_pooling_of_several():
    data = DataConfig()
    for task, pool in {"gap, homo": "mean", "U0, dipole": "sum", "U0, gap": None}.items():
        assert resolve(TrainConfig(task=task, data=data)).model["pool"] == pool
    assert resolve(TrainConfig(task="charges")).model["pool"] is None
    wrong = TrainConfig(task="gap, charges")
    wrong.model.pool = "sum"
    with pytest.raises(ValueError, match="the task has properties of atoms"):
        resolve(wrong)
    with pytest.raises(ValueError, match="'forces' is learned alone"):
        combine([GAP, Target("forces", "eV", "0e", None, "", has_forces=True)])


def test_several_train_report_and_predict(tiny, tmp_path):
    optim = OptimConfig(epochs=2, batch_size=8, weights={"gap": 2.0})
    config = tiny(task="gap, dipole, charges", optim=optim)
    results = train(config)
    assert list(results["rows"]["model"]["test"]) == [
        "score", "gap_mae", "dipole_norm_mae", "dipole_vector_error", "charges_mae",
    ]  # fmt: skip
    card = (tmp_path / "run" / "MODEL_CARD.md").read_text()
    assert "charges, MAE (e)" in card
    _, info = load_model(tmp_path / "run")
    assert info.task == combine(resolve(config).task.parts) and info.scaling.scale.shape == (3,)

    path = tmp_path / "water.xyz"
    path.write_text("3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n")
    found = predict(tmp_path / "run", path)
    assert list(found.columns()) == [
        "gap", "dipole_x", "dipole_y", "dipole_z", "dipole_length",
    ]  # fmt: skip
    content = json.loads(found.to_json())
    assert content["units"]["gap"] == "eV" and content["units"]["charges"] == "e"
    assert np.shape(content["predictions"][0]["charges"]) == (3,)
    assert "gap (eV)" in found.to_csv() and "dipole_x (D)" in found.to_csv()
    assert "predicted_charges" in found.to_extxyz() and "charges" in found.to_table()
    z, pos = torch.tensor([8, 1, 1]), torch.tensor([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    values = load_predictor(tmp_path / "run")(z, pos)
    assert list(values) == ["gap", "dipole", "charges"]
    torch.testing.assert_close(values["charges"], found.atoms["charges"][0], atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_charges_beat_the_mean_of_their_element(tiny):
    config = tiny(task="charges", optim=OptimConfig(epochs=20, batch_size=4, lr=1e-2))
    rows = train(config)["rows"]
    assert rows["model"]["test"]["mae"] < 0.8 * rows["mean_predictor"]["test"]["mae"]
    molecules = load_split(config.data, resolve(config).task, "test")
    assert molecules.label.shape == (6, 0) and len(molecules.atom_label) == len(molecules.z)


def test_dipoles_beside_other_quantities_have_charges():
    from e3hyena.training.plan import resolve

    both = resolve(TrainConfig(task="dipole, gap"))
    assert both.model["pool"] is None and both.build_model().readout.num_moments == 1
    assert "moments" not in resolve(TrainConfig(task="dipole")).model
