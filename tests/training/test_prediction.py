import csv
import io
import json

import pytest
import torch
from torch_geometric.data import Batch, Data

from e3hyena import HyenaNet
from e3hyena.training import load_model, predict
from e3hyena.training.prediction import FORMATS, format_of
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


def graph(atoms):
    z, pos = torch.from_numpy(atoms.numbers).long(), torch.from_numpy(atoms.positions)
    return Data(z=z, pos=pos)


def test_one_path_is_one_file(finished, files):
    """A string is no list of letters."""
    for one in (files[0], str(files[0])):
        assert torch.equal(predict(finished, one).values, predict(finished, [one]).values)
    with pytest.raises(FileNotFoundError, match=r"there is no file 'w\.xyz'"):
        predict(finished, "w.xyz")


def test_molecules_of_memory_as_those_of_files(finished, files):
    molecules = [atoms for file in files[:1] for atoms in ase_io.read(file, index=":")]
    graphs = [graph(atoms) for atoms in molecules]
    expected = predict(finished, files[0]).values
    for given in (molecules, graphs, Batch.from_data_list(graphs), [molecules[0], graphs[1]]):
        assert torch.allclose(predict(finished, given).values, expected, atol=1e-6)
    one = predict(finished, molecules[0])
    assert torch.allclose(one.values, expected[:1], atol=1e-6)
    assert "H2O" in one.to_table() and one.structures[0].file == ""
    with pytest.raises(ValueError, match="there are no molecules"):
        predict(finished, [])


def test_a_loaded_model_is_a_model(finished, files):
    pair = load_model(finished)
    assert torch.equal(predict(pair, files).values, predict(finished, files).values)
    with pytest.raises(TypeError, match="HyenaNet; give a path, or what load_predictor"):
        predict(pair[0], files)


@pytest.mark.parametrize("shift", [100.0, 1e6])
def test_far_from_the_origin(finished, tmp_path, shift):
    near, far = build.molecule("CH3CH2OH"), build.molecule("CH3CH2OH")
    far.positions += [shift, -shift, 2 * shift]
    expected = predict(finished, near).values
    ase_io.write(tmp_path / "far.extxyz", far)
    scale = float(expected.abs().max())
    for given in (far, graph(far), tmp_path / "far.extxyz"):
        assert torch.allclose(predict(finished, given).values, expected, atol=2e-6 * scale)


def test_forces_far_from_the_origin(finished_forces):
    """Against the network in float64, at the origin."""
    model, info = load_model(finished_forces)
    near, far = build.molecule("CH3CH2OH"), build.molecule("CH3CH2OH")
    far.positions += 1e6
    pos = torch.from_numpy(near.positions).requires_grad_()
    z = torch.from_numpy(near.numbers).long()
    output = model.double()(z, pos)
    (gradient,) = torch.autograd.grad(output.sum(), pos)
    found = predict(finished_forces, far)
    energy = info.scaling.to_property(output.detach(), z, torch.zeros_like(z))
    assert torch.allclose(found.values, energy, atol=1e-5)
    assert torch.allclose(found.forces[0], -gradient * info.scaling.scale, atol=1e-4)


def test_names_are_shown(finished, tmp_path):
    from rdkit import Chem

    (tmp_path / "a.smi").write_text("CCO ethanol, relaxed\nO\n")
    found = predict(finished, tmp_path / "a.smi")
    entries = json.loads(found.to_json())["predictions"]
    assert [entry["name"] for entry in entries] == ["ethanol, relaxed", "O"]
    assert "ethanol, relaxed" in found.to_table()
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [row["name"] for row in rows] == ["ethanol, relaxed", "O"]
    assert float(rows[0]["dipole_x (D)"]) == float(found.values[0, 0])
    back = ase_io.read(io.StringIO(found.to_extxyz()), index=":", format="extxyz")
    assert [atoms.info["name"] for atoms in back] == ["ethanol, relaxed", "O"]
    assert Chem.MolFromSmiles(back[0].info["smiles"]).GetNumAtoms() == 3


@pytest.mark.parametrize("suffix", [".traj", ".extxyz"])
def test_labels_of_the_file_stay_beside_predictions(finished_forces, tmp_path, suffix):
    from ase.calculators.emt import EMT

    atoms = build.molecule("CH3CH2OH")
    atoms.calc = EMT()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.info["REF_energy"] = -1.5
    ase_io.write(tmp_path / f"a{suffix}", atoms)
    found = predict(finished_forces, tmp_path / f"a{suffix}")
    (tmp_path / "out.extxyz").write_text(found.to_extxyz())
    back = ase_io.read(tmp_path / "out.extxyz")
    assert back.get_potential_energy() == pytest.approx(energy)
    assert back.get_forces() == pytest.approx(forces, abs=1e-6)
    assert back.info["predicted_energy"] == pytest.approx(float(found.values))
    assert back.arrays["predicted_forces"] == pytest.approx(found.forces[0].numpy(), abs=1e-6)
    if suffix == ".extxyz":
        assert back.info["REF_energy"] == -1.5
    again = predict(finished_forces, tmp_path / "out.extxyz")  # what is written can be read
    assert torch.allclose(again.values, found.values, atol=1e-4)


def test_what_no_network_is_told_brings_a_warning(finished, tmp_path):
    ion = build.molecule("H2O")
    ion.info["charge"] = -1
    whole = build.molecule("CH3CH2OH")
    bare = whole[whole.numbers != 1]
    with pytest.warns(UserWarning, match="molecule 1: charge -1; molecule 2: no hydrogens"):
        found = predict(finished, [whole, ion, bare])
    with pytest.warns(UserWarning, match="molecule 2: no hydrogens"):
        neutral = predict(finished, [whole, build.molecule("H2O"), bare])
    assert torch.equal(found.values, neutral.values)
    with pytest.warns(UserWarning, match=r"charge -1.*; and 2 more"):
        predict(finished, [ion] * 7)


def test_biomolecules(finished, tmp_path):
    pytest.importorskip("gemmi")
    rows = [
        "ATOM      1  N   GLY A   1       0.000   0.000   0.000  1.00  0.00           N",
        "ATOM      2  CA  GLY A   1       1.450   0.000   0.000  1.00  0.00           C",
    ]
    (tmp_path / "a.pdb").write_text("\n".join(rows) + "\n")
    with pytest.warns(UserWarning, match="1 of 1 residues without hydrogens"):
        found = predict(finished, tmp_path / "a.pdb")
    back = ase_io.read(io.StringIO(found.to_extxyz()), format="extxyz")
    assert back.arrays["residuenames"].tolist() == ["GLY", "GLY"]


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_any_default_device(finished, files, device):
    expected = predict(finished, files).values
    torch.set_default_device(device)
    try:
        found = predict(finished, files)
    finally:
        torch.set_default_device(None)
    assert torch.equal(found.values, expected)


def test_the_ending_of_a_file_is_its_format():
    endings = {"a.json": "json", "b.CSV": "csv", "c.xyz": "extxyz", "d.extxyz": "extxyz"}
    assert {name: format_of(name) for name in endings} == endings
    assert format_of(None) == "table" and set(endings.values()) < set(FORMATS)
    with pytest.raises(ValueError, match=r"'out\.pdf' must end in one of .*json, csv, extxyz"):
        format_of("out.pdf")
