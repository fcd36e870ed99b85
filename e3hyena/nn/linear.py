"""Linear maps between irreps: one matrix product per kind of irrep."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps, IrrepsLike, TokenLayout, parse_irreps

Layout = TokenLayout | ChannelIrreps


class Linear(nn.Module):
    r"""The map of ``e3nn.o3.Linear``, between any two layouts.

    .. math:: y_{v m} = \frac{1}{\sqrt{U}} \sum_{u=1}^{U} W_{uv}\, x_{u m}

    for every kind of irrep, U the input multiplicity, W drawn from a unit normal: the meaning and
    the initialisation are ``o3.Linear``'s. Output irreps absent from the input are zero.

    Parameters
    ----------
    layout_in, layout_out : TokenLayout, ChannelIrreps, Irreps or str
        How the operands are laid out; irreps stand for e3nn's ``(T, dim)``.
    groups : int
        Number of results computed in one product (3 for query, key and value).
    bias : bool
        Add a bias, initially zero, to ``0e`` outputs.

    Examples
    --------
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
        weights = [self.weight[ir] for ir in _kinds(self.layout_in, self.layout_out)]
        results = _Map.apply(self.layout_in, self.layout_out, self.groups, x, self.bias, *weights)
        return list(results) if self.groups > 1 else results[0]

    def extra_repr(self) -> str:
        numel = sum(p.numel() for p in self.parameters())
        return (
            f"{self.layout_in.irreps} -> {self.layout_out.irreps}, groups={self.groups} | "
            f"{numel} parameters"
        )


class _Map(torch.autograd.Function):
    """The map; matrix products write straight into the layout of the result."""

    @staticmethod
    def forward(
        ctx: Any,
        layout_in: Layout,
        layout_out: Layout,
        groups: int,
        x: Tensor,
        bias: Tensor | None,
        *weights: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, *weights)
        ctx.layouts = layout_in, layout_out
        read = layout_in.read(x) if x.numel() else {}
        blocks = {ir: block.flatten(1) for ir, block in read.items()}
        num_tokens = x.shape[0] if isinstance(layout_in, TokenLayout) else x.shape[-1]
        by_kind = dict(zip(_kinds(layout_in, layout_out), weights, strict=True))
        results = []
        for group in range(groups):
            result = layout_out.empty(num_tokens, x)
            for ir, copies, place in layout_out.places(result):
                if ir in blocks and ir in by_kind:
                    weight = by_kind[ir].chunk(groups, dim=1)[group][:, copies].T
                    scale = len(blocks[ir]) ** -0.5
                    place.flatten(1).addmm_(weight, blocks[ir], beta=0, alpha=scale)
                else:
                    place.zero_()
                if bias is not None and ir == "0e":
                    place += bias.chunk(groups)[group][copies, None, None]
            results.append(layout_out.finish(result))
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        """In terms that torch differentiates again."""
        x, *weights = ctx.saved_tensors
        layout_in, layout_out = ctx.layouts
        kinds = _kinds(layout_in, layout_out)
        parts = [layout_out.read(grad) for grad in grads]
        by_x: Tensor | None = None
        by_bias: Tensor | None = None
        by_weights: list[Tensor | None] = [None] * len(weights)
        if ctx.needs_input_grad[3] and x.numel():
            blocks = (
                layout_in.read(torch.zeros_like(x)) if len(kinds) < len(layout_in.widths) else {}
            )
            for ir, weight in zip(kinds, weights, strict=True):
                total = sum(
                    (w * len(w) ** -0.5) @ part[ir].flatten(1)
                    for w, part in zip(weight.chunk(len(grads), dim=1), parts, strict=True)
                )
                blocks[ir] = total.unflatten(1, (layout_in.widths[ir], -1))
            by_x = layout_in.write(blocks)
        elif ctx.needs_input_grad[3]:
            by_x = torch.zeros_like(x)
        if ctx.needs_input_grad[4]:
            by_bias = torch.cat([part["0e"].sum(dim=(1, 2)) for part in parts])
        if any(ctx.needs_input_grad[5:]):
            read = {ir: block.flatten(1) for ir, block in layout_in.read(x).items()}
            by_weights = [
                torch.cat([read[ir] @ part[ir].flatten(1).T for part in parts], dim=1)
                * len(weight) ** -0.5
                for ir, weight in zip(kinds, weights, strict=True)
            ]
        return None, None, None, by_x, by_bias, *by_weights


def _kinds(layout_in: Layout, layout_out: Layout) -> list[str]:
    """Kinds of irreps on both sides, in the order of the weights."""
    return [ir for ir in layout_out.multiplicities if ir in layout_in.multiplicities]


def _layout(layout: Layout | IrrepsLike) -> Layout:
    if isinstance(layout, (TokenLayout, ChannelIrreps)):
        return layout
    return TokenLayout(parse_irreps(layout))
