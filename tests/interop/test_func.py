"""Operators under torch.func, checkpoints, batched cotangents and inference mode.

What is compared is the same operator called plainly. The fused kernel of ``attention`` is torch's
own: it has no batching rule (torch warns and loops) and no second derivative.
"""

import pytest
import torch
from torch.func import functional_call, grad, jacrev, vjp, vmap
from torch.utils.checkpoint import checkpoint

from e3hyena import HyenaOperator
from e3hyena.mixers import MIXERS
from e3hyena.nn.linear import Linear
from e3hyena.ops.backends import native, use_backend
from e3hyena.testing.measure import relative_error

LIMIT = 1e-12
slow_rule = pytest.mark.filterwarnings("ignore:There is a performance drop")


@pytest.fixture(params=MIXERS)
def operator(request):
    """Every mixer's operator in float64."""
    torch.manual_seed(0)
    return HyenaOperator("4x0e + 4x1o", mixer=request.param).double()


@pytest.fixture(params=[None, (0, 3, 8)], ids=["one graph", "two graphs"])
def function(request, operator):
    """The operator as a function of the features."""
    ptr = None if request.param is None else torch.tensor(request.param)
    return lambda x: operator(x, ptr=ptr)


@pytest.fixture
def x():
    """Features of eight tokens."""
    torch.manual_seed(1)
    return torch.randn(8, 16, dtype=torch.float64)


def gradient(function, x):
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(function(leaf).sin().sum(), leaf)[0]


def test_grad_and_vjp(function, x):
    expected = gradient(function, x)
    assert relative_error([grad(lambda x: function(x).sin().sum())(x)], [expected]) <= LIMIT
    y, pull = vjp(function, x)
    assert relative_error([pull(y.cos())[0]], [expected]) <= LIMIT


def test_grad_of_grad(operator, function, x):
    if operator.mixer_name == "attention":
        pytest.skip("torch's fused attention has no second derivative")

    def penalty(x):
        return grad(lambda x: function(x).sin().sum())(x).square().sum()

    leaf = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(function(leaf).sin().sum(), leaf, create_graph=True)
    (expected,) = torch.autograd.grad(first.square().sum(), leaf)
    assert relative_error([grad(penalty)(x)], [expected]) <= LIMIT


@slow_rule
def test_jacrev(function, x):
    leaf = x.clone().requires_grad_()
    few = function(leaf)[2:4, 3:6]
    rows = [torch.autograd.grad(y, leaf, retain_graph=True)[0] for y in few.flatten()]
    jacobian = jacrev(lambda x: function(x)[2:4, 3:6])(x)
    assert relative_error([jacobian.flatten(0, 1)], [torch.stack(rows)]) <= LIMIT


def test_functional_call_and_gradients_by_parameters(operator, x):
    parameters = {name: p.detach() for name, p in operator.named_parameters()}
    actual = grad(lambda p: functional_call(operator, p, (x,)).sin().sum())(parameters)
    expected = torch.autograd.grad(operator(x).sin().sum(), operator.parameters())
    assert len(actual) == len(expected)
    assert relative_error(list(actual.values()), list(expected)) <= LIMIT


@slow_rule
def test_vmap_over_samples(function, x):
    many = torch.stack([x, 2 * x, -x])
    expected = torch.stack([function(each) for each in many])
    assert relative_error([vmap(function)(many)], [expected]) <= LIMIT
    assert relative_error([vmap(function, 1, 1)(many.movedim(0, 1))], [expected.movedim(0, 1)]) <= (
        LIMIT
    )


@slow_rule
def test_vmap_over_an_ensemble_of_parameters(operator, x):
    parameters = {name: p.detach() for name, p in operator.named_parameters()}
    stacked = {name: torch.stack([p, 0.5 * p]) for name, p in parameters.items()}
    half = {name: 0.5 * p for name, p in parameters.items()}
    expected = [functional_call(operator, each, (x,)) for each in (parameters, half)]
    actual = vmap(lambda p: functional_call(operator, p, (x,)))(stacked)
    assert relative_error(list(actual), expected) <= LIMIT


@slow_rule
def test_gradient_per_sample(operator, x):
    parameters = {name: p.detach() for name, p in operator.named_parameters()}

    def loss(p, x):
        return functional_call(operator, p, (x,)).sin().sum()

    many = torch.stack([x, 2 * x])
    actual = vmap(grad(loss), (None, 0))(parameters, many)
    for i, each in enumerate(many):
        expected = grad(loss)(parameters, each)
        assert relative_error([g[i] for g in actual.values()], list(expected.values())) <= LIMIT


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_batched_cotangents(function, x):
    leaf = x.clone().requires_grad_()
    y = function(leaf)
    cotangents = torch.stack([torch.ones_like(y), y.detach().cos()])
    (actual,) = torch.autograd.grad(y, leaf, cotangents, is_grads_batched=True, retain_graph=True)
    expected = [torch.autograd.grad(y, leaf, c, retain_graph=True)[0] for c in cotangents]
    assert relative_error(list(actual), expected) <= LIMIT


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoint(function, x, reentrant):
    leaf = x.clone().requires_grad_()
    checkpoint(function, leaf, use_reentrant=reentrant).sin().sum().backward()
    assert relative_error([leaf.grad], [gradient(function, x)]) <= LIMIT


def test_checkpoint_inside_of_a_second_derivative(operator, function, x):
    if operator.mixer_name == "attention":
        pytest.skip("torch's fused attention has no second derivative")
    results = []
    for wrapped in (function, lambda x: checkpoint(function, x, use_reentrant=False)):
        leaf = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(wrapped(leaf).sin().sum(), leaf, create_graph=True)
        results.append(torch.autograd.grad(first.square().sum(), leaf)[0])
    assert relative_error(results[1:], results[:1]) <= LIMIT


def test_inference_mode(function, x):
    with torch.inference_mode():
        y = function(x)
    assert y.is_inference()
    assert relative_error([y.clone()], [function(x)]) == 0
    gradient(function, x)  # nothing kept from inference mode is in the way


@pytest.mark.parametrize("backend", ["eager", "native"])
def test_every_back_end_under_vmap_of_grad(backend, x):
    if backend == "native" and not native.available():
        pytest.skip("no C compiler")
    torch.manual_seed(0)
    operator = HyenaOperator("4x0e + 4x1o", mixer="coordinate").double()
    many = torch.stack([x, 2 * x])
    with use_backend(backend):
        actual = vmap(grad(lambda x: operator(x).sin().sum()))(many)
        expected = [gradient(operator, each) for each in many]
    assert relative_error(list(actual), expected) <= LIMIT


def test_forward_mode_is_refused_with_an_error(x):
    """Nothing silently wrong: torch names what is missing."""
    linear = Linear("4x0e + 4x1o", "4x0e + 4x1o").double()
    with pytest.raises(Exception, match=r"jvp|forward"):
        torch.func.jvp(linear, (x,), (x,))
