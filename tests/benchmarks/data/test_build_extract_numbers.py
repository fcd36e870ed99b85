import numpy as np
import pytest
from benchmarks.data.build_extract import encode
from hypothesis import given
from hypothesis import strategies as st

from e3hyena.data.extract import decode


@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1)), st.integers(0, 7))
def test_round_trip_is_exact(integers, decimals):
    values = np.array(integers, np.float64) / 10**decimals
    planes = encode(values, decimals)
    assert planes.dtype == np.uint8
    assert planes.shape == (4, len(integers))
    assert np.array_equal(decode(planes, decimals), values)


def test_shape_and_rounding():
    values = np.random.default_rng(0).normal(size=(5, 3))
    assert np.abs(decode(encode(values, 4), 4) - values).max() <= 0.5e-4


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e9])
def test_numbers_that_do_not_fit(bad):
    with pytest.raises(ValueError, match="do not fit 32 bits with 0 decimals"):
        encode(np.array([1.0, bad]), 0)
