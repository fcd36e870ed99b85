"""The query-key convolution against its formula."""

import itertools

import pytest
import torch

from e3hyena.ops import naive
from e3hyena.ops.segments import Segments
from e3hyena.testing.measure import relative_error


def formula(mixer, q, k, boundary):
    """N^(-1/2) times the sum of CG(q_j, k_m) over the pairs that meet on output i."""
    n = q.shape[-1]
    u = q.new_zeros(q.shape[0], mixer.context.dim, n)
    for j, m in itertools.product(range(n), range(n)):
        i = {"circular": (j + m) % n, "causal": j + m, "same": j + m - (n - 1) // 2}[boundary]
        if 0 <= i < n:
            pair = naive.tensor_product(
                q[..., j : j + 1], k[..., m : m + 1], mixer.weight, mixer.paths
            )
            u[..., i] += pair[..., 0] * n**-0.5
    return u


@pytest.mark.parametrize("boundary", ["circular", "causal", "same"])
@pytest.mark.parametrize("n", [1, 2, 7, 12])
@pytest.mark.parametrize("irreps", ["2x0e + 2x1o", "2x0o + 2x1e + 4x2e", "3x2o"])
def test_formula(make, operands, irreps, n, boundary):
    mixer = make("query_key", irreps, boundary)
    q, k, v = operands(mixer, n)
    expected = formula(mixer, q, k, boundary).detach()
    assert relative_error([mixer(q, k, v, Segments((n,))).detach()], [expected]) <= 1e-10


def test_circular_by_default(make):
    assert make("query_key").boundary == "circular"


@pytest.mark.parametrize(
    ("irreps", "context"),
    [
        ("4x0e + 4x1o", "0e + 1o + 1e"),
        ("4x0e + 4x1e", "0e + 1e"),
        ("4x0e + 4x1o + 4x1e", "0e + 1o + 1e"),
        ("4x0e + 8x1o", "0e + 2x1o + 1e"),
        ("4x0e", "0e"),
        ("4x2o", "2o"),
    ],
)
def test_the_context_also_holds_the_cross_product(make, irreps, context):
    """Beside vectors 1o; otherwise the irreps are those of q and k."""
    per_channel = make("query_key", irreps).context.per_channel
    wanted = type(per_channel)(context)
    assert per_channel.simplify() == wanted.sort().irreps.simplify()


def test_the_value_meets_the_result_later(make, operands):
    """The gate comes between: the value does not enter the convolution."""
    mixer = make("query_key")
    assert mixer.companion == "v"
    q, k, v = operands(mixer, 9)
    segments = Segments((9,))
    assert torch.equal(mixer(q, k, v, segments), mixer(q, k, torch.zeros_like(v), segments))


@pytest.mark.parametrize("n", [9, 10, 97])
def test_shifting_the_sequence_shifts_the_circular_result_twice(make, operands, n):
    mixer = make("query_key")
    qkv = operands(mixer, n)
    segments = Segments((n,))
    u = mixer(*qkv, segments)
    moved = mixer(*(x.roll(3, -1) for x in qkv), segments)
    assert relative_error([moved], [u.roll(6, -1)]) <= 1e-12


def test_causal_does_not_see_the_future_and_the_others_do(make, operands):
    segments = Segments((10, 10))
    for boundary in ("causal", "circular", "same"):
        mixer = make("query_key", boundary=boundary)
        qkv = operands(mixer, 20)
        u = mixer(*qkv, segments)
        for x in qkv:
            x[..., 4:10] += 1
        error = relative_error([mixer(*qkv, segments)[..., :4]], [u[..., :4]])
        assert error <= 1e-12 if boundary == "causal" else error > 1e-2


@pytest.mark.parametrize("n", [1, 16, 97, 360])
def test_unit_variance_at_any_length(make, operands, n):
    mixer = make("query_key", "2048x0e + 2048x1o", dtype=torch.float32)
    torch.manual_seed(0)
    mixer.reset_parameters()
    qkv = operands(mixer, n, torch.float32)
    u = mixer(*qkv, Segments((n,)))
    assert u.square().mean().item() == pytest.approx(1, rel=0.15)
