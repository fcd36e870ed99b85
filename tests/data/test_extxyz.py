import numpy as np
import pytest
import torch

from e3hyena.data import ExtXYZ
from e3hyena.training.molecules import Molecules
from e3hyena.training.tasks import get_task

ase_io = pytest.importorskip("ase.io")
build = pytest.importorskip("ase.build")
emt = pytest.importorskip("ase.calculators.emt")

NAMES = ["CH4", "H2O", "CH3OH", "NH3", "CO2", "H2O2", "C2H6", "N2", "CO", "HCN"]


def labelled(name):
    atoms = build.molecule(name)
    atoms.rattle(0.1, seed=3)
    atoms.calc = emt.EMT()
    atoms.get_forces()
    return atoms


@pytest.fixture(scope="module")
def molecules():
    return [labelled(name) for name in NAMES]


@pytest.fixture
def path(tmp_path, molecules):
    ase_io.write(tmp_path / "all.extxyz", molecules)
    return tmp_path / "all.extxyz"


def test_what_ase_wrote_is_read_back(path, molecules):
    dataset = ExtXYZ(path)
    assert len(dataset) == len(molecules) and dataset.energy_unit == "eV"
    for item, atoms in zip(dataset, molecules, strict=True):
        assert item.z.tolist() == atoms.numbers.tolist()
        assert np.allclose(item.pos, atoms.positions - atoms.positions.mean(axis=0), atol=1e-6)
        assert float(item.energy) == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
        assert np.allclose(item.force, atoms.get_forces(), atol=1e-6)


def test_units_of_the_file_and_units_wanted_are_converted(path):
    ev = ExtXYZ(path)[2]
    read = ExtXYZ(path, file_energy_unit="Hartree", file_length_unit="Bohr", energy_unit="kcal/mol")
    other, hartree, bohr = read[2], 627.50947, 0.52917721
    assert float(other.energy) == pytest.approx(float(ev.energy) * hartree, rel=1e-6)
    assert torch.allclose(other.pos, ev.pos * bohr)
    assert torch.allclose(other.force, ev.force * (hartree / bohr), rtol=1e-5, atol=1e-3)


def test_other_names_of_energy_and_forces(tmp_path):
    atoms = labelled("H2O")
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = None
    atoms.info["REF_energy"], atoms.arrays["REF_forces"] = energy, forces
    ase_io.write(tmp_path / "a.xyz", atoms, format="extxyz")
    item = ExtXYZ(tmp_path / "a.xyz", energy_key="REF_energy", force_key="REF_forces")[0]
    assert float(item.energy) == pytest.approx(energy)
    assert np.allclose(item.force, forces, atol=1e-6)
    with pytest.raises(ValueError, match=r"molecule 0: no finite number energy_key='energy'.*REF_"):
        ExtXYZ(tmp_path / "a.xyz")
    with pytest.raises(ValueError, match=r"no finite column force_key='forces'.*REF_forces"):
        ExtXYZ(tmp_path / "a.xyz", energy_key="REF_energy")


def test_parts_of_a_file_are_disjoint_and_complete(path):
    parts = [[float(x.energy) for x in ExtXYZ(path, s)] for s in ("train", "val", "test")]
    assert [len(part) for part in parts] == [8, 1, 1]
    assert len({energy for part in parts for energy in part}) == 10


def test_a_folder_has_a_file_per_part(tmp_path, molecules):
    ase_io.write(tmp_path / "train.extxyz", molecules[:6])
    ase_io.write(tmp_path / "val.xyz", molecules[6:], format="extxyz")
    assert len(ExtXYZ(tmp_path, "train")) == 6 and len(ExtXYZ(tmp_path, "val")) == 4
    with pytest.raises(FileNotFoundError, match=r"test\.extxyz"):
        ExtXYZ(tmp_path, "test")
    with pytest.raises(ValueError, match="is a folder: say which file"):
        ExtXYZ(tmp_path)


def test_cells_come_with_the_molecules_of_their_file(tmp_path, path):
    from torch_geometric.loader import DataLoader

    copper = build.bulk("Cu", "fcc", a=3.6)
    copper.calc = emt.EMT()
    copper.get_forces()
    ase_io.write(tmp_path / "p.extxyz", [copper, labelled("H2O")])
    dataset = ExtXYZ(tmp_path / "p.extxyz", file_length_unit="nm")
    assert np.allclose(dataset[0].cell, 10 * copper.cell.array) and dataset[0].pbc.all()
    assert not dataset[1].pbc.any() and dataset[1].cell.shape == (1, 3, 3)
    batch = next(iter(DataLoader(dataset, batch_size=2)))
    assert batch.cell.shape == (2, 3, 3) and batch.pbc.tolist() == [[True] * 3, [False] * 3]
    assert "cell" not in ExtXYZ(path)[0]


def test_stress_however_it_is_written(tmp_path):
    from torch_geometric.loader import DataLoader

    copper = build.bulk("Cu", "fcc", a=3.5, cubic=True)
    copper.rattle(0.1, seed=0)
    copper.calc = emt.EMT()
    copper.get_forces()
    expected = copper.get_stress(voigt=False)
    ways = {
        "stress": expected,
        "six": copper.get_stress(),
        "nine": expected.reshape(-1),
        "virial": -copper.get_volume() * expected,
    }
    for name, value in ways.items():
        frame = copper.copy()
        frame.info |= {"energy": 0.0, "of": name, name: value}
        frame.arrays["forces"] = copper.get_forces()
        ase_io.write(tmp_path / f"{name}.xyz", frame, format="extxyz", write_info=True)
        item = ExtXYZ(tmp_path / f"{name}.xyz", stress_key=name if name != "virial" else "none")[0]
        assert np.allclose(item.stress, expected, atol=1e-6), name
    ase_io.write(tmp_path / "both.xyz", [copper, labelled("H2O")], format="extxyz")
    dataset = ExtXYZ(tmp_path / "both.xyz", file_length_unit="nm", energy_unit="kcal/mol")
    batch = next(iter(DataLoader(dataset, batch_size=2)))
    assert np.allclose(batch.stress[0], expected * 23.060548 / 1000, rtol=1e-5)
    assert batch.stress[1].isnan().all()
    with pytest.raises(ValueError, match="train: a structure has no stress: the task 'stress'"):
        Molecules.from_dataset(dataset, get_task("stress"), None, "train")


def test_wrong_words_are_refused(path):
    with pytest.raises(ValueError, match="split='all' is unknown"):
        ExtXYZ(path, "all")


def test_a_batch_of_it_has_one_energy_per_molecule(path):
    from torch_geometric.loader import DataLoader

    batch = next(iter(DataLoader(ExtXYZ(path), batch_size=4)))
    assert batch.energy.shape == (4,) and batch.force.shape == batch.pos.shape


def test_positions_are_centred_before_they_are_rounded(tmp_path, path, molecules):
    far = [atoms.copy() for atoms in molecules]
    for atoms, original in zip(far, molecules, strict=True):
        atoms.positions += [1e6, -3e6, 2e6]
        atoms.calc = original.calc
    ase_io.write(tmp_path / "far.extxyz", far)
    for one, other in zip(ExtXYZ(path), ExtXYZ(tmp_path / "far.extxyz"), strict=True):
        assert torch.allclose(one.pos, other.pos, atol=1e-7)


def test_names_of_molecules(tmp_path, molecules):
    atoms = molecules[0].copy()
    atoms.calc = molecules[0].calc
    atoms.info["name"] = "methane, bent"
    ase_io.write(tmp_path / "a.extxyz", [atoms, molecules[1]])
    assert [item.name for item in ExtXYZ(tmp_path / "a.extxyz")] == ["methane, bent", ""]


@pytest.mark.parametrize(
    "comment, columns, message",
    [
        ("energy -13.6 forces", "forces:R:3", r"energy_key='energy'.*free text .*'energy -13.6 f"),
        ('energy="-13.6 eV"', "forces:R:3", "energy='-13.6 eV' is not a number"),
        ("energy=T", "forces:R:3", "energy='T' is not a number"),
        ("energy=nan", "forces:R:3", r"no finite number energy_key='energy'.*, but nan; it has"),
        ('energy="1 2"', "forces:R:3", r"no finite number energy_key='energy'.*of shape \(2,\)"),
        ("total_energy=1", "forces:R:3", r"energy_key='energy' .*it has .*total_energy"),
        ("energy=1", "forces:L:3", "'forces' has type L"),
        ("energy=1", "forces:S:3", "'forces' has type S"),
        ("energy=1", "forces:R:2:more:R:1", r"force_key='forces'.*of shape \(2, 2\)"),
        (
            "energy=1",
            "gradient:R:3",
            r"it has energy, gradient",
        ),
        ("energy=1", None, r"force_key='forces'.*it has .*3 columns that Properties=.* not name"),
    ],
)
def test_what_is_no_label_is_named(tmp_path, comment, columns, message):
    rows = "C 0 0 0 {0}\nO 1.1 0 0 {0}\n".format("T F T" if ":L:" in str(columns) else "1 0 2")
    properties = "" if columns is None else f" Properties=species:S:1:pos:R:3:{columns}"
    good = "2\nenergy=1 Properties=species:S:1:pos:R:3:forces:R:3\n"
    good += "C 0 0 0 1 0 2\nO 1.1 0 0 1 0 2\n"
    (tmp_path / "a.extxyz").write_text(f"{good}2\n{comment}{properties}\n{rows}")
    with pytest.raises(ValueError, match=message) as error:
        ExtXYZ(tmp_path / "a.extxyz")
    assert "a.extxyz', molecule 1" in str(error.value)


@pytest.mark.parametrize("kind", ["L", "S"])
def test_other_columns_are_labels_only_if_they_are_numbers(tmp_path, kind):
    row = "T F T" if kind == "L" else "1 0 2"
    text = f"1\nenergy=1 Properties=species:S:1:pos:R:3:REF:{kind}:3\nC 0 0 0 {row}\n"
    (tmp_path / "a.xyz").write_text(text)
    with pytest.raises(ValueError, match="no finite column force_key='REF'"):
        ExtXYZ(tmp_path / "a.xyz", force_key="REF")


def test_whole_numbers_are_labels(tmp_path):
    text = "1\nenergy=-13 Properties=species:S:1:pos:R:3:forces:I:3\nC 0 0 0 1 0 2\n"
    (tmp_path / "a.xyz").write_text(text)
    item = ExtXYZ(tmp_path / "a.xyz")[0]
    assert float(item.energy) == -13 and item.force.tolist() == [[1, 0, 2]]


def test_charges_that_differ_bring_a_warning(tmp_path, molecules):
    ions = []
    for charge in (0, -1):
        atoms = molecules[1].copy()
        atoms.calc = molecules[1].calc
        atoms.info["charge"] = charge
        ions.append(atoms)
    ase_io.write(tmp_path / "a.extxyz", ions)
    with pytest.warns(UserWarning, match=r"a\.extxyz', molecule 1: charge -1; other molecules"):
        ExtXYZ(tmp_path / "a.extxyz")
    ase_io.write(tmp_path / "b.extxyz", ions[1:] * 2)
    assert len(ExtXYZ(tmp_path / "b.extxyz")) == 2  # all alike: no warning


def test_any_default_device(path):
    torch.set_default_device("meta")
    try:
        dataset = ExtXYZ(path)
        assert dataset[3].pos.device.type == "cpu" and "10 molecules" in dataset.describe()
    finally:
        torch.set_default_device(None)
