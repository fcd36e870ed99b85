"""Everything on a GPU against the CPU in float64; ``make gpu`` runs it."""

import itertools

import pytest
import torch

from e3hyena import HyenaBlock, HyenaNet, HyenaOperator
from e3hyena.mixers import MIXERS

from .parity import BATCHES, LIMITS, errors, of_atoms, of_features

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: torch sees no CUDA device")
IRREPS = ["8x0e + 8x1o", "16x0e + 16x1o", "4x0e + 4x0o + 4x1o + 4x1e + 4x2e"]
BOUNDARIES = [
    (mixer, boundary)
    for mixer, boundary in itertools.product(MIXERS, [None, "circular", "causal", "same"])
    if boundary is None or MIXERS[mixer].ordered
]
dtypes = pytest.mark.parametrize("dtype", LIMITS, ids=str)
batches = pytest.mark.parametrize("batch", BATCHES)


def check(module, of, batch, device, dtype):
    found = errors(module, of, BATCHES[batch], device, dtype)
    assert max(found) <= LIMITS[dtype], f"value, gradient, second derivative: {found}"


@gpu
@dtypes
@batches
@pytest.mark.parametrize("irreps", IRREPS)
@pytest.mark.parametrize(("mixer", "boundary"), BOUNDARIES)
def test_operator(mixer, boundary, irreps, batch, dtype):
    operator = HyenaOperator(irreps, mixer=mixer, boundary=boundary)
    check(operator, of_features, batch, "cuda", dtype)


@gpu
@dtypes
@batches
@pytest.mark.parametrize("mixer", MIXERS)
def test_block(mixer, batch, dtype):
    check(HyenaBlock(IRREPS[0], mixer=mixer), of_features, batch, "cuda", dtype)


@gpu
@dtypes
@pytest.mark.parametrize("batch", ["molecules", "empty and single", "one token"])
@pytest.mark.parametrize("range", [None, 4.0])
@pytest.mark.parametrize("mixer", [*MIXERS, None])
def test_network(mixer, range, batch, dtype):
    if range is not None and not (mixer and MIXERS[mixer].ranged):
        pytest.skip("the mixer has no range")
    options = {"range": range} if range else None
    net = HyenaNet(
        "0e", irreps_hidden=IRREPS[0], num_layers=2, mixer=mixer, cutoff=3.0, ordered=True,
        mixer_options=options,
    )  # fmt: skip
    check(net, of_atoms, batch, "cuda", dtype)


@gpu
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("batch", ["large", "molecules"])
@pytest.mark.parametrize("mixer", MIXERS)
def test_a_captured_pass_gives_the_same(mixer, batch, backward):
    """Nothing waits for the GPU once the batch was read, so a pass can be replayed."""
    from e3hyena.ops.segments import Segments

    operator = HyenaOperator("16x0e + 16x1o", mixer=mixer).cuda()
    lengths = BATCHES[batch]
    segments = Segments(lengths, "cuda")
    x = torch.randn(sum(lengths), 64, device="cuda", requires_grad=backward)

    def call():
        with torch.set_grad_enabled(backward):
            y = operator(x, segments)
        return [y, *torch.autograd.grad(y.square().sum(), x)] if backward else [y]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            expected = call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = call()
    graph.replay()
    torch.cuda.synchronize()
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


# --- what compares is itself tried on the CPU


@dtypes
@pytest.mark.parametrize("mixer", MIXERS)
def test_comparison_on_the_cpu(mixer, dtype):
    operator = HyenaOperator("4x0e + 4x1o", mixer=mixer)
    check(operator, of_features, "empty and single", "cpu", dtype)


def test_comparison_of_networks_on_the_cpu():
    net = HyenaNet("0e", irreps_hidden="4x0e + 4x1o", num_layers=1, cutoff=3.0)
    check(net, of_atoms, "empty and single", "cpu", torch.float32)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_comparison_finds_a_fault_of_each_order(order):
    class Faulty(HyenaOperator):
        """Right in float64, off by a constant, a slope or a curvature elsewhere."""

        def forward(self, x, batch=None, *, ptr=None):
            y = super().forward(x, batch, ptr=ptr)
            if x.dtype == torch.float64:
                return y
            near = x - x.detach()
            return y + [1e-2, 0.1 * near, near.square()][order]

    found = errors(
        Faulty("4x0e + 4x1o", mixer="coordinate"), of_features, (5, 9), "cpu", torch.float32
    )
    wrong = [error > LIMITS[torch.float32] for error in found]
    assert wrong.index(True) == order
