"""Cumulenes: geometry, labels, and the floor of local networks."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.data import chains
from benchmarks.data.chains import draw, floor, label, load, straight, turn, within_groups

from e3hyena.models import HyenaNet
from e3hyena.testing import perturb_parameters


def _dihedral(pos: np.ndarray) -> float:
    """Angle between the planes of the two ends, degrees, 0 to 90."""
    left, right = pos[0] - pos[1], pos[-2] - pos[-1]
    cosine = left @ right / np.linalg.norm(left) / np.linalg.norm(right)
    return float(np.rad2deg(np.arccos(min(1.0, abs(cosine)))))


@pytest.mark.parametrize("num_carbons", [3, 4, 17])
def test_geometry(num_carbons: int) -> None:
    z, pos = straight(num_carbons)
    assert z.tolist() == [1, 1, *[6] * num_carbons, 1, 1]
    bonds = [np.linalg.norm(a - b) for a, b in pairwise(pos[2:-2])]
    assert np.allclose(bonds, 1.28)
    for hydrogen, carbon, inner in ((0, 2, 3), (1, 2, 3), (-1, -3, -4), (-2, -3, -4)):
        a, b = pos[hydrogen] - pos[carbon], pos[inner] - pos[carbon]
        assert np.linalg.norm(a) == pytest.approx(1.09)
        assert np.rad2deg(np.arccos(a @ b / 1.09 / 1.28)) == pytest.approx(121.5)
    assert _dihedral(pos) == pytest.approx(0, abs=1e-5)
    assert _dihedral(turn(pos, 37.0)) == pytest.approx(37.0)
    with pytest.raises(ValueError, match="at least 3"):
        straight(2)


def test_few_are_the_first_of_many_and_splits_differ() -> None:
    many, few = draw("train", 9, 20), draw("train", 9, 5)
    assert np.array_equal(many.pos[:5], few.pos) and len(many.pos) == 20
    assert np.std(many.pos[:, 5:8, :2]) == pytest.approx(0.02, rel=0.2)
    assert 0 <= many.torsion.min() < 30 and 60 < many.torsion.max() <= 90
    assert len(np.unique(many.group)) == 20
    assert not np.allclose(draw("val", 9, 5).pos, few.pos)
    assert not np.allclose(draw("train", 9, 5, seed=1).pos, few.pos)


def test_local_networks_cannot_tell_the_chains_of_a_group_apart() -> None:
    """Exactly, with two layers of 4 A; a mixer can."""
    test = draw("test", 17, 16)
    assert np.bincount(test.group).tolist() == [8, 8]
    z, pos = torch.from_numpy(test.z), torch.from_numpy(test.pos)
    batch = torch.arange(16).repeat_interleave(21)
    spread = {}
    for mixer in (None, "coordinate"):
        torch.manual_seed(0)
        irreps = "4x0e + 4x1o + 4x2e"
        net = HyenaNet("0e", irreps_hidden=irreps, num_layers=2, mixer=mixer, cutoff=4.0).double()
        perturb_parameters(net)
        energy = net(z.repeat(16), pos.flatten(0, 1), batch).detach().numpy()[:, 0]
        spread[mixer] = np.abs(within_groups(energy, test.group)).max()
        assert abs(energy[0] - energy[8]) > 1e-6
    assert spread[None] < 1e-12 and spread["coordinate"] > 1e-6


def test_labels_and_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tblite")
    test = load(tmp_path, "test", 5, 8)
    again, force = label(test.z, test.pos[3])
    energy = again - label(*straight(5))[0]
    assert test.energy[3] == pytest.approx(energy, abs=1e-8)
    assert np.allclose(test.force[3], force, atol=1e-6)
    assert floor(test) == pytest.approx(np.std(test.energy))
    assert floor(test) > 0.2  # the barrier is 1.5 eV
    step = np.zeros_like(test.pos[3])
    step[2, 2] = 1e-3
    slope = (label(test.z, test.pos[3] + step)[0] - label(test.z, test.pos[3] - step)[0]) / 2e-3
    assert force[2, 2] == pytest.approx(-slope, abs=1e-3)
    monkeypatch.setattr(chains, "label", None)
    for mine, theirs in zip(load(tmp_path, "test", 5, 8), test, strict=True):
        assert np.array_equal(mine, theirs)
    with pytest.raises(ValueError, match="train, val, test"):
        load(tmp_path, "tests")


@pytest.mark.parametrize(("num_carbons", "barrier"), [(3, -2.43), (4, 2.08), (5, -1.51)])
def test_barriers(num_carbons: int, barrier: float) -> None:
    """Perpendicular ends with an odd number of carbons, planar with an even one."""
    pytest.importorskip("tblite")
    z, pos = straight(num_carbons)
    assert label(z, turn(pos, 90))[0] - label(z, pos)[0] == pytest.approx(barrier, abs=0.006)
