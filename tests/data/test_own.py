"""Properties of one's own, from tables and structures."""

import numpy as np
import pytest
import torch

from e3hyena.data import OwnMolecules
from e3hyena.data.own import own_targets

ase = pytest.importorskip("ase")
pytest.importorskip("rdkit")
from ase import build, io  # noqa: E402

TABLE = """name,SMILES,gap,mu_x,mu_y,mu_z,note
ethanol,CCO,7.5,1,2,3,wet
"propane, pure",CCC,,0,0,0,dry
methane,C,9.25,,,,dry
"""
TARGETS = {"gap": {"unit": "eV"}, "mu": {"unit": "D", "irreps": "1o"}}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(TABLE)
    return path


def test_a_table_of_smiles(table):
    dataset = OwnMolecules(table, targets=TARGETS)
    assert [molecule.name for molecule in dataset] == ["ethanol", "propane, pure", "methane"]
    assert [len(molecule.z) for molecule in dataset] == [9, 11, 5]
    gaps = torch.cat([molecule.gap for molecule in dataset])
    assert gaps.shape == (3, 1) and gaps[0] == 7.5 and gaps[1].isnan() and gaps[2] == 9.25
    mu = torch.cat([molecule.mu for molecule in dataset])
    assert mu[0].tolist() == [1.0, 2.0, 3.0] and mu[2].isnan().all()
    text = dataset.describe()
    assert "further columns and keys: SMILES, mu_x" in text
    gap, dipole = text.splitlines()[2:4]
    assert gap.split()[-1] == dipole.split()[-1] == "1", "one missing label each"
    again = OwnMolecules(table, targets=TARGETS)
    assert torch.equal(again[0].pos, dataset[0].pos), "the same SMILES, the same geometry"


def test_structures_with_properties_of_molecules_and_atoms(tmp_path):
    molecules = [build.molecule(name) for name in ("H2O", "CH4", "NH3")]
    for atoms in molecules[:2]:
        atoms.info["energy_ev"] = -1.5 * len(atoms)
        atoms.arrays["q"] = np.arange(len(atoms)) / 10
    io.write(tmp_path / "own.extxyz", molecules)
    dataset = OwnMolecules(
        tmp_path / "own.extxyz",
        targets={
            "energy": {"unit": "eV", "column": "energy_ev", "summed": True},
            "q": {"unit": "e", "per_atom": True},
        },
    )
    water, _, ammonia = dataset
    assert water.energy.tolist() == [[-4.5]] and water.q[:, 0].tolist() == [0.0, 0.1, 0.2]
    assert ammonia.energy.isnan().all() and ammonia.q.shape == (4, 1)
    assert dataset.targets["energy"].summed and dataset.targets["q"].per_atom


def test_the_parts_of_a_split_are_disjoint_and_complete(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("smiles,x\n" + "".join(f"{'C' * n},{n}\n" for n in range(1, 21)))
    parts = [OwnMolecules(path, split, targets={"x": {}}) for split in ("train", "val", "test")]
    numbers = [[int(molecule.x) for molecule in part] for part in parts]
    assert [len(part) for part in numbers] == [16, 2, 2]
    assert sorted(number for part in numbers for number in part) == list(range(1, 21))
    other = OwnMolecules(path, "test", targets={"x": {}}, seed=3)
    assert [int(molecule.x) for molecule in other] != numbers[2]


@pytest.mark.parametrize(
    "text, targets, named",
    [
        (TABLE, {"gaps": {}}, "no molecule has 'gaps'; the first one has SMILES, gap"),
        (TABLE, {"note": {}}, "molecule 0 (ethanol): 'note' is 'wet', which is no number"),
        (TABLE, {"gap": {"irreps": "1o"}}, "'gap' has 1 numbers; wanted 1 x 3"),
        (TABLE.replace("CCO", "CCX"), {"gap": {}}, "(line 2): cannot be read as .csv (RDKit"),
        (TABLE.replace("7.5,", "7.5,8,"), {"gap": {}}, "another number of columns"),
        (TABLE.replace("7.5", "inf"), {"gap": {}}, "not finite; leave a missing label empty"),
        ("name,gap\na,1\n", {"gap": {}}, "has the columns name, gap; one must be called smiles"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, text, targets, named):
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        OwnMolecules(path, targets=targets)
    assert named in str(caught.value)


def test_fields_of_a_target():
    with pytest.raises(ValueError, match=r"'gap' has no field 'units'; say column, irreps"):
        own_targets({"targets": {"gap": {"units": "eV"}}})
    with pytest.raises(ValueError, match="'gap' has fields; say"):
        own_targets({"targets": {"gap": "eV"}})
    assert own_targets({}) == {}
