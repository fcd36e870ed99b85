import io

import numpy as np
import pytest

from e3hyena.data.structures import read_structures

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
        ("a.pdb", CH4, r"format must be one of \.xyz, \.extxyz, \.sdf"),
        ("a.xyz", CH4.replace("H .6", "H nan"), "molecule 0: the position of atom 1 is not finite"),
        ("a.xyz", CH4 + CH4.replace("C 0", "C inf"), "molecule 1: the position of atom 0"),
        ("a.xyz", CH4.replace("C", "Qq"), "unknown element 'Qq'"),
        ("a.xyz", CH4[:20], "ends within the molecule that begins at line 1"),
        ("a.xyz", CH4 + CH4[:20], "ends within the molecule that begins at line 8"),
        ("a.xyz", "a poem\nof two lines\n", "line 1 must be a number of atoms"),
        ("a.xyz", CH4.replace(" .6 .6 .6", " .6 .6 x", 1), r"cannot be read as \.xyz"),
        ("a.xyz", "0\n\n", "molecule 0: it has no atoms"),
        ("a.extxyz", CH4.replace("\n\n", '\nLattice="9 0 0 0 9 0 0 0 9"\n'), "it is periodic"),
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
