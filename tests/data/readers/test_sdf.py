"""Records of .sdf and .mol files, their titles, charges and hydrogens."""

import pytest

from e3hyena.data.structures import read_structures

pytest.importorskip("rdkit")
from rdkit import Chem
from rdkit.Chem import AllChem


def block(smiles, name, v3000=False):
    """A record as RDKit writes it, with hydrogens."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    molecule.SetProp("_Name", name)
    return Chem.MolToMolBlock(molecule, forceV3000=v3000)


NAMES = {"CCO": "ethanol", "C": "methane", "CC(=O)O": "acetic acid"}


@pytest.fixture(scope="module")
def blocks():
    return [block(smiles, name) for smiles, name in NAMES.items()]


def read(tmp_path, text, name="a.sdf"):
    (tmp_path / name).write_text(text, newline="")
    return read_structures(tmp_path / name)


@pytest.mark.parametrize(
    "separator",
    ["$$$$\n", "$$$$ \n", "$$$$\t\n", "$$$$\r\n", " $$$$\n", "\n$$$$\n", "> <a>\n1\n\n$$$$\n"],
)
@pytest.mark.parametrize("last", [True, False])
def test_no_record_vanishes(tmp_path, blocks, separator, last):
    text = separator.join(blocks) + (separator if last else "")
    found = read(tmp_path, text)
    assert [structure.name for structure in found] == list(NAMES.values())
    assert [len(structure.atoms) for structure in found] == [9, 5, 8]
    assert [structure.notes for structure in found] == [(), (), ()]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda b: b[0] + b[1] + "$$$$\n", r"molecule 0 \(ethanol\).*2 lines 'M  END'.*lack"),
        (lambda b: b[0] + "$$$$\n$$$$\n" + b[1], r"molecule 1: .*header of four lines"),
        (lambda b: b[0] + "$$$$\n" + b[1].replace("3D", "2D"), r"1 \(methane\): .*drawing \(2D\)"),
        (lambda b: b[0] + "$$$$\n" + b[1][:-7], r"molecule 1 \(methane\): .*cut off"),
        (lambda b: b[0][:200], r"molecule 0 \(ethanol\): .*announces 9 atoms but has"),
        (lambda b: b[0].replace(" O ", " Qq"), r"unknown element 'Qq'"),
        (lambda b: b[0].replace(" O ", " * "), r"unknown element '\*'"),
        (lambda b: b[0].replace("  9  8", "999  8"), "announces 999 atoms but has"),
        (lambda b: b[0].replace("  9  8", "  8  8"), "RDKit finds numbers or words"),
        (lambda b: b[0].replace("  9  8", " -9  8"), "header of four lines"),
        (lambda b: b[0].replace("  1  2  1", "  1 99  1"), "RDKit finds numbers or words"),
    ],
)
def test_records_that_cannot_be_read_are_named(tmp_path, blocks, change, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, change(blocks))


def test_elements_in_capitals_are_read_as_in_xyz(tmp_path):
    text = block("CCl", "chloromethane").replace(" Cl", " CL")
    assert " CL" in text
    assert sorted(read(tmp_path, text)[0].atoms.numbers) == [1, 1, 1, 6, 17]
    assert sorted(read(tmp_path, text.replace(" C ", " c "))[0].atoms.numbers)[-2:] == [6, 17]
    text = block("CCl", "chloromethane", v3000=True).replace(" Cl ", " CL ").replace(" H ", " D ")
    assert " CL " in text
    assert sorted(read(tmp_path, text)[0].atoms.numbers) == [1, 1, 1, 6, 17]
    with pytest.raises(ValueError, match="unknown element 'Qq'"):
        read(tmp_path, text.replace(" CL ", " QQ "))


def test_version_3000_and_single_molecules(tmp_path, blocks):
    third = read(tmp_path, block("CC(=O)O", "acid", v3000=True))[0]
    second = read(tmp_path, blocks[2], "a.mol")[0]
    assert third.name == "acid" and second.name == "acetic acid"
    assert abs(third.atoms.positions - second.atoms.positions).max() < 1e-4


@pytest.mark.parametrize(
    "smiles, note",
    [
        ("CC(=O)[O-]", ("charge -1",)),
        ("[NH4+]", ("charge +1",)),
        ("C[NH2+]CC(=O)[O-]", ()),
        ("[O][O]", ("2 unpaired electrons",)),
        ("C[N+](=O)[O-]", ()),
        ("[C-]#[O+]", ()),
    ],
)
def test_charge_and_spin_are_noted(tmp_path, smiles, note):
    assert read(tmp_path, block(smiles, ""))[0].notes == note


def test_missing_hydrogens_are_counted(tmp_path, blocks):
    bare = Chem.MolToMolBlock(Chem.RemoveHs(Chem.MolFromMolBlock(blocks[0])))
    assert read(tmp_path, bare)[0].notes == ("6 hydrogens are missing",)


def test_data_fields_are_kept(tmp_path, blocks):
    text = f"{blocks[0]}> <energy>\n-13.6\n\n> <source>\na lab\n\n> <pbc>\nno\n\n$$$$\n"
    info = read(tmp_path, text)[0].atoms.info
    assert info == {"energy": -13.6, "source": "a lab", "name": "ethanol"}
