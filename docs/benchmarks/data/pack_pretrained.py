"""From trained runs to the files of the package: networks, calibration, card."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.data.build_pretrained import MAX_HEAVY, SEEDS, SHAKE, SIZES, labels
from e3hyena.data import QM9Extract
from e3hyena.data.readers.base import Structure
from e3hyena.data.readers.smiles import from_smiles
from e3hyena.data.structures import read_structures
from e3hyena.training import Ensemble, load_predictor, predict
from e3hyena.training.ensemble import PRETRAINED
from e3hyena.training.files import read_json, write_json, write_text

__all__ = ["pack"]

COVERED = 0.9
NAMED = {
    "water": "O",
    "glycine": "NCC(=O)O",
    "glycine, zwitterion": "[NH3+]CC(=O)[O-]",
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "caffeine": "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "sulfamethoxazole": "Cc1cc(NS(=O)(=O)c2ccc(N)cc2)no1",
    "diazepam": "CN1C(=O)CN=C(c2ccccc2)c2cc(Cl)ccc21",
}
MEDICINES = (
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O CN1CCCC1c1cccnc1 CCN(CC)CC(=O)Nc1c(C)cccc1C "
    "CC(=O)CC(c1ccccc1)c1c(O)c2ccccc2oc1=O COc1ccc2[nH]cc(CCNC(C)=O)c2c1 CN(C)C(=N)NC(N)=N "
    "CNCCC(Oc1ccc(cc1)C(F)(F)F)c1ccccc1 COc1ccc2cc(ccc2c1)C(C)C(=O)O NCCc1ccc(O)c(O)c1 "
    "NCCc1c[nH]c2ccc(O)cc12 O=C(O)c1cn(C2CC2)c2cc(N3CCNCC3)c(F)cc2c1=O "
    "CC1(C)SC2C(NC(=O)Cc3ccccc3)C(=O)N2C1C(=O)O"
).split()
HEADS = {"dipole": "dipole, length of error (D)", "charges": "charges (e)", "gap": "gap (eV)"}


def pack(folder: Path, out: Path = PRETRAINED) -> None:
    """Write ``seed*.pt``, ``limits.json`` and the card ``README.md``."""
    out.mkdir(exist_ok=True)
    for seed in SEEDS:
        shutil.copy(folder / f"seed{seed}" / "model.pt", out / f"seed{seed}.pt")
    members = [load_predictor(out / f"seed{seed}.pt") for seed in SEEDS]
    sizes = [len(one.atoms) for one in read_structures(folder / "train.extxyz")]
    limits: dict[str, Any] = {
        "atoms": (int(np.quantile(sizes, 0.01)), max(sizes)),
        "calibration": dict.fromkeys(HEADS, (1.0, 0.0)),
    }
    # Molecules that were drawn are more like those of users than QM9's are.
    published = {molecule.smiles for molecule in QM9Extract()}
    kept = [one for one in read_structures(folder / "val.extxyz") if one.name not in published]
    found = compare(Ensemble(members, limits), kept)
    for name in HEADS:
        error, spread = (np.concatenate([row[name][i] for row in found]) for i in (0, 1))
        floor = float(np.median(spread))
        limits["calibration"][name] = (float(np.quantile(error / (spread + floor), COVERED)), floor)
    write_json(out / "limits.json", limits)
    write_text(out / "README.md", card(folder, Ensemble(members, limits)))


def compare(model: Ensemble, structures: list[Structure]) -> list[dict[str, Any]]:
    """Errors and doubts of every quantity, molecule by molecule, and what was predicted."""
    found = predict(model, structures)
    assert found.atoms is not None and found.doubts is not None
    columns = {part.name: values for part, values in found.parts}
    rows = []
    for i, structure in enumerate(structures):
        atoms = structure.atoms
        known = {**atoms.info, **(atoms.calc.results if atoms.calc else {})}
        charges = found.atoms["charges"][i][:, 0].numpy()
        row = {
            "dipole": torch.tensor(known["dipole"]).sub(columns["dipole"][i]).norm()[None].numpy(),
            "gap": abs(known["gap"] - columns["gap"][i].numpy()),
            "charges": abs(known["charges"] - charges),
        }
        doubts = {
            "charges": found.atoms["charges_doubt"][i][:, 0].numpy(),
            **{name: found.doubts[name][i].numpy() for name in ("dipole", "gap")},
        }
        rows.append(
            {name: (row[name], doubts[name]) for name in HEADS}
            | {"name": structure.name, "known": known}
            | {
                "dipole_length": float(columns["dipole"][i].norm()),
                "gap_value": float(columns["gap"][i]),
            }
        )
    return rows


def labelled(smiles: dict[str, str]) -> list[Structure]:
    """Molecules of SMILES with their labels."""
    found = []
    for name, text in smiles.items():
        structure = from_smiles(text, name)
        values = labels(structure.atoms.numbers, structure.atoms.positions)
        structure.atoms.info |= dict(zip(("dipole", "charges", "gap"), values, strict=True))
        found.append(structure)
    return found


def card(folder: Path, model: Ensemble) -> str:
    """The model card."""
    test = compare(model, read_structures(folder / "test.extxyz"))
    published = {molecule.smiles for molecule in QM9Extract()}
    drawn = [row for row in test if row["name"] not in published]
    charged = [row for row in drawn if re.search(r"\[[nN]H\d?\+\]", row["name"])]
    groups = {
        "molecules of QM9": [row for row in test if row["name"] in published],
        "two pieces joined": [row for row in drawn if row not in charged],
        "zwitterions": charged,
        "medicines": compare(model, labelled({name: name for name in MEDICINES})),
    }
    guess = read_json(folder / "seed0" / "results.json", "rows")["rows"]["mean_predictor"]["test"]
    metrics = {"dipole": "dipole_vector_error", "charges": "charges_mae", "gap": "gap_mae"}
    errors = [
        f"| {title} | {len(rows)} | "
        + " | ".join(
            f"{joined(rows, name, 0).mean():.3f} ({100 * share(rows, name):.0f} %)"
            for name in HEADS
        )
        + " |"
        for title, rows in groups.items()
        if rows
    ]
    guesses = " | ".join(f"{guess[metrics[name]]:.3f}" for name in HEADS)
    sizes = f"{SIZES['train']:,} molecules for training, {SIZES['val']:,} for choosing"
    return (
        Path(__file__)
        .with_name("pretrained_card.md")
        .read_text(encoding="utf-8")
        .format(
            parameters=f"{sum(p.numel() for p in model.members[0].parameters()):,}",
            atoms="{} to {}".format(*model.limits["atoms"]),
            sizes=sizes,
            heavy=MAX_HEAVY,
            shake=SHAKE,
            test=len(test),
            heads=" | ".join(HEADS.values()),
            errors="\n".join(errors),
            guesses=guesses,
            named="\n".join(named_rows(compare(model, labelled(NAMED)))),
        )
    )


def joined(rows: list[dict[str, Any]], name: str, which: int) -> np.ndarray:
    """Errors (0) or doubts (1) of all molecules, or atoms."""
    return np.concatenate([row[name][which] for row in rows])


def share(rows: list[dict[str, Any]], name: str) -> float:
    """How many errors are below the doubt."""
    return float((joined(rows, name, 0) <= joined(rows, name, 1)).mean())


def named_rows(rows: list[dict[str, Any]]) -> list[str]:
    """Predicted, with doubt, beside GFN2-xTB."""
    return [
        f"| {row['name']} | {row['dipole_length']:.2f} ± {row['dipole'][1][0]:.2f} | "
        f"{np.linalg.norm(row['known']['dipole']):.2f} | {row['gap_value']:.2f} ± "
        f"{row['gap'][1][0]:.2f} | {row['known']['gap']:.2f} | {row['charges'][0].mean():.3f} |"
        for row in rows
    ]
