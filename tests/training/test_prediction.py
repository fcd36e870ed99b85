import io
import json

import pytest
import torch

from e3hyena import HyenaNet
from e3hyena.training import load_model, predict
from e3hyena.training.torch_files import write_torch

ase_io = pytest.importorskip("ase.io")
build = pytest.importorskip("ase.build")

NAMES = ["H2O", "CH3CH2OH", "NH3", "CH4"]


@pytest.fixture
def files(tmp_path):
    molecules = [build.molecule(name) for name in NAMES]
    for atoms in molecules:
        atoms.positions = atoms.positions.round(4)  # what .sdf holds
    with open(tmp_path / "b.sdf", "w") as file:
        for atoms in molecules[2:]:
            ase_io.write(file, atoms, format="sdf")
    ase_io.write(tmp_path / "a.xyz", molecules[:2], format="xyz")
    ase_io.write(tmp_path / "c.extxyz", molecules[:1], format="extxyz")
    return [tmp_path / "a.xyz", tmp_path / "b.sdf", tmp_path / "c.extxyz"]


@pytest.fixture
def expected(finished):
    """The model called directly, one molecule at a time."""
    model, info = load_model(finished)
    values = []
    for name in [*NAMES, NAMES[0]]:
        atoms = build.molecule(name)
        z = torch.from_numpy(atoms.numbers).long()
        batch = torch.zeros_like(z)
        with torch.no_grad():
            output = model(z, torch.from_numpy(atoms.positions.round(4)).float(), batch)
        values.append(info.scaling.to_property(output, z, batch))
    return torch.cat(values)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_predictions_equal_the_model_called_directly(finished, files, expected, batch_size):
    found = predict(finished, files, batch_size=batch_size)
    assert found.values.shape == (5, 3)
    assert torch.allclose(found.values, expected, atol=1e-5 * float(expected.abs().max()))
    assert [(s.file, s.frame) for s in found.structures] == [
        (str(file), frame) for file, count in zip(files, (2, 2, 1), strict=True)
        for frame in range(count)
    ]  # fmt: skip


def test_json_names_task_unit_and_molecules(finished, files, expected):
    content = json.loads(predict(finished, files).to_json())
    assert (content["task"], content["unit"]) == ("dipole", "D")
    entry = content["predictions"][1]
    assert (entry["file"], entry["molecule"], entry["formula"]) == (str(files[0]), 1, "C2H6O")
    assert entry["dipole_length"] == pytest.approx(float(expected[1].norm()), rel=1e-4)


def test_extxyz_is_read_back_with_the_predictions(finished, files, expected):
    text = predict(finished, files).to_extxyz()
    back = ase_io.read(io.StringIO(text), index=":", format="extxyz")
    assert [atoms.get_chemical_formula() for atoms in back[:2]] == ["H2O", "C2H6O"]
    for atoms, value in zip(back, expected, strict=True):
        assert atoms.info["predicted_dipole"] == pytest.approx(value.numpy(), abs=1e-4)
        assert atoms.info["predicted_dipole_unit"] == "D"


def test_table_has_units_and_one_line_per_molecule(finished, files):
    head, *lines = predict(finished, files).to_table().splitlines()
    assert "dipole_x (D)" in head and "dipole_length (D)" in head
    assert len(lines) == 5 and len({len(line) for line in [head, *lines]}) == 1


def test_an_element_that_was_not_in_the_training_set(finished, tmp_path):
    ase_io.write(tmp_path / "a.xyz", build.molecule("SiH4"))
    with pytest.raises(ValueError, match=r"a\.xyz', molecule 0: element Si was not .* knows H, C"):
        predict(finished, [tmp_path / "a.xyz"])


@pytest.mark.parametrize("order", [None, "distance"])
def test_predictions_list_atoms_as_training_did(finished, tmp_path, order):
    """The network gets the atoms in the order of the run, whatever the order of the file."""
    content = torch.load(finished / "model.pt", weights_only=True)
    config, kwargs = json.loads(content["config"]), json.loads(content["model_kwargs"])
    del config["data"]["order"]  # as in early files
    if order is not None:
        config["data"]["order"] = order
    kwargs.update(mixer="query_key", ordered=True)
    state = HyenaNet(**kwargs).state_dict()
    content.update(config=json.dumps(config), model_kwargs=json.dumps(kwargs), state_dict=state)
    write_torch(tmp_path / "model.pt", content)
    atoms = build.molecule("CH3CH2OH")
    listings = [range(9), [4, 8, 2, 7, 0, 5, 1, 3, 6]]
    ase_io.write(tmp_path / "a.xyz", [atoms[list(listing)] for listing in listings])
    values = predict(tmp_path, [tmp_path / "a.xyz"]).values
    lengths = values.norm(dim=-1)
    assert lengths.max() > 0
    same = abs(lengths[0] - lengths[1]) < 1e-5 * lengths.max()
    assert bool(same) is (order is not None)
