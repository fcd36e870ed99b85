"""With a wheel made here: no network."""

import zipfile

import numpy as np
import pytest
import torch

from e3hyena.data import MD17Ethanol, md17

FRAME = """   9
  {energy}
C       0.45998423     -0.13402741     -0.38149377      0.03725021      0.00255395     -0.00297219
C      -1.08503757     -0.18668855     -0.70739706      0.01466442     -0.03849773     -0.00287445
O       0.63320073      0.34857790      0.96004736     -0.03041850     -0.05188480      0.03728054
H       0.66044727     -1.18971514     -0.31044642     -0.01889792      0.01630660      0.01234007
H       1.12499407      0.39646951     -1.11250080      0.01168768      0.00503003     -0.01242474
H      -1.61877352      0.80043915     -0.97438596     -0.02103924      0.01736866     -0.00762434
H      -1.37298351     -0.85103728     -1.50934231     -0.00523914      0.01077300      0.01136568
H      -1.66049066     -0.53890454      0.18361117     -0.01032167     -0.00046999      0.00458850
H       0.26297997     -0.33017727      1.45919881      0.02233052      0.03882035     -0.03969332
"""
ENERGIES = np.round(-154.9 + 0.001 * np.arange(20), 6)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder with a wheel of 20 frames that differ in their energy."""
    monkeypatch.setattr(md17, "NUM_FRAMES", 20)
    monkeypatch.setattr(
        md17, "SPLITS", {"train": slice(0, 12), "val": slice(12, 16), "test": slice(16, None)}
    )
    (tmp_path / "raw").mkdir()
    with zipfile.ZipFile(tmp_path / "raw" / md17.WHEEL, "w") as wheel:
        wheel.writestr(md17.MEMBER, "".join(FRAME.format(energy=e) for e in ENERGIES))
    return tmp_path


def test_frames_have_the_units_of_pyg(root):
    dataset = MD17Ethanol(root)
    assert len(dataset) == 20 and dataset.energy_unit == "kcal/mol"
    item = dataset[3]
    assert item.z.tolist() == [6, 6, 8, 1, 1, 1, 1, 1, 1] and item.pos.dtype == torch.float32
    assert float(item.energy) == pytest.approx(ENERGIES[3] * 627.5094738, rel=1e-8)
    first = np.array([line.split()[1:4] for line in FRAME.splitlines()[2:]], dtype=float)
    assert np.allclose(item.pos, first - first.mean(axis=0), atol=1e-6)
    # a gradient of +0.0373 Hartree/bohr is a force of -44.2 kcal/mol/A
    assert float(item.force[0, 0]) == pytest.approx(-0.03725021 * 627.5094738 / 0.529177211)
    assert len(torch.load(root / "processed" / "ethanol_v2.pt", weights_only=True)) == 2


def test_other_units_share_the_processed_file(root):
    kcal, ev = MD17Ethanol(root)[0], MD17Ethanol(root, energy_unit="eV")[0]
    assert float(kcal.energy / ev.energy) == pytest.approx(23.0605, abs=1e-3)
    assert torch.allclose(kcal.force / ev.force, torch.tensor(23.0605), atol=1e-3)
    assert torch.equal(kcal.pos, ev.pos)


def test_splits_are_disjoint_complete_and_always_the_same(root):
    parts = [
        [float(item.energy) for item in MD17Ethanol(root, split)]
        for split in ("train", "val", "test")
    ]
    assert [len(part) for part in parts] == [12, 4, 4]
    assert len({energy for part in parts for energy in part}) == 20
    assert parts[0] != sorted(parts[0]), "drawn at random"
    assert parts[0] == [float(item.energy) for item in MD17Ethanol(root, "train")]


def test_the_description_names_units_and_sizes(root):
    text = MD17Ethanol(root, "val").describe()
    assert "4 molecules, 36 atoms" in text and "kcal/mol/A" in text and "1, 6, 8" in text


def test_wrong_arguments_and_damaged_wheels_are_refused(root):
    with pytest.raises(ValueError, match="split='all' is unknown: use one of train, val, test"):
        MD17Ethanol(root, "all")
    with pytest.raises(ValueError, match="unit of energy 'J' is unknown"):
        MD17Ethanol(root, energy_unit="J")
    (root / "raw" / md17.WHEEL).write_bytes(b"half a wheel")
    with pytest.raises(ValueError, match="not an intact wheel of molpipx"):
        MD17Ethanol(root)


def test_a_flipped_bit_in_the_processed_file_is_noticed(root):
    MD17Ethanol(root)
    path = root / "processed" / "ethanol_v2.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"ethanol_v2\.pt' is damaged .*delete it"):
        MD17Ethanol(root)
    path.unlink()
    MD17Ethanol(root)
