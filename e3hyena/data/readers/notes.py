"""What a file says of a molecule that no network is told."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from e3hyena._extras import require
from e3hyena.data.readers.base import short

# Keys, and the values that say nothing unusual.
USUAL = {
    **dict.fromkeys(("charge", "total_charge", "net_charge"), (0,)),
    **dict.fromkeys(("multiplicity", "spin_multiplicity"), (1,)),
    **dict.fromkeys(("unpaired_electrons", "uhf"), (0,)),
    "spin": (0, 1),  # a spin, or a multiplicity
}
SATURATED = 3.3  # sum of bond orders below which a carbon misses a neighbour


def notes_of(atoms: Any, info: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Charge, spin, missing hydrogens."""
    info = atoms.info if info is None else info
    notes = [
        short(f"{key} {value}", 60)
        for key, value in info.items()
        if str(key).lower() in USUAL and not _is_one_of(value, USUAL[str(key).lower()])
    ]
    charges = atoms.get_initial_charges()
    if atoms.calc is not None:
        charges = getattr(atoms.calc, "results", {}).get("charges", charges)
    if not any("charge" in note for note in notes) and abs(np.sum(charges)) > 0.5:
        notes.append(f"charges of its atoms that add up to {np.sum(charges):+.2f}")
    if atoms.get_initial_magnetic_moments().any():
        notes.append("initial magnetic moments")
    if _has_bare_carbon(atoms):
        notes.append("no hydrogens, but a carbon without four bonds")
    return tuple(notes)


def _is_one_of(value: Any, usual: tuple[int, ...]) -> bool:
    try:
        return float(value) in usual
    except (TypeError, ValueError):
        return False


def _has_bare_carbon(atoms: Any) -> bool:
    """A carbon whose bond orders (Pauling's, from bond lengths) leave room for hydrogens."""
    numbers = atoms.numbers
    if len(numbers) < 3 or (numbers == 1).any() or not (numbers == 6).any():
        return False
    if not np.isfinite(atoms.positions).all():
        return False
    from scipy.spatial import cKDTree

    radii = require("ase.data", "chem").covalent_radii
    tree = cKDTree(atoms.positions)
    for carbon in np.flatnonzero(numbers == 6)[:100]:  # enough to tell
        near = [i for i in tree.query_ball_point(atoms.positions[carbon], 2.5) if i != carbon]
        length = np.linalg.norm(atoms.positions[near] - atoms.positions[carbon], axis=1)
        if np.exp((radii[numbers[near]] + radii[6] - length) / 0.3).sum() < SATURATED:
            return True
    return False
