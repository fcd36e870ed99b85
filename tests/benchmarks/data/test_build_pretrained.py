"""The molecules and labels of the pretrained networks, and what is packed from trained runs."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rdkit")
pytest.importorskip("tblite")

from benchmarks.data import build_pretrained, pack_pretrained
from rdkit import Chem

from e3hyena.data import OwnMolecules
from e3hyena.training import train


def test_drawn_molecules_are_neutral_and_small_and_some_are_zwitterions():
    rng = np.random.default_rng(0)
    drawn = [build_pretrained.draw(["CCO", "C1CC1C#N", "NC=O"], rng) for _ in range(60)]
    molecules = [Chem.MolFromSmiles(smiles) for smiles in drawn]
    assert all(Chem.GetFormalCharge(molecule) == 0 for molecule in molecules)
    assert max(molecule.GetNumHeavyAtoms() for molecule in molecules) <= build_pretrained.MAX_HEAVY
    assert {"+", "S", "Cl"} <= {sign for sign in ("+", "S", "Cl") for name in drawn if sign in name}
    assert not set(drawn) & set(build_pretrained.HELD_OUT)


def test_labels_turn_with_the_molecule_and_the_gap_does_not():
    z = np.array([8, 1, 1])
    pos = np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])
    dipole, charges, gap = build_pretrained.labels(z, pos)
    turned, same, still = build_pretrained.labels(z, pos[:, [2, 0, 1]])
    np.testing.assert_allclose(turned, dipole[[2, 0, 1]], atol=1e-4)
    np.testing.assert_allclose(same, charges, atol=1e-5)
    assert still == pytest.approx(gap, abs=1e-4) and 10 < gap < 20 and abs(charges.sum()) < 1e-6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec")
def test_from_labels_to_the_card(tmp_path, monkeypatch):
    for part, size in (("train", 30), ("val", 12), ("test", 24)):
        build_pretrained.write(tmp_path / f"{part}.extxyz", part, size)
    assert len(OwnMolecules(tmp_path, "train", targets=build_pretrained.TARGETS)) == 30
    for seed in build_pretrained.SEEDS:
        config = build_pretrained.config(tmp_path, seed)
        small = replace(config.model, irreps_hidden="4x0e + 4x1o", num_layers=1)
        train(replace(config, model=small, optim=replace(config.optim, epochs=2)))
    # so few molecules lack some elements
    monkeypatch.setattr("e3hyena.training.prediction.check_structure", lambda *_: None)
    monkeypatch.setattr(pack_pretrained, "MEDICINES", pack_pretrained.MEDICINES[:1])
    pack_pretrained.pack(tmp_path, tmp_path / "packed")
    names = {file.name for file in (tmp_path / "packed").iterdir()}
    assert names == {"README.md", "limits.json", "seed0.pt", "seed1.pt", "seed2.pt"}
    assert "glycine, zwitterion" in (tmp_path / "packed" / "README.md").read_text()
