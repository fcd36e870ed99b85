"""Tiles hold every token once, whatever the graphs, and sums over them are sums over graphs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from e3hyena.ops.segments import Segments
from e3hyena.ops.tiles import WIDTH, TiledSegments

LENGTHS = st.lists(st.integers(0, 3 * WIDTH + 1), min_size=1, max_size=6).filter(any)


@given(LENGTHS, st.booleans())
def test_tiles_are_graphs_cut_into_pieces(lengths: list[int], by_ptr: bool) -> None:
    while not by_ptr and not lengths[-1]:
        lengths = lengths[:-1]  # a batch does not tell
    plain = Segments(tuple(lengths))
    number = sum(lengths)
    given = {"ptr": plain.ptr} if by_ptr else {"batch": plain.index}
    tiles = TiledSegments(number, **given)
    for name in ("sizes", "index", "position", "ptr", "starts"):
        assert torch.equal(getattr(tiles, name), getattr(plain, name))
    x = torch.randn(2, 3, number)
    dense = tiles.gather(x)
    assert torch.equal(tiles.scatter(dense), x)
    assert torch.equal(dense.count_nonzero(), x.count_nonzero())  # nothing twice, padding is zero
    sums = torch.zeros(2, 3, len(lengths)).index_add(2, plain.index, x)
    torch.testing.assert_close(tiles.sum(dense.sum(dim=3), dim=2), sums)
    of_tokens = tiles.scatter(tiles.spread(sums, dim=2)[..., None].expand(-1, -1, -1, WIDTH))
    assert torch.equal(of_tokens, sums[:, :, plain.index])


def test_sizes_are_not_known() -> None:
    with pytest.raises(ValueError, match=r"query_key, filter.*cannot be exported for any size"):
        _ = TiledSegments(3).lengths
