"""Structures that a trained network may answer for, and what it is not told of them."""

import warnings

from e3hyena._extras import require
from e3hyena.data.structures import Structure
from e3hyena.registry import CATALOGUE
from e3hyena.training.checkpoint import ModelInfo

NAMED = 5  # molecules that a warning names


def warn_of_notes(structures: list[Structure]) -> None:
    """Say once what the network is not told of these molecules."""
    noted = [structure for structure in structures if structure.notes]
    if noted:
        named = "; ".join(f"{one.where}: {', '.join(one.notes)}" for one in noted[:NAMED])
        more = f"; and {len(noted) - NAMED} more" if len(noted) > NAMED else ""
        warnings.warn(
            "the network sees elements and positions only and was not told of charge, spin or "
            f"missing atoms, so that these predictions may mean nothing: {named}{more}",
            stacklevel=3,
        )


def check_structure(structure: Structure, info: ModelInfo) -> None:
    """Refuse elements that the model has not seen, and cells where its data had none."""
    symbols = require("ase.data", "chem").chemical_symbols
    unknown = sorted(set(structure.atoms.numbers.tolist()) - set(info.elements))
    if unknown:
        raise ValueError(
            f"{structure.where}: element {', '.join(symbols[z] for z in unknown)} was not in the "
            f"training set; this model knows {', '.join(symbols[z] for z in info.elements)}"
        )
    source = CATALOGUE.get(info.config.get("data", {}).get("source", ""))  # absent in early files
    if structure.atoms.pbc.any() and source is not None and not source.cells:
        raise ValueError(
            f"{structure.where}: it is periodic, but the model was trained on the molecules of "
            f"{source.name}; set pbc to F"
        )
