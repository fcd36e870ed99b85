"""The linear map is e3nn's, in any layout."""

import pytest
import torch
from e3nn import o3
from torch.autograd import gradcheck, gradgradcheck

from e3hyena.irreps import ChannelIrreps
from e3hyena.nn import Linear
from e3hyena.testing import assert_equivariant

PAIRS = {
    "plain": ("4x0e + 3x1o", "2x0e + 5x1o"),
    "unsorted": ("3x1o + 4x0e + 2x2e", "2e + 3x0e + 1o"),
    "repeated": ("1o + 2x0e + 3x1o + 0e", "2x1o + 0e + 1o + 2x0e"),
    "zero multiplicity": ("2x0e + 0x3e + 1o", "0x3e + 1o + 0x0o + 2x0e"),
    "parities": ("2x0e + 3x0o + 1e + 2x1o", "0o + 0e + 2x1o + 2x1e"),
    "unreachable output": ("3x0e", "2x1o + 0e"),
    "unused input": ("3x0e + 2x2o", "2x0e"),
    "empty output": ("3x0e", ""),
    "empty input": ("", "2x0e + 1o"),
    "empty": ("", ""),
}


def copy_weights(linear: Linear, reference: o3.Linear) -> None:
    """Write our weights into e3nn's, block by block of repeated irreps."""
    starts: list[dict[int, int]] = []
    for irreps in (reference.irreps_in, reference.irreps_out):
        used: dict[o3.Irrep, int] = {}
        offsets = {}
        for i, (mul, ir) in enumerate(irreps):
            offsets[i] = used.get(ir, 0)
            used[ir] = offsets[i] + mul
        starts.append(offsets)
    with torch.no_grad():
        for _, instruction, view in reference.weight_views(yield_instruction=True):
            row, column = starts[0][instruction.i_in], starts[1][instruction.i_out]
            rows, columns = view.shape
            if not rows * columns:
                continue
            ir = str(reference.irreps_in[instruction.i_in].ir)
            view.copy_(linear.weight[ir][row : row + rows, column : column + columns])


@pytest.mark.parametrize("name", PAIRS)
def test_equals_e3nn(name: str) -> None:
    irreps_in, irreps_out = PAIRS[name]
    linear, reference = Linear(irreps_in, irreps_out), o3.Linear(irreps_in, irreps_out)
    copy_weights(linear, reference)
    numel = sum(p.numel() for p in linear.parameters())
    assert numel == reference.weight_numel
    x = torch.randn(6, reference.irreps_in.dim, requires_grad=True)
    y, expected = linear(x), reference(x)
    torch.testing.assert_close(y, expected, rtol=1e-6, atol=2e-6)
    if not numel:
        assert y.shape == (6, reference.irreps_out.dim) and not y.any()
        return
    cotangent = torch.randn_like(y)
    (grad,) = torch.autograd.grad(y, x, cotangent)
    (wanted,) = torch.autograd.grad(expected, x, cotangent)
    torch.testing.assert_close(grad, wanted, rtol=1e-6, atol=5e-6)


def test_weight_gradient_equals_e3nn() -> None:
    linear, reference = Linear("5x1o", "4x1o"), o3.Linear("5x1o", "4x1o")
    copy_weights(linear, reference)
    x, cotangent = torch.randn(6, 15), torch.randn(6, 12)
    linear(x).backward(cotangent)
    reference(x).backward(cotangent)
    expected = reference.weight.grad.view(5, 4)
    torch.testing.assert_close(linear.weight["1o"].grad, expected, rtol=1e-6, atol=5e-6)


def test_initialised_as_e3nn() -> None:
    """Unit-normal weights, and outputs of unit variance for every kind of irrep."""
    irreps = o3.Irreps("64x0e + 64x1o")
    weights = [Linear(irreps, irreps), o3.Linear(irreps, irreps)]
    for layer in weights:
        values = torch.cat([p.flatten() for p in layer.parameters()])
        assert abs(values.mean().item()) < 0.03 and abs(values.std().item() - 1) < 0.03
        y = layer(irreps.randn(500, -1))
        for part in irreps.slices():
            assert 0.85 < y[:, part].square().mean() < 1.15


def test_groups_are_columns() -> None:
    layer = Linear("3x0e + 2x1o", "4x0e + 1o", groups=3, bias=True)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(5, 9)
    for group, y in enumerate(layer(x)):
        single = Linear("3x0e + 2x1o", "4x0e + 1o", bias=True)
        with torch.no_grad():
            single.weight["0e"].copy_(layer.weight["0e"][:, 4 * group : 4 * group + 4])
            single.weight["1o"].copy_(layer.weight["1o"][:, group : group + 1])
            single.bias.copy_(layer.bias[4 * group : 4 * group + 4])
        torch.testing.assert_close(y, single(x))


def test_layouts_agree() -> None:
    """The same weights between channel layouts, in e3nn's order within a channel."""
    channels_in, channels_out = ChannelIrreps("4x0e + 2x1o"), ChannelIrreps("3x0e + 6x1o")
    tokens = Linear(channels_in.irreps, channels_out.irreps)
    channels = Linear(channels_in, channels_out)
    channels.load_state_dict(tokens.state_dict())
    x = torch.randn(7, 10)
    y = channels(channels_in.to_channels(x))
    assert y.shape == (3, 7, 7)
    torch.testing.assert_close(channels_out.to_tokens(y), tokens(x))


def test_bias_only_on_scalars() -> None:
    layer = Linear("2x0e + 1o", "2x0e + 0o + 1o", bias=True)
    assert layer.bias.shape == (2,) and not layer.bias.any()
    torch.nn.init.ones_(layer.bias)
    y = layer(torch.zeros(3, 5))
    assert (y[:, :2] == 1).all() and not y[:, 2:].any()


def test_no_bias_without_scalars() -> None:
    layer = Linear("2x0e + 3x1o", "2x1o", bias=True)
    assert layer.bias is None
    x = torch.randn(4, 11, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).sum(), x)
    assert gradient[:, 2:].abs().min() > 0 and not gradient[:, :2].any()


def test_bias_survives_empty_input() -> None:
    layer = Linear("", "2x0e", bias=True)
    torch.nn.init.ones_(layer.bias)
    assert (layer(torch.zeros(3, 0)) == 1).all()


def test_no_tokens() -> None:
    layer = Linear("2x0e + 1o", "0e + 2x1o")
    assert layer(torch.zeros(0, 5)).shape == (0, 7)


def test_equivariant() -> None:
    class Wrapped(Linear):
        irreps_in, irreps_out = o3.Irreps(PAIRS["repeated"][0]), o3.Irreps(PAIRS["repeated"][1])

    assert_equivariant(Wrapped(Wrapped.irreps_in, Wrapped.irreps_out, bias=True))


def test_unparsable_irreps() -> None:
    with pytest.raises(ValueError, match="'3q' does not parse"):
        Linear("3q", "0e")


@pytest.mark.parametrize(
    ("layout_in", "layout_out"),
    [
        ("1o + 2x0e + 1o + 2e", "2x1o + 0e + 0o + 1o"),
        ("2x0e + 1o", ChannelIrreps("4x0e + 2x1o")),
        (ChannelIrreps("4x0e + 2x1o"), "3x0e + 1o"),
        (ChannelIrreps("4x0e + 2x1o"), ChannelIrreps("4x0e + 8x1o")),
    ],
)
def test_gradients_of_both_orders(layout_in, layout_out) -> None:
    layer = Linear(layout_in, layout_out, groups=2, bias=True).double()
    names, parameters = zip(*layer.named_parameters(), strict=True)
    tokens = isinstance(layout_in, str)
    shape = (3, layer.layout_in.dim) if tokens else (2, layer.layout_in.dim, 3)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)

    def function(x: torch.Tensor, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = dict(zip(names, values, strict=True))
        return tuple(torch.func.functional_call(layer, given, (x,)))

    assert gradcheck(function, (x, *parameters), fast_mode=True)
    assert gradgradcheck(function, (x, *parameters), fast_mode=True)
