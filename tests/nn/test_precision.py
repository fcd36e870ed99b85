"""Outputs in the dtype of the inputs, computed in at least float32, whatever autocast says."""

import copy

import pytest
import torch
from torch import nn

from e3hyena import HyenaBlock, HyenaNet, HyenaOperator, SE3Hyena
from e3hyena.nn.precision import to_working
from e3hyena.ops.precision import full_precision

MODULES = {
    "operator": lambda: HyenaOperator("4x0e + 4x1o"),
    "attention": lambda: HyenaOperator("4x0e + 4x1o", mixer="attention"),
    "coordinate": lambda: HyenaOperator("4x0e + 4x1o", mixer="coordinate"),
    "block": lambda: HyenaBlock("4x0e + 4x1o"),
    "preset": lambda: SE3Hyena("4x0e + 4x1o", irreps_hidden="4x0e + 1o", num_channels=2),
}


@pytest.mark.parametrize("name", MODULES)
def test_dtype_in_is_dtype_out(name: str) -> None:
    module = MODULES[name]()
    x = torch.randn(9, 16)
    y = module(x)
    assert y.dtype == torch.float32
    exact = copy.deepcopy(module).double()(x.double())
    assert exact.dtype == torch.float64
    torch.testing.assert_close(y.double(), exact, rtol=1e-4, atol=1e-5)
    for dtype in (torch.float16, torch.bfloat16):
        half = module(x.to(dtype))
        assert half.dtype == dtype
        assert torch.equal(half, module(x.to(dtype).float()).to(dtype))


@pytest.mark.parametrize("name", MODULES)
def test_autocast_changes_nothing(name: str) -> None:
    module = MODULES[name]()
    x = torch.randn(9, 16)
    y = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(x), y)


def test_autocast_changes_nothing_in_a_network() -> None:
    net = HyenaNet("1o", irreps_hidden="4x0e + 4x1o", num_layers=1, cutoff=3.0)
    z, pos = torch.tensor([8, 1, 1]), torch.randn(3, 3)
    y = net(z, pos)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net(z, pos), y)


@pytest.mark.parametrize("name", MODULES)
def test_parameters_of_another_dtype(name: str) -> None:
    with pytest.raises(TypeError, match=r"float64.*parameters of \w+ are torch.float32; call"):
        MODULES[name]()(torch.randn(9, 16, dtype=torch.float64))


def test_positions_of_another_dtype() -> None:
    net = HyenaNet("1o", irreps_hidden="4x0e", num_layers=1)
    with pytest.raises(TypeError, match=r"parameters of HyenaNet are torch\.float32"):
        net(torch.tensor([8]), torch.zeros(1, 3, dtype=torch.float64))


def test_helpers() -> None:
    x = torch.eye(2)
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with full_precision(x):
            assert (x @ x).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16
    assert to_working(x.half(), nn.Linear(2, 2)).dtype == torch.float32
    assert to_working(x.double(), nn.Identity()).dtype == torch.float64


@pytest.mark.parametrize("name", MODULES)
def test_half_weights_are_refused_with_what_does_work(name: str) -> None:
    module = MODULES[name]().bfloat16()
    with pytest.raises(TypeError, match=r"keep them in float32 \(module.float\(\)\)"):
        module(torch.randn(9, 16, dtype=torch.bfloat16))
    assert module.float()(torch.randn(9, 16).bfloat16()).dtype == torch.bfloat16
