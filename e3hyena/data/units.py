"""Units of energies and lengths, converted by ASE."""

from e3hyena._extras import require

# Named as ASE names its constants; of a quotient, both parts are constants. Its own units are eV
# and Angstrom.
ENERGY_UNITS = ("eV", "kcal/mol", "kJ/mol", "Hartree", "Rydberg")
LENGTH_UNITS = ("Angstrom", "Bohr", "nm")


def energy_factor(given: str, wanted: str) -> float:
    """Number by which an energy in the unit `given` is multiplied to be in the unit `wanted`."""
    return _value(given, ENERGY_UNITS, "energy") / _value(wanted, ENERGY_UNITS, "energy")


def length_factor(given: str, wanted: str) -> float:
    """Number by which a length in the unit `given` is multiplied to be in the unit `wanted`."""
    return _value(given, LENGTH_UNITS, "length") / _value(wanted, LENGTH_UNITS, "length")


def _value(unit: str, known: tuple[str, ...], what: str) -> float:
    if unit not in known:
        raise ValueError(f"unit of {what} {unit!r} is unknown: use one of {', '.join(known)}")
    units = require("ase.units", "chem")
    name, _, per = unit.partition("/")
    return getattr(units, name) / (getattr(units, per) if per else 1.0)
