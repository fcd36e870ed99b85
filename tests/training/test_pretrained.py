"""The networks of the package: what they say of molecules, and what of those unlike their data."""

import json

import numpy as np
import pytest
import torch

from e3hyena import load_pretrained
from e3hyena.cli import main
from e3hyena.training import load_predictor, predict
from e3hyena.training.ensemble import PRETRAINED

ase = pytest.importorskip("ase")
pytest.importorskip("rdkit")
from ase.build import molecule  # noqa: E402

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


@pytest.fixture(scope="module")
def model():
    return load_pretrained()


def test_files_are_small_and_have_a_card():
    assert sum(file.stat().st_size for file in PRETRAINED.iterdir()) < 2e6
    card = (PRETRAINED / "README.md").read_text()
    assert all(word in card for word in ("GFN2-xTB", "aspirin", "zwitterion", "Licence", "doubt"))


def test_values_and_doubts_beside_gfn2(model):
    pytest.importorskip("tblite")
    from benchmarks.data.build_pretrained import labels

    from e3hyena.data.readers.smiles import from_smiles

    known = (ASPIRIN, "[NH3+]CC(=O)[O-]", "CC(=O)Nc1ccc(O)cc1", "CCCO")
    structures = [from_smiles(smiles) for smiles in known]
    found = predict(model, structures)
    columns, close = found.columns(), 0
    for i, structure in enumerate(structures):
        dipole, charges, gap = labels(structure.atoms.numbers, structure.atoms.positions)
        errors = (
            np.linalg.norm(found.values[i, :3].numpy() - dipole),
            abs(float(columns["gap"][i]) - gap),
        )
        doubts = [float(found.doubts[name][i]) for name in ("dipole", "gap")]
        assert errors[0] < 2 * doubts[0] and errors[0] < 1
        close += sum(error < doubt for error, doubt in zip(errors, doubts, strict=True))
        assert np.abs(found.atoms["charges"][i][:, 0].numpy() - charges).mean() < 0.05
    assert close >= 6
    assert [bool(one) for one in found.outside] == [False, True, False, False]  # ten atoms


def test_the_mean_of_the_members_turns_with_the_molecule(model):
    from e3nn import o3

    atoms = molecule("CH3CH2OH")
    z, pos = torch.tensor(atoms.numbers), torch.tensor(atoms.positions).float()
    found = model(z, pos)
    one = load_predictor(sorted(PRETRAINED.glob("*.pt"))[0])(z, pos)
    assert not torch.equal(found["dipole"], one["dipole"])
    turn = o3.rand_matrix()
    turned = model(z, pos @ turn.T)
    torch.testing.assert_close(
        turned["dipole"], found["dipole"] @ turn.T.double(), rtol=0, atol=1e-4
    )
    torch.testing.assert_close(turned["charges"], found["charges"], rtol=0, atol=1e-4)
    torch.testing.assert_close(turned["gap_doubt"], found["gap_doubt"], rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore:the network sees elements")
def test_what_lies_outside_of_the_data_is_marked_or_refused(model, tmp_path):
    ammonium = ase.Atoms("NH4", molecule("CH4").positions)
    (tmp_path / "ammonium.smi").write_text("[NH4+] ammonium\n")
    chain = ase.Atoms("C60H122", np.random.default_rng(0).uniform(0, 25, (182, 3)))
    bare = ase.Atoms("C3", [[0, 0, 0], [1.5, 0, 0], [2.2, 1.3, 0]])
    found = predict(model, [ammonium, tmp_path / "ammonium.smi", chain, bare, molecule("H2O")])
    assert "odd number of electrons" in found.outside[0]
    assert "charge" in found.outside[1]
    assert "182 atoms" in found.outside[2]
    assert "no hydrogens" in found.outside[3] and "3 atoms" in found.outside[4]
    for salt in ("NaCl", "SiH4"):
        with pytest.raises(ValueError, match="was not in the training set"):
            predict("pretrained", molecule(salt))


def test_command_writes_every_property_with_its_doubt(tmp_path, capsys):
    (tmp_path / "two.smi").write_text(f"{ASPIRIN} aspirin\nO water\n")
    words = ["predict", "--pretrained", str(tmp_path / "two.smi")]
    assert main(words) == 0
    assert "gap_doubt (eV)" in (table := capsys.readouterr().out) and "aspirin" in table
    assert main([*words, "--output", str(tmp_path / "two.json")]) == 0
    content = json.loads((tmp_path / "two.json").read_text())
    water = content["predictions"][1]
    assert (
        len(water["charges"]) == len(water["charges_doubt"]) == 3 and "3 atoms" in water["outside"]
    )
    assert main([*words, "--output", str(tmp_path / "two.xyz")]) == 0
    assert "predicted_gap_doubt" in (tmp_path / "two.xyz").read_text()
    assert main(["predict", "--pretrained"]) == 2
    assert main(["predict", "nothing.pt"]) == 2


def test_calculator(model):
    from e3hyena.ase import HyenaCalculator

    atoms = molecule("C3H9N")
    atoms.calc = HyenaCalculator("pretrained")
    assert np.linalg.norm(atoms.get_dipole_moment()) / ase.units.Debye == pytest.approx(
        0.7, abs=0.6
    )
    charges = dict(zip(atoms.get_chemical_symbols(), atoms.get_charges(), strict=True))
    assert charges["N"] < -0.05 < charges["H"]
    with pytest.warns(UserWarning, match="odd number of electrons"):
        atoms.calc.calculate(ase.Atoms("NH4", molecule("CH4").positions))
