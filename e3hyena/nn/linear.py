"""Linear maps between irreps: one matrix product per kind of irrep."""

from typing import Any

import torch
from torch import Tensor, nn

from e3hyena.irreps import IrrepsLike, Layout, TokenLayout, parse_irreps
from e3hyena.ops.exporting import exporting
from e3hyena.ops.opaque import one_after_the_other


class Linear(nn.Module):
    r"""The map of ``e3nn.o3.Linear``, between any two layouts.

    .. math:: y_{v m} = \frac{1}{\sqrt{U}} \sum_{u=1}^{U} W_{uv}\, x_{u m}

    for every kind of irrep, U the input multiplicity, W drawn from a unit normal: the meaning and
    the initialisation are ``o3.Linear``'s. Output irreps absent from the input are zero.

    Parameters
    ----------
    layout_in, layout_out : RowLayout, TokenLayout, ChannelIrreps, Irreps or str
        How the operands are laid out; irreps stand for e3nn's ``(T, dim)``.
    groups : int
        Number of results computed in one product (3 for query, key and value).
    bias : bool
        Add a bias, initially zero, to ``0e`` outputs.

    Examples
    --------
    >>> from e3hyena.irreps import ChannelIrreps
    >>> linear = Linear("8x0e + 8x1o", ChannelIrreps("4x0e + 4x1o"), groups=3)
    >>> q, k, v = linear(torch.randn(10, 32))
    >>> q.shape
    torch.Size([4, 4, 10])
    """

    def __init__(
        self,
        layout_in: Layout | IrrepsLike,
        layout_out: Layout | IrrepsLike,
        *,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.layout_in, self.layout_out = _layout(layout_in), _layout(layout_out)
        self.groups = groups
        self.mul_in = self.layout_in.multiplicities
        self.mul_out = self.layout_out.multiplicities
        self._joint = self.layout_out if groups == 1 else self.layout_out.times(groups)
        self.weight = nn.ParameterDict(
            {
                ir: nn.Parameter(torch.empty(self.mul_in[ir], groups * mul))
                for ir, mul in self.mul_out.items()
                if ir in self.mul_in
            }
        )
        num_scalars = self.mul_out.get("0e", 0)
        biased = bias and num_scalars > 0
        self.bias = nn.Parameter(torch.empty(groups * num_scalars)) if biased else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights from a unit normal, set biases to zero."""
        for weight in self.weight.values():
            nn.init.normal_(weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """One result, or a list of ``groups`` results."""
        kinds = [ir for ir in self.mul_out if ir in self.mul_in]
        scales = [(ir, self.mul_in[ir] ** -0.5) for ir in kinds]
        weights = [self.weight[ir] for ir in kinds]
        y: Tensor = _apply(self.layout_in, self._joint, scales, self.bias, x, *weights)
        return y if self.groups == 1 else list(self._joint.shares(y, self.groups))

    def extra_repr(self) -> str:
        numel = sum(p.numel() for p in self.parameters())
        return (
            f"{self.layout_in.irreps} -> {self.layout_out.irreps}, groups={self.groups} | "
            f"{numel} parameters"
        )


def _apply(
    layout_in: Layout, layout_out: Layout, scales: Any, bias: Tensor | None, *tensors: Tensor
) -> Any:
    if exporting() and layout_out.multiplicities:
        return _without_places(layout_in, layout_out, scales, bias, *tensors)
    operands = tensors if bias is None else (bias, *tensors)
    needed = torch.is_grad_enabled() and any(x.requires_grad for x in operands)
    if torch.compiler.is_compiling() and not needed:
        # without a gradient the compiler inlines a function of any number of operands wrongly
        return _Map.forward(layout_in, layout_out, scales, bias, *tensors)
    return _Map.apply(layout_in, layout_out, scales, bias, *tensors)


class _Map(torch.autograd.Function):
    """A matrix product per kind, written straight into the layout of the result.

    Weights are ``(mul_in, mul_out)``. The gradient by the operand is the map of the transposed
    weights, so torch differentiates it again.
    """

    @staticmethod
    def forward(
        layout_in: Layout,
        layout_out: Layout,
        scales: list[tuple[str, float]],
        bias: Tensor | None,
        x: Tensor,
        *weights: Tensor,
    ) -> Tensor:
        blocks = layout_in.read(x) if x.numel() else {}
        by_kind = {ir: (w, scale) for (ir, scale), w in zip(scales, weights, strict=True)}
        result = layout_out.empty(layout_in.num_tokens(x), x)
        for ir, copies, place in layout_out.places(result):
            if ir not in by_kind or not x.numel():
                place.zero_()
            else:
                weight, scale = by_kind[ir]
                columns = weight[:, copies].T
                _flat(place).addmm_(columns, _flat(blocks[ir]), beta=0, alpha=scale)
            if bias is not None and ir == "0e":
                place += bias[copies, None, None]
        return layout_out.finish(result)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.layouts, ctx.scales, _, *tensors = inputs[:2], *inputs[2:]
        ctx.save_for_backward(*tensors)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        return one_after_the_other(_Map.apply)(info, in_dims, *inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        """In terms that torch differentiates again."""
        layout_in, layout_out = ctx.layouts
        x, *weights = ctx.saved_tensors  # read once: a checkpoint frees them at once
        by_x: Tensor | None = None
        by_weights: list[Tensor | None] = [None] * len(weights)
        by_bias: Tensor | None = None
        if ctx.needs_input_grad[4]:
            by_x = _apply(layout_out, layout_in, ctx.scales, None, grad, *(w.T for w in weights))
        if ctx.needs_input_grad[3] or any(ctx.needs_input_grad[5:]):
            parts = layout_out.read(grad)
            if ctx.needs_input_grad[3]:
                by_bias = parts["0e"].sum(dim=(1, 2))
            blocks = layout_in.read(x)
            by_weights = [_gram(blocks[ir], parts[ir], scale) for ir, scale in ctx.scales]
        return None, None, None, by_bias, by_x, *by_weights


def _without_places(
    layout_in: Layout, layout_out: Layout, scales: Any, bias: Tensor | None, x: Tensor, *ws: Tensor
) -> Tensor:
    """The same where memory cannot be filled in place: an exported program has no history."""
    blocks, number = layout_in.read(x), layout_in.num_tokens(x)
    widths, found = layout_out.widths, {}
    for (ir, scale), weight in zip(scales, ws, strict=True):
        found[ir] = ((scale * weight).T @ _flat(blocks[ir])).unflatten(1, (widths[ir], number))
    for ir, mul in layout_out.multiplicities.items():
        block = found[ir] if ir in found else x.new_zeros(mul, widths[ir], number)
        found[ir] = block if bias is None or ir != "0e" else block + bias[:, None, None]
    return layout_out.write(found)


def _flat(block: Tensor) -> Tensor:
    """``(mul, 2l+1, T)`` -> ``(mul, (2l+1) T)``; ``flatten`` itself cannot be batched."""
    return block.reshape(len(block), block.shape[1] * block.shape[2])


def _gram(block: Tensor, part: Tensor, scale: float) -> Tensor:
    """Products of rows; what stands first is not read."""
    return torch.addmm(block.new_empty(1), _flat(block), _flat(part).T, beta=0, alpha=scale)


def _layout(layout: Layout | IrrepsLike) -> Layout:
    if isinstance(layout, Layout):
        return layout
    return TokenLayout(parse_irreps(layout))
