"""From a table of SMILES to a model, a parity plot and predictions: three commands."""

import csv
import json

import pytest

from e3hyena.cli import main

Chem = pytest.importorskip("rdkit.Chem")
from rdkit.Chem import Descriptors  # noqa: E402

OPTIONS = '{"targets": {"tpsa": {"unit": "A^2", "summed": true}}}'


def write_table(path, number):
    """Molecules of the extract with a property that RDKit knows, one in ten without."""
    from e3hyena.data import QM9Extract

    rows, molecules = ["smiles,tpsa"], QM9Extract("train")
    for i in range(number):
        smiles = molecules[i].smiles
        area = Descriptors.TPSA(Chem.MolFromSmiles(smiles))
        rows.append(f"{smiles},{'' if i % 10 == 3 else f'{area:.3f}'}")
    path.write_text("\n".join(rows) + "\n")


def three_commands(table, run, *options):
    source = ["--data.root", str(table), "--data.options", OPTIONS]
    assert main(["data", "describe", "--source=own", f"--root={table}", "--options", OPTIONS]) == 0
    train = ["train", "--preset", "own", *source, "--task", "tpsa", "--output", str(run)]
    assert main([*train, "--accelerator=cpu", *options]) == 0
    assert main(["predict", str(run), str(table), "--output", str(run / "all.csv")]) == 0
    with open(run / "all.csv") as file:
        return list(csv.DictReader(file)), json.loads((run / "results.json").read_text())


def test_three_commands(tmp_path, capsys):
    write_table(tmp_path / "own.csv", 30)
    small = ["--model.irreps_hidden=4x0e+4x1o", "--optim.epochs=2"]
    rows, results = three_commands(tmp_path / "own.csv", tmp_path / "run", *small)
    assert "tpsa" in capsys.readouterr().out
    assert len(rows) == 30 and all(float(row["tpsa (A^2)"]) for row in rows)
    assert (results["train_size"], results["val_size"], results["test_size"]) == (24, 3, 3)
    assert (tmp_path / "run" / "parity.png").read_bytes().startswith(b"\x89PNG")
    assert "OwnMolecules" in (tmp_path / "run" / "MODEL_CARD.md").read_text()


@pytest.mark.slow
def test_five_hundred_smiles(tmp_path):
    write_table(tmp_path / "own.csv", 500)
    rows, results = three_commands(tmp_path / "own.csv", tmp_path / "run")
    assert len(rows) == 500
    assert results["rows"]["model"]["ratio"] > 2, results["rows"]
