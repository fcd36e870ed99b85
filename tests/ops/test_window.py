"""Tokens within a radius, every token itself among them."""

import pytest
import torch
from torch import Tensor

from e3hyena.ops import window as windows
from e3hyena.ops.cells import Cells
from e3hyena.ops.neighbours import neighbours
from e3hyena.ops.segments import Segments
from e3hyena.ops.window import Window

LENGTHS = [(40,), (12, 0, 70, 1), (100, 33), ()]


def bump(square: Tensor, radius: float) -> Tensor:
    """Nothing beyond the radius."""
    return (1 - square / radius**2).clamp(min=0) ** 3


def heard(window: Window, x: Tensor) -> Tensor:
    """Sums of ``(T, D)`` within the window."""
    return window.sum(
        lambda target, source, square: bump(square, window.radius) @ windows.take(x, source)
    )


@pytest.mark.parametrize("block", [2**17, 2000])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_is_the_sum_over_all_pairs(
    lengths: tuple[int, ...], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "BLOCK", block)
    generator = torch.Generator().manual_seed(0)
    segments = Segments(lengths)
    pos = 3 * torch.rand(sum(lengths), 3, dtype=torch.float64, generator=generator)
    x = torch.randn(len(pos), 2, dtype=torch.float64, generator=generator)
    pos, x = pos.requires_grad_(), x.requires_grad_()
    square = (pos[:, None] - pos).square().sum(dim=-1)
    same = segments.index[:, None] == segments.index
    wanted = torch.where(same, bump(square, 1.5), 0) @ x
    found = heard(Window(pos, 1.5, segments), x)
    torch.testing.assert_close(found, wanted)
    slopes = [torch.autograd.grad(y.square().sum(), (pos, x)) for y in (found, wanted)]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, True, False)])
@pytest.mark.parametrize("edge", [2.0, 7.0])
def test_images_are_those_of_the_neighbour_list(pbc: tuple[bool, ...], edge: float) -> None:
    """Atoms outside of their cell, cells smaller and larger than the radius, gradients of both."""
    generator = torch.Generator().manual_seed(1)
    segments = Segments((5, 70))
    pos = 30 * torch.randn(75, 3, dtype=torch.float64, generator=generator)
    pos[:, [not flag for flag in pbc]] %= 6.0
    cell = edge * torch.eye(3, dtype=torch.float64) + 0.3 * torch.rand(
        2, 3, 3, dtype=torch.float64, generator=generator
    )
    x = torch.randn(75, 2, dtype=torch.float64, generator=generator)
    pos, cell = pos.requires_grad_(), cell.requires_grad_()
    cells = Cells.build(cell, torch.tensor(pbc), segments, pos)
    assert cells is not None
    (source, target), shifts = neighbours(pos, 3.0, segments, cell=cells)
    offset = cells.offsets(shifts, segments.index[target])
    square = (pos[target] - pos[source] - offset).square().sum(dim=1)
    wanted = x.index_add(0, target, bump(square, 3.0)[:, None] * x[source])
    found = heard(Window(pos, 3.0, segments, cells), x)
    torch.testing.assert_close(found, wanted)
    slopes = [torch.autograd.grad(y.square().sum(), (pos, cell)) for y in (found, wanted)]
    torch.testing.assert_close(*slopes)


def test_differentiable_at_coinciding_places() -> None:
    pos = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    y = heard(Window(pos, 1.0, Segments((3,))), torch.ones(3, 1, dtype=torch.float64))
    assert torch.equal(torch.autograd.grad(y.sum(), pos)[0], torch.zeros_like(pos))


def test_pairs_grow_with_the_tokens_at_fixed_density() -> None:
    """Of tokens in a volume; twice the number has a few more neighbours, not twice as many."""
    counts = []
    for number in (4000, 8000):
        pos = torch.rand(number, 3) * (number / 0.05) ** (1 / 3)
        window = Window(pos, 8.0, Segments((number,)))
        pairs = torch.zeros((), dtype=torch.long)
        window.sum(lambda target, source, square, n=pairs: n.add_(square.numel()) + square[..., :1])
        counts.append(pairs.item() / number)
    assert counts[1] < 1.3 * counts[0] < 0.5 * 4000


def test_positions_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        Window(torch.full((2, 3), torch.nan), 1.0, Segments((2,)))


def test_segments_keep_what_they_are() -> None:
    segments = Segments((2, 1))
    window = Window(torch.randn(3, 3), 1.0, segments)
    within = segments.within(window)
    assert within.window is window and segments.window is None
    assert within.lengths == segments.lengths and torch.equal(within.index, segments.index)
