"""Comments that are text, keys that are labels, files of other editors."""

import codecs
import time

import numpy as np
import pytest

from e3hyena.data.structures import read_structures

pytest.importorskip("ase")

ROWS = "C 0.0 0.0 0.0\nO 1.1 0.0 0.0\n"
TEXT = f"2\ncarbon monoxide\n{ROWS}2\n\n{ROWS}"


def read(tmp_path, text, name="a.xyz"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_structures(path)


@pytest.mark.parametrize(
    "comment",
    [
        "no pbc",
        "Properties of carbon monoxide",
        "stress",
        "virial Lattice pbc",
        "Lattice: none, Properties: none, energy: none",
        'it\'s "free" text {with [brackets',
        "energy -13.6 forces below",
        "form\x0cfeed and \x0b and \x1c and \u2028",
        "= = a = ",
        "\\",
        "",
    ],
)
@pytest.mark.parametrize("suffix", [".xyz", ".extxyz"])
def test_words_of_a_comment_are_no_keys(tmp_path, comment, suffix):
    found = read(tmp_path, f"2\n{comment}\n{ROWS}2\n\n{ROWS}", f"a{suffix}")
    assert [len(structure.atoms) for structure in found] == [2, 2]
    for structure in found:
        assert structure.atoms.calc is None and not structure.atoms.pbc.any()
        assert structure.atoms.positions[1].tolist() == [1.1, 0, 0]


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.replace("monoxide", "Ångström").encode("latin-1"),
        (TEXT + "\n\n \n\t\n").encode(),
        (TEXT[:-31] + "\ufeff" + TEXT[-31:]).encode(),
        ("\n\n" + TEXT).encode(),
        TEXT.rstrip("\n").encode(),
        TEXT.replace("C 0", " CL\t0").replace("O 1", "o 1").encode(),
        TEXT.replace("C 0", "17 0").replace("O 1", "8 1").encode(),
    ],
)
def test_files_of_every_editor_are_read(tmp_path, content):
    found = read(tmp_path, content)
    assert [len(structure.atoms) for structure in found] == [2, 2]
    assert found[0].name.startswith("carbon") and found[0].atoms.numbers[1] == 8


def test_heavy_hydrogens(tmp_path):
    (one,) = read(tmp_path, "3\n\nO 0 0 0\nD 1 0 0\nT\t0 1 0\n")
    assert one.atoms.numbers.tolist() == [8, 1, 1]


def test_keys_beside_text(tmp_path):
    comment = """good old CO energy=-13.6 it's charge = -1 name="carbon monoxide" k=[1 2 3] """
    comment += """path='a b' flag=T d={1.5 2.5} more"""
    (one,) = read(tmp_path, f"2\n{comment}\n{ROWS}")
    assert one.atoms.get_potential_energy() == -13.6
    info = one.atoms.info
    assert (info["path"], info["flag"], info["k"].tolist()) == ("a b", True, [1, 2, 3])
    assert (one.name, one.notes) == ("carbon monoxide", ("charge -1",))
    assert one.hints == ('free text on the comment line ("good old CO it\'s more")',)


@pytest.mark.parametrize(
    "comment, message",
    [
        ('energy="-13.6 eV"', "energy='-13.6 eV' is not a number"),
        ("energy=T", "energy='T' is not a number"),
        ("energy=1_000", "energy='1_000' is not a number"),
        ('energy=""', "energy='' is not a number"),
        ("dipole=[1 2 x]", "dipole='1 2 x' is not a number"),
        ("stress=high", "stress='high' is not a number"),
        ("energy=-1 energy=-2", "the key 'energy' is given twice"),
        ("pbc=no", "pbc='no' must be T or F"),
        ("Lattice=cubic", "Lattice"),
        ("Properties=species:S:1", "no column pos"),
        ("Properties=species:S:1:pos:R:3:a:R:999999999", "names 1000000003 columns"),
        (f"Properties=species:S:1:pos:R:3:a:R:{'9' * 5000}", "columns are 1 or more"),
        ("Properties=species:S:1:pos:R:-3", "columns are 1 or more"),
        ("Properties=species:S:1:pos:R", "must be name:type:columns"),
        ("Properties=species:S:1:pos:R:1:pos:R:2", "each name once"),
        ("Properties=species:S:1:pos:L:3", "'pos' has type L"),
        ("Properties=Z:R:1:pos:R:3", "'Z' has type R"),
        ("Properties=species:S:1:pos:R:2", r"cannot be read as \.xyz"),
        ("_JSON=" + '"_JSON ' + "[" * 100_000 + '"', "cannot be read"),
    ],
)
def test_comments_that_cannot_be_meant(tmp_path, comment, message):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, f"{TEXT}2\n{comment}\n{ROWS}")
    assert "a.xyz', molecule 2 (line 9)" in str(error.value)
    assert time.perf_counter() - start < 5  # a bound of what users wait, not a measurement


@pytest.mark.parametrize(
    "text, message",
    [
        ("-2\n\n", "line 1 must be a number of atoms, not '-2'"),
        ("2 atoms\n\n" + ROWS, "not '2 atoms'"),
        ("٢\n\n" + ROWS, "must be a number of atoms"),
        ("999999999\n\n" + ROWS, "ends within the molecule"),
        ("9" * 5000 + "\n\n" + ROWS, "must be a number of atoms"),
        ("3\n\nC 0 0 0\n\nO 1 0 0\n", "ends within the molecule"),
        ("3\n\n" + ROWS + "2\n\n" + ROWS, r"cannot be read as \.xyz"),
        ("1\n\n" + ROWS, "line 4 must be a number of atoms"),
        ("1\n\n999 0 0 0\n", "no element with the atomic number 999"),
        ("1\n\n0 0 0 0\n", "no element with the atomic number 0"),
        ("1\n\nX 0 0 0\n", "atomic number 0, which is no element"),
        ("1\nProperties=species:S:1:pos:R:3:forces:L:3\nC 0 0 0 T T F\n", "'forces' has type L"),
        ("2\nProperties=species:S:1:pos:R:3\nC 0 0 0\nC 0 0 0 1\n", "atom 1 has 5 columns"),
    ],
)
def test_frames_that_do_not_add_up(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_what_ase_writes_comes_back(tmp_path):
    from ase.build import molecule
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    atoms = molecule("CH3OH")
    force = np.arange(18.0).reshape(6, 3)
    atoms.info.update({"a key": 'a "quoted" text', "list": [1, 2], "matrix": np.eye(2)})
    atoms.calc = SinglePointCalculator(atoms, energy=-1.5, forces=force, dipole=[1, 2, 3])
    write(tmp_path / "a.extxyz", [atoms, atoms])
    for structure in read_structures(tmp_path / "a.extxyz"):
        back = structure.atoms
        assert back.info["a key"] == atoms.info["a key"] and back.info["list"].tolist() == [1, 2]
        assert back.info["matrix"].tolist() == [[1, 0], [0, 1]]
        assert back.get_potential_energy() == -1.5 and (back.get_forces() == force).all()
        assert back.get_dipole_moment().tolist() == [1, 2, 3]
