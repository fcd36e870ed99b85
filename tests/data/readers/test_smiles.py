"""Geometries of SMILES."""

import numpy as np
import pytest

from e3hyena.data.readers.smiles import from_smiles
from e3hyena.data.structures import read_structures

pytest.importorskip("rdkit")


def test_a_file_of_smiles(tmp_path):
    (tmp_path / "a.smi").write_text("smiles name\nCCO ethanol\n\nO\r\nCC(=O)[O-]\tacetate ion\n")
    found = read_structures(tmp_path / "a.smi")
    assert [structure.name for structure in found] == ["ethanol", "O", "acetate ion"]
    formulas = [structure.atoms.get_chemical_formula() for structure in found]
    assert formulas == ["C2H6O", "H2O", "C2H3O2"]
    assert [structure.notes for structure in found] == [(), (), ("charge -1",)]
    distance = found[1].atoms.get_all_distances()
    assert distance[0, 1:] == pytest.approx([0.97, 0.97], abs=0.02)


def test_the_seed_decides_the_geometry():
    first, second = (from_smiles("CCCCCO").atoms.positions for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.allclose(first, from_smiles("CCCCCO", seed=2).atoms.positions, atol=0.1)


def test_elements_without_parameters_of_mmff():
    assert from_smiles("C[Se]C").atoms.get_chemical_formula() == "C2H6Se"


@pytest.mark.parametrize(
    "smiles, message",
    [
        ("C(C)(C)(C)(C)C", "does not understand"),
        ("a poem", "does not understand"),
        ("C" * 5000, "does not understand"),
        ("C" * 61, "has 61 atoms besides hydrogens; geometries are made for up to 60"),
        ("*C", "atom \\* of no element"),
        ("[C@@H]1(C)[C@H]2[C@@H]3[C@H]1C23", "finds no geometry"),
    ],
)
def test_smiles_that_make_no_molecule(tmp_path, smiles, message):
    (tmp_path / "a.smi").write_text(f"C\n\n{smiles}\n")
    with pytest.raises(ValueError, match=message) as error:
        read_structures(tmp_path / "a.smi")
    assert "a.smi', molecule 1 (line 3)" in str(error.value)
