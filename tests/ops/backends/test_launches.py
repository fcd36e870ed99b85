"""What is done otherwise where launches take the time gives the same, tried on the CPU."""

import pytest
import torch

from e3hyena import HyenaNet, HyenaOperator
from e3hyena.mixers import MIXERS
from e3hyena.models import energy_and_forces
from e3hyena.ops.backends import launches, use_backend
from e3hyena.ops.segments import Segments
from e3hyena.ops.transforms import transform_batches
from e3hyena.testing.measure import relative_error

SIZES = (5, 0, 9, 33, 1, 40, 5, 130)


@pytest.mark.parametrize(
    ("mixer", "boundary"),
    [
        *((mixer, None) for mixer in MIXERS),
        ("query_key", "causal"),
        ("query_key", "same"),
        ("filter", "circular"),
    ],
)
def test_operators(monkeypatch, mixer, boundary):
    operator = HyenaOperator("4x0e + 4x1o", mixer=mixer, boundary=boundary).double()
    x = torch.randn(sum(SIZES), 16, dtype=torch.float64, requires_grad=True)
    results = []
    for few in (False, True):
        monkeypatch.setattr(launches, "few_launches", lambda device, few=few: few)
        with use_backend("eager"):
            y = operator(x, Segments(SIZES))
            leaves = [x, *operator.parameters()]
            results.append([y.detach(), *torch.autograd.grad(y.sin().sum(), leaves)])
    assert relative_error(*results) <= 1e-11


def test_forces(monkeypatch):
    net = HyenaNet("0e", irreps_hidden="4x0e + 4x1o", num_layers=2, cutoff=3.0).double()
    z, pos = torch.randint(1, 9, (20,)), 2 * torch.randn(20, 3).double()
    batch = torch.arange(20) // 7
    results = []
    for few in (False, True):
        monkeypatch.setattr(launches, "few_launches", lambda device, few=few: few)
        with use_backend("eager"):
            results.append(energy_and_forces(net, z, pos, batch))
    assert relative_error(*results) <= 1e-11


def test_few_transform_lengths():
    sizes = tuple(range(1, 130))
    found = transform_batches(sizes, "circular", few=True)
    assert [batch.length for batch in found] == [64, 256, 1024]
    assert all(batch.length >= 2 * max(batch.sizes) - 1 for batch in found)
    equal = transform_batches((18,) * 5, "circular", few=True)
    assert equal == transform_batches((18,) * 5, "circular")
