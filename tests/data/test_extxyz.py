import numpy as np
import pytest
import torch

from e3hyena.data import ExtXYZ

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
        assert np.allclose(item.pos, atoms.positions, atol=1e-6)
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


def test_periodic_cells_and_wrong_words_are_refused(tmp_path, path):
    atoms = labelled("H2O")
    atoms.set_cell([9, 9, 9])
    atoms.pbc = True
    ase_io.write(tmp_path / "p.extxyz", atoms)
    with pytest.raises(ValueError, match="molecule 0: it is periodic"):
        ExtXYZ(tmp_path / "p.extxyz")
    with pytest.raises(ValueError, match="split='all' is unknown"):
        ExtXYZ(path, "all")


def test_a_batch_of_it_has_one_energy_per_molecule(path):
    from torch_geometric.loader import DataLoader

    batch = next(iter(DataLoader(ExtXYZ(path), batch_size=4)))
    assert batch.energy.shape == (4,) and batch.force.shape == batch.pos.shape
