import numpy as np
import pytest

from e3hyena.data.centring import centred


@pytest.mark.parametrize("shift", [0, 1e2, 1e6, -1e9])
def test_every_molecule_about_its_own_mean(shift):
    random = np.random.default_rng(0)
    counts = np.array([3, 1, 5])
    pos = random.standard_normal((9, 3))
    moved = centred(pos + shift * np.repeat([1, 2, 3], counts)[:, None], counts)
    start = 0
    for count in counts:
        own = pos[start : start + count]
        expected = own - own.mean(axis=0)
        assert np.allclose(moved[start : start + count], expected, atol=1e-15 * abs(shift) + 1e-14)
        start += count


def test_single_precision_is_widened_first():
    assert centred(np.ones((2, 3), np.float32)).dtype == np.float64
    assert centred(np.zeros((0, 3))).shape == (0, 3)
