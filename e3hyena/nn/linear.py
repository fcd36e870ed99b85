"""Linear maps between irreps: one matrix product per kind of irrep."""

from __future__ import annotations

from collections.abc import Mapping

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
        self.bias = nn.Parameter(torch.empty(groups * num_scalars)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights from a unit normal, set biases to zero."""
        for weight in self.weight.values():
            nn.init.normal_(weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """One result, or a list of ``groups`` results."""
        tokens = isinstance(self.layout_in, TokenLayout)
        num_tokens = x.shape[0] if tokens else x.shape[-1]
        outputs = self._blocks(self.layout_in.read(x) if x.numel() else {}, num_tokens, x)
        results = []
        for group in range(self.groups):
            blocks = {ir: parts[group] for ir, parts in outputs.items()}
            results.append(self._write(blocks, num_tokens, x))
        return results if self.groups > 1 else results[0]

    def _blocks(
        self, blocks: Mapping[str, Tensor], num_tokens: int, like: Tensor
    ) -> dict[str, tuple[Tensor, ...]]:
        outputs = {}
        for ir, mul in self.mul_out.items():
            width = self.layout_out.widths[ir]
            if ir in blocks:
                weight = self.weight[ir] * self.mul_in[ir] ** -0.5
                y = weight.T @ blocks[ir].reshape(self.mul_in[ir], width * num_tokens)
            else:
                y = like.new_zeros(self.groups * mul, width * num_tokens)
            if self.bias is not None and ir == "0e":
                y = y + self.bias[:, None]
            outputs[ir] = y.unflatten(1, (width, num_tokens)).split(mul)
        return outputs

    def _write(self, blocks: Mapping[str, Tensor], num_tokens: int, like: Tensor) -> Tensor:
        if blocks:
            return self.layout_out.write(blocks)
        if isinstance(self.layout_out, TokenLayout):
            return like.new_zeros(num_tokens, 0)
        return like.new_zeros(self.layout_out.num_channels, 0, num_tokens)

    def extra_repr(self) -> str:
        numel = sum(p.numel() for p in self.parameters())
        return (
            f"{self.layout_in.irreps} -> {self.layout_out.irreps}, groups={self.groups} | "
            f"{numel} parameters"
        )


def _layout(layout: Layout | IrrepsLike) -> Layout:
    if isinstance(layout, (TokenLayout, ChannelIrreps)):
        return layout
    return TokenLayout(parse_irreps(layout))
