"""Features against the kernels that their products make."""

import pytest
import torch

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.features import KernelFeatures
from e3hyena.testing import random_element
from e3hyena.testing.measure import relative_error

IRREPS = ["4x0e + 4x1o", "2x0e + 2x0o + 4x1e + 2x2e", "4x2o"]


def draw(irreps, heads, modes, degree, n=5):
    hidden = ChannelIrreps(irreps)
    features = KernelFeatures(hidden, heads, modes, degree=degree).double()
    coordinates = torch.randn(2, heads, 2, n, dtype=torch.float64)
    x = torch.randn(2, hidden.num_channels, hidden.dim, 2, n, dtype=torch.float64)
    return hidden, features, coordinates, x


@pytest.mark.parametrize("irreps", IRREPS)
@pytest.mark.parametrize(("modes", "degree"), [(1, 0), (1, 1), (4, 0), (3, 1), (3, 2), (1, 2)])
def test_products_are_the_kernel(irreps, modes, degree):
    heads = 2
    hidden, features, (a, b), (x, y) = draw(irreps, heads, modes, degree)
    first, second = features(a, x), features(b, y)
    assert first.shape[2] == sum(features.sizes)
    kernel = torch.einsum("hbfi,hbfj->hbij", first, second)
    angle = features.frequencies[:, :, None, None, None] * (
        a[:, None, :, :, None] - b[:, None, :, None]
    )
    expected = (1 + angle.cos().sum(1)) / modes
    width, d = hidden.num_channels // heads, hidden.dim
    x, y = (t.unflatten(0, (heads, width)) for t in (x, y))
    dot = torch.einsum("hcdbi,hcdbj->hcbij", x, y)
    if degree > 0:
        expected = expected + dot.sum(1) / (width * d)
    if degree > 1:
        norms = [(d + t.square().sum(2)).sqrt() for t in (x, y)]
        square = dot**2 / norms[0][..., :, None] / norms[1][..., None, :]
        expected = expected + square.sum(1) / (width * d)
    assert relative_error([kernel.detach()], [expected.detach()]) <= 1e-12


@pytest.mark.parametrize("irreps", IRREPS)
def test_kernels_are_invariant(irreps):
    hidden, features, (a, b), (x, y) = draw(irreps, 2, 3, 2)
    g = random_element(0, inversion=True)

    def kernel(x, y):
        return features(a, x).transpose(2, 3) @ features(b, y)

    moved = [g(t.movedim(1, -1), hidden.per_channel).movedim(-1, 1) for t in (x, y)]
    assert relative_error([kernel(*moved).detach()], [kernel(x, y).detach()]) <= 1e-12


def test_initial_frequencies():
    features = KernelFeatures(ChannelIrreps("4x0e"), 4, 6, max_frequency=32.0)
    frequencies = features.frequencies.detach()
    assert frequencies.shape == (4, 5)
    assert torch.equal(frequencies[0], torch.tensor([0.25, 2**-0.25, 2**1.5, 2**3.25, 32.0]))


def test_one_mode_is_the_constant():
    _, features, (a, _), (x, _) = draw("4x0e + 4x1o", 2, 1, 0)
    assert torch.equal(features(a, x), torch.ones(2, 2, 1, 5, dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modes": 0}, "modes=0"),
        ({"modes": 2, "degree": 3}, "degree=3"),
        ({"modes": 2, "max_frequency": 0.0}, "max_frequency=0.0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        KernelFeatures(ChannelIrreps("4x0e"), 2, **options)
