"""How the ops run: dtypes, autocast, memory, determinism, and what they refuse."""

import pytest
import torch
from torch import nn

from e3hyena.ops import Paths, tensor_product, tensor_product_long_conv
from e3hyena.ops.transforms import BOUNDARIES
from e3hyena.testing.measure import relative_error

PATHS = Paths("0e + 1o", "0e + 1o", "0e + 1o + 1e")
pytestmark = pytest.mark.usefixtures("backend")


class Op(nn.Module):
    """An op with its paths bound, as a module."""

    def __init__(self, boundary):
        super().__init__()
        self.boundary = boundary

    def forward(self, x1, x2, weight):
        if self.boundary == "tokenwise":
            return tensor_product(x1, x2, weight, PATHS)
        return tensor_product_long_conv(x1, x2, weight, PATHS, boundary=self.boundary)


@pytest.fixture(params=["tokenwise", *BOUNDARIES])
def op(request):
    """Every op that takes two operands and a weight."""
    return Op(request.param)


def value_and_gradients(function, leaves):
    y = function(*leaves)
    return [y, *torch.autograd.grad(y.float().square().sum(), leaves)]


# --- dtypes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(op, operands, dtype):
    """Not merely close: the float32 result, rounded once."""
    x1, x2, weight = operands(PATHS, 90, dtype=dtype)
    x1 = (10 * x1).detach().requires_grad_()
    y = op(x1, x2, weight)
    in_float32 = op(x1.float(), x2.float(), weight.float())
    assert y.dtype == dtype
    assert in_float32.dtype == torch.float32
    assert torch.equal(y, in_float32.to(dtype))
    gradients = torch.autograd.grad(y.float().sum(), [x1, x2, weight])
    assert [g.dtype for g in gradients] == [dtype] * 3
    assert all(g.isfinite().all() for g in gradients)


def test_operands_may_be_half_and_weights_float32(op, operands):
    x1, x2, _ = operands(PATHS, 9, dtype=torch.bfloat16)
    weight = operands(PATHS, 9, dtype=torch.float32)[2]
    y, *gradients = value_and_gradients(op, [x1, x2, weight])
    assert y.dtype == torch.bfloat16
    assert [g.dtype for g in gradients] == [torch.bfloat16, torch.bfloat16, torch.float32]


def test_the_wider_operand_decides_the_precision(op, operands):
    x1, x2, weight = (x.detach() for x in operands(PATHS, 9))
    y = op(x1, x2.float(), weight)
    assert y.dtype == torch.float64
    assert relative_error([y], [op(x1, x2, weight)]) <= 1e-12  # the operands fit in float32
    assert op(x1.float(), x2, weight).dtype == torch.float32


def test_float64_is_no_float32(op, operands):
    leaves = operands(PATHS, 30)
    wide = op(*leaves)
    narrow = op(*(x.float() for x in leaves))
    assert 1e-9 < relative_error([narrow.double()], [wide]) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_autocast_has_no_effect(op, operands, dtype):
    leaves = operands(PATHS, 30, dtype=dtype)
    expected = value_and_gradients(op, leaves)
    with torch.autocast("cpu", torch.bfloat16):
        forward = op(*leaves)
        actual = value_and_gradients(op, leaves)
    gradients = torch.autograd.grad(forward.float().square().sum(), leaves)
    for a, e in zip([*actual, *gradients], [*expected, *expected[1:]], strict=True):
        assert a.dtype == e.dtype
        assert torch.equal(a, e)


def test_autocast_has_no_effect_on_second_derivatives(op, operands):
    leaves = operands(PATHS, 12)

    def penalty():
        gradients = torch.autograd.grad(op(*leaves).sin().sum(), leaves, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in gradients), leaves)

    expected = penalty()
    with torch.autocast("cpu", torch.bfloat16):
        actual = penalty()
    assert all(torch.equal(a, e) for a, e in zip(actual, expected, strict=True))


# --- memory layout, determinism, gradients on demand


def test_two_runs_agree_bit_by_bit(op, operands):
    leaves = operands(PATHS, 97, lead=(2,), channels=3, dtype=torch.float32)
    first, second = value_and_gradients(op, leaves), value_and_gradients(op, leaves)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_non_contiguous_operands(op, operands):
    """Strided, transposed, expanded and negative-strided memory; cotangents too."""
    x1, x2, weight = (x.detach() for x in operands(PATHS, 24, channels=3))
    dense = [x1[..., ::2], x2[..., :12], weight]
    awkward = [
        x1[..., ::2],
        x2[..., :12].permute(2, 0, 1).contiguous().permute(1, 2, 0),
        weight.t().contiguous().t(),
    ]
    assert not any(x.is_contiguous() for x in awkward)
    dense = [x.contiguous().requires_grad_() for x in dense]
    awkward = [x.requires_grad_() for x in awkward]
    expected, y = op(*dense), op(*awkward)
    assert relative_error([y], [expected]) <= 1e-12
    cotangents = [
        torch.randn(12, 3, 7, dtype=torch.float64).permute(1, 2, 0),
        torch.randn(3, 1, 1, dtype=torch.float64).expand(3, 7, 12),
    ]
    for cotangent in cotangents:
        actual = torch.autograd.grad(y, awkward, cotangent, retain_graph=True)
        reference = torch.autograd.grad(expected, dense, cotangent.contiguous(), retain_graph=True)
        assert relative_error(actual, reference) <= 1e-12


def test_operands_are_left_as_they_were(op, operands):
    leaves = operands(PATHS, 13)
    before = [x.detach().clone() for x in leaves]
    op(*leaves).sum().backward()
    assert all(torch.equal(x, b) for x, b in zip(leaves, before, strict=True))


def test_the_result_shares_no_memory_with_the_operands(op, operands):
    leaves = operands(PATHS, 8)
    y = op(*leaves)
    assert y.untyped_storage().data_ptr() not in {x.untyped_storage().data_ptr() for x in leaves}


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), ()])
def test_gradients_of_some_inputs_only(op, operands, wanted):
    leaves = operands(PATHS, 9)
    expected = torch.autograd.grad(op(*leaves).sin().sum(), leaves)
    some = [x.detach().requires_grad_(i in wanted) for i, x in enumerate(leaves)]
    y = op(*some)
    assert y.requires_grad == bool(wanted)
    if wanted:
        y.sin().sum().backward()
    for i, x in enumerate(some):
        assert (x.grad is not None) == (i in wanted)
        if i in wanted:
            assert relative_error([x.grad], [expected[i]]) <= 1e-12


def test_no_graph_under_no_grad(op, operands):
    leaves = operands(PATHS, 9)
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            y = op(*leaves)
        assert not y.requires_grad
        assert relative_error([y], [op(*leaves).detach()]) <= 1e-12


def test_no_finite_gradient_is_lost_at_zero(op, operands):
    leaves = [torch.zeros_like(x).requires_grad_() for x in operands(PATHS, 7)]
    y, *gradients = value_and_gradients(op, leaves)
    assert not y.any()
    assert not any(g.any() for g in gradients)  # not NaN either: NaN is true


@pytest.mark.parametrize("n", [97, 360, 1009])
def test_saved_for_backward_are_the_operands(op, operands, n):
    """At most 1.1 times the memory of x1 and x2, and the weights."""
    leaves = operands(PATHS, n, channels=4, dtype=torch.float32)
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = op(*leaves)
    x1, x2, weight = (x.untyped_storage().nbytes() for x in leaves)
    assert x1 + x2 <= sum(saved.values()) <= 1.1 * (x1 + x2) + weight
    y.sum().backward()


# --- no data


@pytest.mark.parametrize("lead", [(), (5,)])
def test_shape_and_dtype_without_data(op, operands, lead):
    leaves = [x.to("meta") for x in operands(PATHS, 11, lead=lead, dtype=torch.float32)]
    y = op(*leaves)
    assert y.device.type == "meta"
    assert y.shape == (*lead, 2, 7, 11)
    assert y.dtype == torch.float32
    gradients = torch.autograd.grad(y.sum(), leaves)
    assert [g.shape for g in gradients] == [x.shape for x in leaves]


# --- errors


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 3, 5), (2, 4, 5), (5, 2)), r"first operand.*\(2, 3, 5\).*\(\.\.\., C, 4, N\)"),
        (((2, 4, 5), (2, 5, 4), (5, 2)), r"second operand.*\(2, 5, 4\).*\(\.\.\., C, 4, N\)"),
        (((4, 5), (4, 5), (5, 2)), r"first operand.*\(4, 5\).*\(\.\.\., C, 4, N\)"),
        (((2, 4, 5), (2, 4, 6), (5, 2)), r"\(2, 4, 5\) and \(2, 4, 6\).*same C and N"),
        (((2, 4, 5), (1, 4, 5), (5, 2)), r"\(2, 4, 5\) and \(1, 4, 5\).*same C and N"),
        (((2, 4, 5), (2, 4, 5), (4, 2)), r"weight has shape \(4, 2\).*\(5, 2\)"),
        (((2, 4, 5), (2, 4, 5), (5, 1)), r"weight has shape \(5, 1\).*\(5, 2\)"),
        (((2, 4, 5), (2, 4, 5), (5,)), r"weight has shape \(5,\).*\(5, 2\)"),
        (((3, 2, 4, 5), (2, 2, 4, 5), (5, 2)), r"\(3,\) and \(2,\) do not broadcast"),
    ],
)
def test_wrong_shapes(op, shapes, message):
    with pytest.raises(ValueError, match=message):
        op(*(torch.zeros(shape) for shape in shapes))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
@pytest.mark.parametrize("slot", [0, 1, 2])
def test_wrong_dtypes(op, slot, dtype):
    arguments = [torch.zeros(2, 4, 5), torch.zeros(2, 4, 5), torch.zeros(5, 2)]
    arguments[slot] = arguments[slot].to(dtype)
    name = ("first operand", "second operand", "weight")[slot]
    with pytest.raises(TypeError, match=rf"{name} is {dtype}"):
        op(*arguments)


@pytest.mark.parametrize("boundary", ["valid", "", "CIRCULAR", "tokenwise", None])
def test_unknown_boundary(boundary):
    x, weight = torch.zeros(2, 4, 5), torch.zeros(5, 2)
    with pytest.raises(ValueError, match=rf"boundary={boundary!r}.*circular, causal, same"):
        tensor_product_long_conv(x, x, weight, PATHS, boundary=boundary)
