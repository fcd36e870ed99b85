"""Kinds of irreps that can be anything but zero."""

import pytest
from e3nn import o3

from e3hyena.nn.reach import fewest, kinds, on_the_way, with_kinds


def kinds_of(irreps: str) -> set[o3.Irrep]:
    return kinds(o3.Irreps(irreps))


@pytest.mark.parametrize(
    ("wanted", "way"),
    [
        ("0e", "0e"),
        ("1o", "0e + 1o"),
        ("3o", "0e + 3o"),
        ("1e", "0e + 1o + 1e"),
        ("2o", "0e + 1o + 2e + 2o"),
        ("0o", "0e + 1o + 1e + 0o"),
    ],
)
def test_on_the_way(wanted: str, way: str) -> None:
    assert on_the_way(kinds_of(wanted)) == kinds_of(way)


def test_fewest() -> None:
    needed = kinds_of("1o + 1e")
    own, more = kinds_of("1o"), kinds_of("0e + 1e + 2e")
    assert fewest(own, more, lambda found: needed <= found) == needed
    assert fewest(own, more, lambda found: found == own | more) == own | more
    assert fewest(own, more, lambda found: False) is None


def test_with_kinds() -> None:
    assert with_kinds(o3.Irreps("8x0e + 0x1e"), kinds_of("0e + 1e")) == o3.Irreps("8x0e + 8x1e")
    assert with_kinds(o3.Irreps("0x0e"), kinds_of("1o")) == o3.Irreps("1x1o")
