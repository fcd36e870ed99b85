"""Radial functions and their derivatives, on every back-end, against torch's of the formula."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from e3hyena.ops.backends import select
from e3hyena.ops.radial import radial
from e3hyena.ops.radial_formula import radial_formula

pytestmark = pytest.mark.usefixtures("backend")
CUTOFF, NUMBER = 2.0, 4
LIMIT = {torch.float32: 1e-4, torch.float64: 1e-10}


@pytest.mark.parametrize("dtype", LIMIT)
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_derivatives_are_those_of_the_formula(order, dtype):
    r = torch.cat([torch.linspace(0, 1.99, 300), torch.tensor([0.199, 0.201, 2.0, 2.5])]).double()
    r.requires_grad_()
    weight = torch.randn(len(r), NUMBER, dtype=torch.float64)
    columns = []
    for found in radial_formula(r, NUMBER, CUTOFF, 0, torch):
        for _ in range(order):
            (found,) = torch.autograd.grad(found.sum(), r, create_graph=True)
        columns.append(found.detach())
    expected = torch.stack(columns, dim=1)
    given, backend = r.detach().to(dtype), select(r)
    limit = LIMIT[dtype] * expected.abs().max()
    found = backend.radial(given, NUMBER, CUTOFF, order)
    assert found.dtype == dtype and (found.double() - expected).abs().max() < limit
    total = backend.radial_sum(weight.to(dtype), given, CUTOFF, order)
    assert (total.double() - (weight * expected).sum(dim=1)).abs().max() < 10 * limit


def test_gradients_of_both_orders():
    r = torch.tensor([0.05, 0.19, 0.21, 1.0, 1.9, 2.5], dtype=torch.float64, requires_grad=True)

    def function(r):
        return radial(r, NUMBER, CUTOFF)

    assert gradcheck(function, r)
    assert gradgradcheck(function, r)
    assert function(r[:0]).shape == (0, NUMBER)
