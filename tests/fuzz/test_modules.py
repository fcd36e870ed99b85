"""Modules with any irreps, batch and memory: symmetries, and every graph as if alone."""

import warnings

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from e3hyena import HyenaBlock, HyenaNet, HyenaOperator, SE3Hyena
from e3hyena.models import energy_and_forces
from e3hyena.nn import Interaction, Linear, TensorProductMLP, TokenNorm
from e3hyena.testing import perturb_parameters
from e3hyena.testing.arguments import POINTS
from e3hyena.testing.measure import relative_error
from tests.fuzz import strategies as draws

EXACT, ROUNDED = 1e-9, 2e-3  # of float64, and of float32 through several layers
# What random irreps cannot reach, wasteful multiplicities, orders that nothing gave.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def operator(mixer: str, irreps, out=None) -> HyenaOperator:
    torch.manual_seed(0)
    return perturb_parameters(HyenaOperator(irreps, out, irreps, mixer=mixer).double())


def block(mixer: str, irreps) -> HyenaBlock:
    torch.manual_seed(0)
    return perturb_parameters(HyenaBlock(irreps, mixer=mixer).double())


def alone(module, x: Tensor, sizes: list[int]) -> Tensor:
    return torch.cat([module(part) for part in x.split(sizes)])


mixers = pytest.mark.parametrize("mixer", draws.MIXERS)
makes = pytest.mark.parametrize("make", [operator, block])


@makes
@mixers
@given(irreps=draws.hidden(), sizes=draws.lengths, g=draws.elements(), seed=draws.seeds)
def test_a_turned_batch_turns_the_result(make, mixer, irreps, sizes, g, seed):
    module, batch = make(mixer, irreps), draws.batch_of(sizes)
    x = draws.normal(seed, sum(sizes), irreps.dim)
    y = module(x, batch)
    assert relative_error([module(g(x, irreps), batch)], [g(y, irreps)]) <= EXACT
    assert relative_error([y], [alone(module, x, sizes)]) <= EXACT


@mixers
@given(
    irreps=draws.hidden(),
    out=draws.irreps(),
    sizes=draws.some,
    seed=draws.seeds,
    place=draws.memory,
)
def test_memory_and_precision_do_not_matter(mixer, irreps, out, sizes, seed, place):
    module, batch = operator(mixer, irreps, out), draws.batch_of(sizes)
    x = draws.normal(seed, sum(sizes), irreps.dim)
    y = module(x, batch)
    assert relative_error([module(place(x), batch)], [y]) <= 1e-12
    single = module.float()(place(x.float()), batch)
    assert single.dtype == torch.float32 and single.shape == (sum(sizes), out.dim)
    assert relative_error([single.double()], [y]) <= ROUNDED


@pytest.mark.parametrize("mixer", draws.SETS)
@given(irreps=draws.hidden(), sizes=draws.some, seed=draws.seeds)
def test_sets_have_no_order(mixer, irreps, sizes, seed):
    module, batch = block(mixer, irreps), draws.batch_of(sizes)
    x, order = draws.normal(seed, sum(sizes), irreps.dim), draws.shuffled_within(sizes, seed)
    assert relative_error([module(x[order], batch)], [module(x, batch)[order]]) <= EXACT


@mixers
@given(irreps=draws.hidden(), sizes=draws.some, seed=draws.seeds)
def test_first_and_second_derivatives_are_slopes(mixer, irreps, sizes, seed):
    module, batch = operator(mixer, irreps), draws.batch_of(sizes)
    x, along = (draws.normal(seed + i, sum(sizes), irreps.dim) for i in range(2))

    def gradient(x: Tensor, keep: bool = False) -> Tensor:
        leaf = x if x.requires_grad else x.detach().requires_grad_()
        y = module(leaf, batch)
        return torch.autograd.grad((y * y.detach().cos()).sum() * 1.0, leaf, create_graph=keep)[0]

    def value(h: float) -> Tensor:
        with torch.no_grad():
            return (module(x + h * along, batch) * fixed).sum()

    fixed = module(x, batch).detach().cos()
    slope = (value(1e-5) - value(-1e-5)) / 2e-5
    assert relative_error([(gradient(x) * along).sum()[None]], [slope[None]]) <= 1e-5 or (
        abs(slope) < 1e-6
    )
    if mixer == "attention":  # torch's fused kernel has no second derivative
        return
    leaf = x.clone().requires_grad_()
    y = module(leaf, batch)
    (first,) = torch.autograd.grad((y * fixed).sum(), leaf, create_graph=True)
    (second,) = torch.autograd.grad((first * along).sum(), leaf)

    def slope_of_gradient(h: float) -> Tensor:
        leaf = (x + h * along).requires_grad_()
        return torch.autograd.grad((module(leaf, batch) * fixed).sum(), leaf)[0]

    expected = (slope_of_gradient(1e-5) - slope_of_gradient(-1e-5)) / 2e-5
    assert relative_error([second], [expected]) <= 1e-4 or expected.abs().max() < 1e-6


@given(irreps=draws.irreps(["0e", "1o"]), sizes=draws.some, g=draws.elements(), seed=draws.seeds)
def test_the_papers_operator(irreps, sizes, g, seed):
    assume(irreps.dim)
    torch.manual_seed(0)
    module = SE3Hyena(irreps, irreps, "4x0e + 4x1o", num_channels=4).double()
    batch, x = draws.batch_of(sizes), draws.normal(seed, sum(sizes), irreps.dim)
    y = module(x, batch)
    assert relative_error([module(g(x, irreps), batch)], [g(y, irreps)]) <= EXACT
    assert relative_error([y], [alone(module, x, sizes)]) <= EXACT


@given(irreps=draws.irreps(), out=draws.irreps(), n=st.integers(0, 9), g=draws.elements())
def test_maps_of_tokens(irreps, out, n, g):
    x = draws.normal(n, n, irreps.dim)
    for make, spec in (
        (lambda: Linear(irreps, out), out),
        (lambda: TensorProductMLP(irreps, out, 3), out),
        (lambda: TokenNorm(irreps), irreps),
    ):
        torch.manual_seed(0)
        module = make().double()
        y = module(x)
        assert y.shape == (n, spec.dim)
        assert relative_error([module(g(x, irreps))], [g(y, spec)]) <= EXACT


@given(irreps=draws.irreps(), out=draws.irreps(), n=st.integers(1, 9))
def test_linear_is_that_of_e3nn(irreps, out, n):
    from e3nn import o3

    ours = Linear(irreps, out).double()
    # e3nn weighs every block of the input on its own; ours are sorted and joined by kind
    theirs = o3.Linear(irreps.sort().irreps.simplify(), out.sort().irreps.simplify()).double()
    with torch.no_grad():
        for instruction, weight in zip(theirs.instructions, theirs.weight_views(), strict=True):
            ir = str(theirs.irreps_in[instruction.i_in].ir)
            weight.copy_(ours.weight[ir])
    x = draws.normal(n, n, irreps.dim)
    there, back = irreps.sort().inv, out.sort().p
    blocks = [x[:, s] for s in irreps.slices()]
    y = theirs(torch.cat([x[:, :0], *(blocks[i] for i in there)], dim=1))
    pieces, parts, start = out.sort().irreps, [], 0
    for mul, ir in pieces:
        parts.append(y[:, start : start + mul * ir.dim])
        start += mul * ir.dim
    expected = torch.cat([y[:, :0], *(parts[i] for i in back)], dim=1)
    assert relative_error([ours(x)], [expected]) <= 1e-12


@given(irreps=draws.irreps(), molecule=draws.molecules(), g=draws.elements(shift=5.0))
def test_messages_turn_with_the_molecule(irreps, molecule, g):
    from e3hyena.ops.radius_graph import radius_graph

    _, pos = molecule
    torch.manual_seed(0)
    module = Interaction(irreps, cutoff=2.5).double()
    x, edges = draws.normal(0, len(pos), irreps.dim), radius_graph(pos, 2.5)
    y = module(x, pos, edges)
    turned = module(g(x, irreps), g(pos, POINTS), edges)
    assert relative_error([turned], [g(y, irreps)]) <= EXACT


NETS = pytest.mark.parametrize("mixer", [None, *draws.SETS])
FEW = settings(max_examples=settings().max_examples // 3)


def network(mixer: str | None, out: str) -> HyenaNet:
    torch.manual_seed(0)
    options = {"irreps_hidden": "4x0e + 4x1o + 4x1e", "num_layers": 2, "cutoff": 2.5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return perturb_parameters(HyenaNet(out, mixer=mixer, **options).double())


@NETS
@FEW
@given(
    out=st.sampled_from(["0e", "1o", "2e + 0e", "1e", "0o"]),
    several=st.lists(draws.molecules(), min_size=1, max_size=3),
    g=draws.elements(shift=50.0),
    seed=draws.seeds,
)
def test_a_network_knows_neither_frame_nor_listing_nor_batch(mixer, out, several, g, seed):
    net, sizes = network(mixer, out), [len(z) for z, _ in several]
    z, pos = (torch.cat(parts) for parts in zip(*several, strict=True))
    batch, order = draws.batch_of(sizes), draws.shuffled_within(sizes, seed)
    y = net(z, pos, batch)
    assert _equal(net(z, g(pos, POINTS), batch), g(y, out))
    assert _equal(net(z[order], pos[order], batch), y)
    assert _equal(torch.cat([net(*molecule) for molecule in several]), y)


def _equal(found, expected):
    """Relative to one where that is more: a property may vanish by symmetry."""
    return (found - expected).abs().max() <= EXACT * (1 + expected.abs().max())


@NETS
@FEW
@given(molecule=draws.molecules(), seed=draws.seeds)
def test_forces_are_slopes_of_the_energy(mixer, molecule, seed):
    (z, pos), net = molecule, network(mixer, "0e")
    along = draws.normal(seed, *pos.shape)
    _, forces = energy_and_forces(net, z, pos)
    with torch.no_grad():
        slope = (net(z, pos + 1e-5 * along) - net(z, pos - 1e-5 * along)).sum() / 2e-5
    assert abs(float((forces * along).sum() + slope)) <= 1e-6 * (1 + abs(float(slope)))
    assert forces.sum(0).abs().max() <= 1e-9 * (1 + forces.abs().max())
