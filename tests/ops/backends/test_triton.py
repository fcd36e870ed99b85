"""The Triton kernels, through Triton's interpreter where there is no GPU."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops import Paths, naive, tensor_product, tensor_product_long_conv
from e3hyena.ops.backends import BACKENDS, Backend, triton, use_backend
from e3hyena.ops.transforms import BOUNDARIES
from e3hyena.testing.measure import relative_error

pytestmark = pytest.mark.skipif(not triton.available(), reason="no Triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PATHS = Paths("0e + 1o", "0e + 1o", "0e + 1o + 1e")
LIMIT = {torch.float32: 1e-5, torch.float64: 1e-12}


@pytest.fixture(autouse=True)
def with_triton(eager_by_default):
    with use_backend("triton"):
        yield


@pytest.mark.parametrize("complex_numbers", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("dtype", LIMIT)
@pytest.mark.parametrize("length", [1, 130])
def test_contraction_equals_the_eager_one(dtype, length, complex_numbers):
    paths = Paths("0e + 1o", "1o + 2e", "0e + 1e + 3o")  # 0e stays without a path
    kind = dtype.to_complex() if complex_numbers else dtype
    signals = [torch.randn(3, d, length, dtype=kind, device=DEVICE) for d in paths.dims]
    weight = torch.randn(paths.num_paths, 3, dtype=dtype, device=DEVICE)
    mine = BACKENDS["triton"]
    for slot in range(3):
        others = [x for i, x in enumerate(signals) if i != slot]
        expected = Backend().contract(paths, slot, *others, weight)
        assert (
            relative_error([mine.contract(paths, slot, *others, weight)], [expected])
            <= LIMIT[dtype]
        )
    actual = mine.contract_weight(paths, *signals)
    assert (
        relative_error([actual], [Backend().contract_weight(paths, *signals)]) <= 10 * LIMIT[dtype]
    )


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", LIMIT)
def test_long_convolution_and_gradients_equal_the_plain_loop(operands, dtype, boundary):
    leaves = [x.to(DEVICE, dtype).detach().requires_grad_() for x in operands(PATHS, 17)]
    cotangent = torch.randn(2, 7, 17, dtype=dtype, device=DEVICE)
    results = []
    for function in (tensor_product_long_conv, naive.tensor_product_long_conv):
        u = function(*leaves, PATHS, boundary=boundary)
        results.append([u.detach(), *torch.autograd.grad(u, leaves, cotangent)])
    assert relative_error(*results) <= 10 * LIMIT[dtype]


def test_gradcheck_and_gradgradcheck(operands):
    leaves = [x.detach().to(DEVICE).requires_grad_() for x in operands(PATHS, 2, channels=1)]
    for function in (tensor_product_long_conv, tensor_product):

        def call(q, k, weight, function=function):
            return function(q, k, weight, PATHS)

        assert gradcheck(call, leaves, fast_mode=True)
        assert gradgradcheck(call, leaves, fast_mode=True)


def test_two_runs_agree_bit_by_bit(operands):
    leaves = [x.to(DEVICE, torch.float32) for x in operands(PATHS, 300)]
    first, second = (
        torch.autograd.grad(tensor_product_long_conv(*leaves, PATHS).square().sum(), leaves)
        for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_refuses_the_cpu_without_the_interpreter(monkeypatch, operands):
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET=1"):
        tensor_product(*(x.cpu() for x in operands(PATHS, 3)), PATHS)


@pytest.mark.parametrize("dtype", LIMIT)
@pytest.mark.parametrize("irreps", ["3x0e", "3x1o", "1x0e + 2x1o + 1x2e", "6x0e + 3x0o + 3x1o"])
def test_rows_equal_the_eager_ones(dtype, irreps):
    channels, mine, plain = ChannelIrreps(irreps), BACKENDS["triton"], Backend()
    widths = [channels.widths[ir] for ir, n in channels.copies.items() for _ in range(n)]
    shape = channels.num_channels, channels.dim, 130
    x, grad = torch.randn(2, *shape, dtype=dtype, device=DEVICE)
    x = x.transpose(1, 2).contiguous().transpose(1, 2)  # of any strides
    factors = torch.randn(shape[0], len(widths), 130, dtype=dtype, device=DEVICE)
    weight, scale, along = torch.rand(3, x[..., 0].numel(), dtype=dtype, device=DEVICE)
    rows = [y.flatten(0, 1) for y in (torch.randn_like(grad), grad, x)]
    calls = [
        ("scale", (x, factors, widths, 1.5)),
        ("scale_backward", (grad, x, factors, widths, 1.5)),
        ("norm", (rows[2], weight, scale, 1e-5)),
        ("norm_backward", (*rows[1:], weight, scale, 1e-5)),
        ("norm_tangent", (rows[0], along, *rows[1:], weight, scale, 1e-5)),
    ]
    for with_angles in (False, True):
        calls.append(("scalars", (x, channels, with_angles)))
        back = torch.randn_like(plain.scalars(*calls[-1][1])), *calls[-1][1]
        calls += [("scalars_backward", back), ("scalars_tangent", (grad, *back))]
    for name, given in calls:
        found = [getattr(each, name)(*given) for each in (mine, plain)]
        actual, expected = ([y] if isinstance(y, torch.Tensor) else y for y in found)
        assert relative_error(actual, expected) <= 10 * LIMIT[dtype], name
