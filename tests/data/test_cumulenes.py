"""The embedded chains."""

from collections import Counter

import numpy as np
import pytest
import torch
from benchmarks.data import build_chains
from benchmarks.data.chains import straight, turn

from e3hyena.data import Cumulenes
from e3hyena.data.cumulenes import FILE
from e3hyena.models import HyenaNet
from e3hyena.testing import perturb_parameters


def test_parts() -> None:
    sizes = {split: len(Cumulenes(split)) for split in ("train", "val", "test", "scan")}
    assert sizes == {"train": 500, "val": 40, "test": 160, "scan": 19} and len(Cumulenes()) == 719
    chain = Cumulenes("train")[0]
    assert chain.pos.shape == chain.force.shape == (21, 3) and chain.energy.dtype == torch.float64
    assert chain.force.sum(dim=0).abs().max() < 0.02  # rounded to 1e-3 each
    with pytest.raises(ValueError, match="use one of train, val, test, scan"):
        Cumulenes("all")


def test_the_scan_is_the_straight_chain_turned() -> None:
    scan = Cumulenes("scan")
    expected = turn(straight(17)[1], 45)
    assert np.allclose(scan[9].pos, expected - expected.mean(axis=0), atol=1e-4)
    energies = [float(chain.energy) for chain in scan]
    assert energies[0] == 0 and energies == sorted(energies, reverse=True)


def test_a_local_network_gives_a_group_one_energy() -> None:
    group = [Cumulenes("test")[i] for i in range(8)]
    z, pos = torch.cat([c.z for c in group]), torch.cat([c.pos for c in group]).double()
    batch = torch.arange(8).repeat_interleave(21)
    net = HyenaNet("0e", irreps_hidden="4x0e + 4x1o", num_layers=2, mixer=None, cutoff=3.0).double()
    perturb_parameters(net)
    energy = net(z, pos, batch).detach()
    assert float(energy.std()) < 1e-3 * float(torch.cat([c.energy for c in group]).std())


@pytest.mark.slow
def test_rebuilt_as_it_is(tmp_path, monkeypatch) -> None:
    """The first chains of every part, for time's sake."""
    pytest.importorskip("tblite")
    monkeypatch.setattr(build_chains, "SIZES", {"train": 2, "val": 1, "test": 8})
    build_chains.build(tmp_path, tmp_path / "few.npz")
    with np.load(tmp_path / "few.npz") as few, np.load(FILE) as whole:
        assert set(few) == set(whole)
        places = np.searchsorted(whole["split"], range(4))
        counts = Counter(few["split"].tolist())
        chosen = [places[part] + i for part in range(4) for i in range(counts[part])]
        assert np.array_equal(few["pos"], whole["pos"][:, chosen])
