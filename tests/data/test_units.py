import pytest

from e3hyena.data.units import ENERGY_UNITS, LENGTH_UNITS, energy_factor, length_factor


def test_factors_are_the_published_ones():
    assert energy_factor("Hartree", "kcal/mol") == pytest.approx(627.5095, abs=1e-3)
    assert energy_factor("eV", "kJ/mol") == pytest.approx(96.4853, abs=1e-3)
    assert energy_factor("Rydberg", "Hartree") == pytest.approx(0.5)
    assert length_factor("nm", "Angstrom") == pytest.approx(10)


@pytest.mark.parametrize("factor", [energy_factor, length_factor])
def test_there_and_back_is_one(factor):
    units = ENERGY_UNITS if factor is energy_factor else LENGTH_UNITS
    for given in units:
        for wanted in units:
            assert factor(given, wanted) * factor(wanted, given) == pytest.approx(1)


def test_unknown_units_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unit of energy 'joule' is unknown: use one of eV"):
        energy_factor("joule", "eV")
    with pytest.raises(ValueError, match="unit of length 'mile' is unknown: use one of Angstrom"):
        length_factor("Angstrom", "mile")
