"""The ops under torch's compiler and exporter. (Back-ends work inside opaque operators.)"""

import pytest
import torch
from torch import nn

from e3hyena.ops import Paths, tensor_product, tensor_product_long_conv
from e3hyena.ops.transforms import BOUNDARIES
from e3hyena.testing.measure import relative_error

PATHS = Paths("0e + 1o", "0e + 1o", "0e + 1o + 1e")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


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


@pytest.fixture
def fresh_compiler():
    """Compiled code of one test does not count against the next."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


BACKENDS = ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)]


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", BACKENDS)
def test_compiles_as_one_graph(op, operands, backend):
    def function(x1, x2, weight):
        return op(x1.sin(), x2, weight).cos()

    compiled = torch.compile(function, fullgraph=True, backend=backend)
    for dtype, limit in TOLERANCE.items():
        for n in (12, 17):
            leaves = operands(PATHS, n, dtype=dtype)
            actual = value_and_gradients(compiled, leaves)
            assert relative_error(actual, value_and_gradients(function, leaves)) <= limit


def test_exports(op, operands):
    example = tuple(x.detach() for x in operands(PATHS, 12))
    length = torch.export.Dim("length", min=2, max=4096)
    program = torch.export.export(op, example, dynamic_shapes=({2: length}, {2: length}, None))
    for n in (12, 17):
        other = [x.detach() for x in operands(PATHS, n, seed=1)]
        assert relative_error([program.module()(*other)], [op(*other)]) <= 1e-12
