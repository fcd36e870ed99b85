import io

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

from e3hyena.data.structures import as_structures, read_structures

ase_io = pytest.importorskip("ase.io")
build = pytest.importorskip("ase.build")

MOLECULES = ["CH4", "H2O", "CH3CH2OH"]


@pytest.fixture
def molecules():
    return [build.molecule(name) for name in MOLECULES]


def sdf(molecules):
    text = io.StringIO()
    for atoms in molecules:
        ase_io.write(text, atoms, format="sdf")
    return text.getvalue()


@pytest.mark.parametrize("suffix", [".xyz", ".extxyz", ".sdf", ".XYZ"])
def test_every_molecule_of_a_file_is_read(tmp_path, molecules, suffix):
    path = tmp_path / f"molecules{suffix}"
    if suffix == ".sdf":
        path.write_text(sdf(molecules))
    else:
        ase_io.write(path, molecules, format="extxyz" if suffix == ".extxyz" else "xyz")
    found = read_structures(path)
    assert [structure.frame for structure in found] == [0, 1, 2]
    for structure, atoms in zip(found, molecules, strict=True):
        assert (structure.atoms.numbers == atoms.numbers).all()
        assert np.allclose(structure.atoms.positions, atoms.positions, atol=1e-4)


@pytest.mark.parametrize("gap", ["", "\n", "\n \n"])
def test_blank_lines_between_molecules_end_nothing(tmp_path, gap):
    path = tmp_path / "a.xyz"
    path.write_text(f"1\nit's free text\nC 0 0 0\n{gap}1\n\nO 0 0 0\n{gap}")
    symbols = [structure.atoms.get_chemical_formula() for structure in read_structures(path)]
    assert symbols == ["C", "O"]


CH4 = "5\n\nC 0 0 0\nH .6 .6 .6\nH -.6 -.6 .6\nH .6 -.6 -.6\nH -.6 .6 -.6\n"


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.xyz", "", "is empty"),
        ("a.xyz", "\n \n", "is empty"),
        ("a.extxyz", "", "is empty"),
        ("a.sdf", "", "is empty"),
        ("a.bcif", CH4, r"format must be one of \.xyz, \.extxyz, \.sdf"),
        ("a.xyz", CH4.replace("H .6", "H nan"), "molecule 0: the position of atom 1 is not finite"),
        ("a.xyz", CH4 + CH4.replace("C 0", "C inf"), "molecule 1: the position of atom 0"),
        ("a.xyz", CH4.replace("C", "Qq"), "unknown element 'Qq'"),
        ("a.xyz", CH4[:20], "ends within the molecule that begins at line 1"),
        ("a.xyz", CH4 + CH4[:20], "ends within the molecule that begins at line 8"),
        ("a.xyz", "a poem\nof two lines\n", "line 1 must be a number of atoms"),
        ("a.xyz", CH4.replace(" .6 .6 .6", " .6 .6 x", 1), r"cannot be read as \.xyz"),
        ("a.xyz", "0\n\n", "molecule 0: it has no atoms"),
        ("a.extxyz", CH4.replace("\n\n", '\nLattice="9 0 0 0 9 0 9 9 0"\n'), "which are no cell"),
        ("a.sdf", "one\ntwo\n", "V2000 header"),
    ],
)
def test_bad_files_are_named_with_the_reason(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_structures(path)
    assert name in str(error.value)


def test_sdf_that_is_cut_off_or_flat(tmp_path, molecules):
    path = tmp_path / "a.sdf"
    whole = sdf(molecules[:1])
    path.write_text("\n".join(whole.splitlines()[:6]))
    with pytest.raises(ValueError, match="announces 5 atoms but has 2"):
        read_structures(path)
    path.write_text(whole.replace("3D\n", "2D\n", 1))
    with pytest.raises(ValueError, match="drawing"):
        read_structures(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.xyz"):
        read_structures(tmp_path / "none.xyz")
    with pytest.raises(FileNotFoundError, match=r"'CCO'; a SMILES goes into a file .*\.smi"):
        read_structures("CCO")


@pytest.mark.parametrize("numbers", [[-5], [0], [119], [200], [10**6]])
def test_elements_that_do_not_exist(tmp_path, numbers):
    text = f"1\nProperties=Z:I:1:pos:R:3\n{numbers[0]} 0 0 0\n"
    (tmp_path / "a.xyz").write_text(text)
    for given in (tmp_path / "a.xyz", Data(z=torch.tensor(numbers), pos=torch.zeros(1, 3))):
        with pytest.raises(ValueError, match=rf"molecule 0: .*atomic number {numbers[0]},"):
            as_structures(given)


def test_atoms_too_far_apart_for_float32(tmp_path):
    (tmp_path / "a.xyz").write_text("2\n\nC 0 0 0\nC 1e200 0 0\n")
    with pytest.raises(ValueError, match="molecule 0: its atoms are more than 1e"):
        read_structures(tmp_path / "a.xyz")


def test_trajectories_of_ase(tmp_path, molecules):
    from ase.calculators.emt import EMT
    from ase.io.trajectory import Trajectory

    molecules[1].info["charge"] = 1
    with Trajectory(tmp_path / "a.traj", "w") as trajectory:
        for atoms in molecules:
            atoms.calc = EMT()
            atoms.get_forces()
            trajectory.write(atoms)
    found = read_structures(tmp_path / "a.traj")
    assert [len(structure.atoms) for structure in found] == [5, 3, 9]
    assert found[2].atoms.get_potential_energy() == molecules[2].get_potential_energy()
    assert [structure.notes for structure in found] == [(), ("charge 1",), ()]
    content = (tmp_path / "a.traj").read_bytes()
    for damaged in (content[:100], content[:-200], b"a poem"):
        (tmp_path / "b.traj").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"b\.traj"):
            read_structures(tmp_path / "b.traj")


def test_molecules_of_memory(tmp_path, molecules):
    ase_io.write(tmp_path / "a.xyz", molecules[:2], format="xyz")
    graphs = [
        Data(z=torch.from_numpy(atoms.numbers).long(), pos=torch.from_numpy(atoms.positions))
        for atoms in molecules
    ]
    for graph, name in zip(graphs, ["methane", "", ""], strict=True):
        graph.name = name
    single = [tmp_path / "a.xyz", str(tmp_path / "a.xyz"), molecules[0], graphs[0]]
    assert [len(as_structures(one)) for one in single] == [2, 2, 1, 1]
    for many in (molecules, tuple(molecules), graphs, Batch.from_data_list(graphs)):
        found = as_structures(many)
        assert [(s.file, s.frame, len(s.atoms)) for s in found] == [
            ("", 0, 5), ("", 1, 3), ("", 2, 9)
        ]  # fmt: skip
    assert found[0].name == "methane" and found[0].where == "molecule 0 (methane)"
    mixed = as_structures([tmp_path / "a.xyz", molecules[2], graphs[1], found[0]])
    assert [len(structure.atoms) for structure in mixed] == [5, 3, 9, 3, 5]
    with pytest.raises(TypeError, match="molecule 1 is a int; give the path of a file"):
        as_structures([molecules[0], 7])
    with pytest.raises(ValueError, match="has no z and pos, but \\['x'\\]"):
        as_structures(Data(x=torch.zeros(2, 3)))
    with pytest.raises(ValueError, match="z is float32 of shape"):
        as_structures(Data(z=torch.zeros(2), pos=torch.zeros(2, 3)))


def test_graphs_are_centred_before_they_are_rounded(molecules):
    near, far = molecules[2].copy(), molecules[2].copy()
    far.positions += [1e6, -2e6, 3e6]
    one, other = (structure.graph() for structure in as_structures([near, far]))
    assert other.pos.dtype == torch.float32 and other.pos.mean(dim=0).abs().max() < 1e-6
    assert torch.allclose(one.pos, other.pos, atol=1e-6)


@pytest.mark.parametrize(
    "change, note",
    [
        ({}, ()),
        ({"charge": 0, "spin": 1, "multiplicity": 1}, ()),
        ({"charge": -1}, ("charge -1",)),
        ({"Total_Charge": 2.0}, ("Total_Charge 2.0",)),
        ({"charge": "minus"}, ("charge minus",)),
        ({"multiplicity": 3, "spin": 2}, ("multiplicity 3", "spin 2")),
    ],
)
def test_charge_and_spin_are_noted(molecules, change, note):
    molecules[0].info.update(change)
    assert as_structures(molecules[0])[0].notes == note
    graph = Data(z=torch.tensor([1]), pos=torch.zeros(1, 3), **change)
    assert set(as_structures(graph)[0].notes) == set(note)


def test_charges_and_moments_of_atoms_are_noted(molecules):
    water = molecules[1]
    water.set_initial_charges([-0.8, 0.4, 0.4])
    assert as_structures(water)[0].notes == ()
    water.set_initial_charges([-1, 0, 0])
    water.set_initial_magnetic_moments([1, -1, 0])
    first, second = as_structures(water)[0].notes
    assert "add up to -1.00" in first and "magnetic" in second


@pytest.mark.parametrize("name", ["CH3CH2OH", "C6H6", "CH3COOH", "C3H4_C3v", "CH3NO2"])
def test_missing_hydrogens_are_noted(name):
    atoms = build.molecule(name)
    assert as_structures(atoms)[0].notes == ()
    bare = atoms[atoms.numbers != 1]
    (note,) = as_structures(bare)[0].notes
    assert "no hydrogens" in note


@pytest.mark.parametrize("name", ["CO2", "CF4", "C2F4", "CCl4", "CS2", "NF3", "CO", "OCS", "C2Cl4"])
def test_molecules_without_hydrogens_are_whole(name):
    assert as_structures(build.molecule(name))[0].notes == ()


@pytest.mark.parametrize("shape", [(3, 3), (1, 3, 3)])
def test_cells_of_files_and_of_memory(tmp_path, shape):
    text = CH4.replace("\n\n", '\nLattice="9 0 0 1 9 0 0 0 9" pbc="T T F"\n')
    (tmp_path / "a.extxyz").write_text(text)
    (structure,) = read_structures(tmp_path / "a.extxyz")
    graph = structure.graph()
    assert graph.cell.tolist() == [[[9, 0, 0], [1, 9, 0], [0, 0, 9]]]
    assert graph.pbc.tolist() == [[True, True, False]]
    graph.cell = graph.cell.reshape(shape)
    (again,) = as_structures(graph)
    assert again.atoms.pbc.tolist() == [True, True, False]
    assert (again.atoms.cell.array == structure.atoms.cell.array).all()
    del graph.pbc
    assert as_structures(graph)[0].atoms.pbc.all()
    graph.cell = torch.eye(2)
    with pytest.raises(ValueError, match=r"molecule 0: cell has shape \(2, 2\)"):
        as_structures(graph)
