import re

import numpy as np
import pytest
import torch
from e3nn import o3
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.datasets import qm9 as pyg

from e3hyena.data import TARGETS, QM9Extract
from e3hyena.data.targets import COLUMNS, raw_to_targets

# Methane as published, in the order of COLUMNS, and its atomization energies in kcal/mol.
METHANE = [
    *(0.0, 13.21, -0.3877, 0.1171, 0.5048, 35.3641, 0.044749),
    *(-40.47893, -40.476062, -40.475117, -40.498597, 6.469),
    *(157.7118, 157.70997, 157.70699),
]
METHANE_ATOMIZATION = [-395.999594594, -398.643290011, -401.014646522, -372.471772148]


def test_table():
    scalars = [target for target in TARGETS.values() if target.index is not None]
    assert [target.index for target in scalars] == list(range(19))
    assert all(name == target.name for name, target in TARGETS.items())
    assert all(o3.Irreps(target.irreps).num_irreps == 1 for target in TARGETS.values())
    assert {target.irreps for target in scalars} == {"0e"}
    assert TARGETS["dipole"].irreps == "1o"


def test_units_follow_pyg_conversion():
    """PyG multiplies by its `conversion` exactly where the unit is eV (column 12 on: kcal/mol)."""
    for target in list(TARGETS.values())[:12]:
        factor = pyg.HAR2EV if target.unit == "eV" else 1.0
        assert float(pyg.conversion[target.index]) == pytest.approx(factor, rel=1e-7)
    assert [t.name for t in TARGETS.values() if t.unit == "GHz"] == ["A", "B", "C"]


def test_order_and_units_are_those_of_pyg():
    """PyG publishes both as the table in the documentation of its QM9."""
    units = {
        *(("D", "D"), ("{a_0}^3", "a0^3"), ("{a_0}^2", "a0^2"), ("eV", "eV"), ("GHz", "GHz")),
        (r"\frac{cal}{mol K}", "cal/(mol K)"),
    }
    begins = {
        "mu": r"\mu",
        "alpha": r"\alpha",
        "homo": r"\epsilon_{HOMO}",
        "gap": r"\Delta",
        "lumo": r"\epsilon_{LUMO}",
        "r2": r"\langle R^2",
        "zpve": "ZPVE",
        "cv": "c_{v}",
        "U0": "U_0",
        "U0_atom": "U_0^{ATOM}",
        "U_atom": "U^{ATOM}",
        "H_atom": "H^{ATOM}",
        "G_atom": "G^{ATOM}",
    }
    plain = re.sub(r"\\textrm{([^}]*)}|:math:`([^`]*)`", r"\1\2", pyg.QM9.__doc__)
    plain = re.sub(r"\\textrm{([^}]*)}", r"\1", plain)
    rows = re.findall(r"\| (\d+) +\| (\S.*?) *\| .*? \| (\S.*?) *\|\n", plain)
    assert [int(index) for index, _, _ in rows] == list(range(19))
    for index, symbol, unit in rows:
        target = list(TARGETS.values())[int(index)]
        assert target.index == int(index)
        assert symbol.startswith(begins.get(target.name, target.name))
        assert (unit, target.unit) in units


def test_methane_as_pyg():
    y = raw_to_targets(np.array([METHANE]), np.array([6, 1, 1, 1, 1]), np.array([5]))
    published = torch.tensor(METHANE[:12] + METHANE_ATOMIZATION + METHANE[12:])
    assert y.shape == (1, 19)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y[0], published * pyg.conversion, rtol=1e-5, atol=0)


@given(st.lists(st.integers(1, 29), min_size=1, max_size=5), st.integers(0, 2**16))
def test_atomization_is_total_minus_atoms(counts, seed):
    rng = np.random.default_rng(seed)
    raw = rng.uniform(-50, 50, (len(counts), len(COLUMNS)))
    z = rng.choice([1, 6, 7, 8, 9], sum(counts))
    y = raw_to_targets(raw, z, np.array(counts)).double()
    last = np.cumsum(counts)
    for row, (end, count) in enumerate(zip(last, counts, strict=True)):
        for k in range(4):
            order = {1: 0, 6: 1, 7: 2, 8: 3, 9: 4}
            atoms = sum(pyg.atomrefs[7 + k][order[i]] for i in z[end - count : end])
            expected = pyg.HAR2EV * raw[row, 7 + k] - atoms
            assert float(y[row, 12 + k]) == pytest.approx(expected, rel=1e-6, abs=1e-3)


def test_of():
    molecule = QM9Extract("val")[3]
    assert torch.equal(TARGETS["gap"].of(molecule), molecule.y[:, 4:5])
    assert torch.equal(TARGETS["dipole"].of(molecule), molecule.dipole)
    del molecule.dipole
    with pytest.raises(ValueError, match=r"'dipole'.*QM9Extract has it"):
        TARGETS["dipole"].of(molecule)
