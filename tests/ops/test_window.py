"""Pairs within a radius, every token's own among them."""

import torch

from e3hyena.ops.segments import Segments
from e3hyena.ops.window import Window


def test_pairs_and_distances() -> None:
    pos = 3 * torch.rand(30, 3, dtype=torch.float64)
    segments = Segments((12, 0, 18))
    window = Window(pos, 1.5, segments)
    square = torch.cdist(pos, pos, compute_mode="donot_use_mm_for_euclid_dist").square()
    near = (square < 1.5**2) & (segments.index[:, None] == segments.index)
    found = torch.zeros(30, 30, dtype=torch.bool)
    found[window.target, window.source] = True
    assert torch.equal(found, near) and len(window.source) == near.sum()
    torch.testing.assert_close(window.square, square[window.target, window.source])


def test_differentiable_at_coinciding_places() -> None:
    pos = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(Window(pos, 1.0, Segments((3,))).square.sum(), pos)
    assert torch.equal(grad, torch.zeros(3, 3, dtype=torch.float64))


def test_nothing() -> None:
    window = Window(torch.zeros(0, 3), 1.0, Segments(()))
    assert window.square.shape == (0,)


def test_segments_keep_what_they_are() -> None:
    segments = Segments((2, 1))
    window = Window(torch.randn(3, 3), 1.0, segments)
    within = segments.within(window)
    assert within.window is window and segments.window is None
    assert within.lengths == segments.lengths and torch.equal(within.index, segments.index)
