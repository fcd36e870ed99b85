"""Ragged batches: what is read, what is refused, and the way to dense groups and back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from e3hyena.ops.segments import DenseGroups, Segments

LENGTHS = [
    (),
    (0,),
    (1,),
    (5,),
    (4, 4, 4),
    (0, 3, 3, 0),
    (3, 0, 5, 1),
    (9, 2, 8, 0, 17, 2, 300),
]
lengths_of = pytest.mark.parametrize("lengths", LENGTHS, ids=str)
both = pytest.mark.parametrize("kind", ["exact", "similar"])
ragged = st.lists(st.integers(0, 40), max_size=8).map(tuple)


def batch_of(lengths):
    return torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths).long())


def ptr_of(lengths):
    return torch.tensor((0, *lengths)).cumsum(0)


def packed(lengths, dtype=torch.float64):
    """Features ``(2, 3, num_tokens)``."""
    return torch.randn(2, 3, sum(lengths), dtype=dtype)


@lengths_of
def test_ptr_names_all_graphs(lengths):
    segments = Segments.build(sum(lengths), ptr=ptr_of(lengths))
    assert segments.lengths == lengths
    assert segments.num_graphs == len(lengths)
    assert segments.sizes.tolist() == list(lengths)
    assert segments.starts.tolist() == ptr_of(lengths)[:-1].tolist()
    assert segments.index.tolist() == batch_of(lengths).tolist()
    assert segments.position.tolist() == [i for length in lengths for i in range(length)]
    tensors = segments.sizes, segments.starts, segments.index, segments.position
    assert all(tensor.dtype == torch.long for tensor in tensors)


@given(lengths=ragged)
def test_batch_and_ptr_agree_but_for_trailing_empty_graphs(lengths):
    by_batch = Segments.build(sum(lengths), batch_of(lengths))
    by_both = Segments.build(sum(lengths), batch_of(lengths), ptr_of(lengths))
    missing = len(lengths) - by_batch.num_graphs
    assert by_batch.lengths + (0,) * missing == by_both.lengths == lengths
    assert not any(lengths[by_batch.num_graphs :])
    assert by_batch.index.tolist() == by_both.index.tolist()


def test_without_batch_all_tokens_are_one_graph():
    assert Segments.build(7).lengths == (7,)
    assert Segments.build(0).lengths == (0,)


def test_a_gap_in_batch_is_an_empty_graph():
    assert Segments.build(3, torch.tensor([1, 1, 4])).lengths == (0, 2, 0, 0, 1)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8])
def test_any_integer_type(dtype):
    assert Segments.build(3, torch.tensor([0, 1, 1], dtype=dtype)).lengths == (1, 2)
    assert Segments.build(3, ptr=torch.tensor([0, 1, 3], dtype=dtype)).lengths == (1, 2)


def test_segments_pass_through():
    segments = Segments.build(5, torch.tensor([0, 0, 1, 1, 1]))
    assert Segments.build(5, segments) is segments
    with pytest.raises(ValueError, match=r"5 tokens.*6 tokens"):
        Segments.build(6, segments)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([0, 1, 0], r"unsorted.*torch\.argsort"),
        ([-1, 0, 0], "negative graph index -1"),
        ([0, 0], "2 entries for 3 tokens"),
        ([0, 0, 0, 0], "4 entries for 3 tokens"),
        ([], "0 entries for 3 tokens"),
    ],
)
def test_wrong_batch(batch, message):
    with pytest.raises(ValueError, match=message):
        Segments.build(3, torch.tensor(batch, dtype=torch.long))


@pytest.mark.parametrize("ptr", [[], [1, 3], [0, 2], [0, 4], [0, 2, 1, 3], [0, 4, 3]])
def test_wrong_ptr(ptr):
    with pytest.raises(ValueError, match=r"ptr=.*from 0 to the number of tokens, 3"):
        Segments.build(3, ptr=torch.tensor(ptr, dtype=torch.long))


@pytest.mark.parametrize("name", ["batch", "ptr"])
@pytest.mark.parametrize(
    "value, said",
    [
        (torch.zeros(3), r"has dtype torch\.float32"),
        (torch.zeros(3, dtype=torch.bool), r"has dtype torch\.bool"),
        (torch.zeros(3, 1).long(), r"tensor, not shape \(3, 1\)"),
        ([0, 0, 0], "tensor, not list"),
    ],
    ids=["float", "bool", "two dimensions", "list"],
)
def test_not_an_integer_tensor(name, value, said):
    with pytest.raises(TypeError, match=f"{name} .*{said}"):
        Segments.build(3, **{name: value})


def test_batch_and_ptr_that_disagree():
    with pytest.raises(ValueError, match="batch and ptr name different graphs"):
        Segments.build(3, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 3]))
    with pytest.raises(ValueError, match="batch and ptr name different graphs"):
        Segments.build(3, torch.tensor([0, 0, 1]), torch.tensor([0, 3]))


# --- dense groups


@both
@lengths_of
def test_groups_hold_every_graph_with_tokens_once(lengths, kind):
    segments = Segments(lengths)
    groups = getattr(segments, kind).groups
    graphs = [graph for group in groups for graph in group.graphs]
    assert sorted(graphs) == [graph for graph, length in enumerate(lengths) if length]
    for group in groups:
        assert group.lengths == tuple(lengths[graph] for graph in group.graphs)
        assert group.size == max(group.lengths)
        assert group.padded == (min(group.lengths) < group.size)
        assert not (kind == "exact" and group.padded)
        expected = [[place < n for place in range(group.size)] for n in group.lengths]
        assert DenseGroups._mask(group).tolist() == expected


@given(lengths=ragged)
def test_padding_less_than_doubles_a_batch_of_large_graphs(lengths):
    """Each rung of the ladder is at most twice the one below, the first one is 8."""
    groups = Segments(lengths).similar.groups
    assert all(group.size <= max(8, 2 * min(group.lengths)) for group in groups)


@both
@given(lengths=ragged)
def test_gather_puts_tokens_in_their_rows_and_scatter_brings_them_back(kind, lengths):
    dense = getattr(Segments(lengths), kind)
    x, start = packed(lengths), ptr_of(lengths).tolist()
    parts = dense.gather(x)
    for group, part in zip(dense.groups, parts, strict=True):
        assert part.shape == (2, 3, len(group.graphs), group.size)
        for row, (graph, length) in enumerate(zip(group.graphs, group.lengths, strict=True)):
            assert torch.equal(part[:, :, row, :length], x[..., start[graph] : start[graph + 1]])
            assert not part[:, :, row, length:].any()
    assert torch.equal(dense.scatter(parts, x), x)


@both
@lengths_of
def test_scatter_drops_padding(lengths, kind):
    dense = getattr(Segments(lengths), kind)
    x = packed(lengths)
    parts = []
    for group, part in zip(dense.groups, dense.gather(x), strict=True):
        parts.append(torch.where(DenseGroups._mask(group), part, float("nan")))
    assert torch.equal(dense.scatter(parts, x), x)


@both
@pytest.mark.parametrize("graph", [0, 2, 4])
def test_nan_stays_in_its_graph(kind, graph):
    lengths = (5, 0, 7, 5, 3)
    segments = Segments(lengths)
    dense = getattr(segments, kind)
    x = packed(lengths)
    mine = segments.index == graph
    x[..., mine] = float("nan")
    parts = dense.gather(x)
    for group, part in zip(dense.groups, parts, strict=True):
        assert not part[..., ~DenseGroups._mask(group)].any()  # NaN would be true
    sums = dense.scatter([part.cumsum(-1) for part in parts], x)
    assert sums.isnan().any(0).any(0).tolist() == mine.tolist()


@both
@pytest.mark.parametrize("lengths", [(2, 2), (0, 2, 0, 3, 1, 2), (1,)], ids=str)
def test_gather_and_scatter_can_be_differentiated_twice(lengths, kind):
    dense = getattr(Segments(lengths), kind)
    x = packed(lengths)[:, :1].requires_grad_()

    def gathered(x):
        return tuple(part.sin() for part in dense.gather(x))

    def there_and_back(x):
        return dense.scatter([part.sin() * (1 + part).square() for part in dense.gather(x)], x)

    for function in (gathered, there_and_back):
        assert gradcheck(function, x)
        assert gradgradcheck(function, x)


@both
def test_no_gradient_between_graphs(kind):
    lengths = (3, 4, 0, 4, 2)
    dense = getattr(Segments(lengths), kind)
    x = packed(lengths).requires_grad_()
    parts = [part.cumsum(-1).sin() for part in dense.gather(x)]
    dense.scatter(parts, x)[..., 3:7].sum().backward()  # graph 1
    touched = x.grad.ne(0).any(0).any(0)
    assert touched.tolist() == [False] * 3 + [True] * 4 + [False] * 6


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_is_kept(kind, dtype):
    lengths = (3, 1, 0, 4)
    dense = getattr(Segments(lengths), kind)
    x = packed(lengths, dtype)
    parts = dense.gather(x)
    assert {part.dtype for part in parts} == {dtype} == {dense.scatter(parts, x).dtype}


@both
def test_other_widths_share_the_groups(kind):
    """Dense groups know tokens only: any ``(C, d)`` passes, also on the way back."""
    lengths = (3, 1, 0, 4)
    dense = getattr(Segments(lengths), kind)
    x, like = torch.randn(1, 5, 8), torch.zeros(2, 3, 8)
    assert torch.equal(dense.scatter(dense.gather(x), like), x)


@both
def test_empty_batch(kind):
    for lengths in ((), (0,), (0, 0)):
        dense = getattr(Segments(lengths), kind)
        like = torch.zeros(2, 7, 0)
        assert dense.gather(torch.zeros(2, 3, 0)) == []
        assert dense.scatter([], like).shape == like.shape
