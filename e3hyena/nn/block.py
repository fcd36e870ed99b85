"""Hyena block: what replaces a transformer block."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps, IrrepsLike, RowLayout, parse_irreps
from e3hyena.nn.feed_forward import FeedForward
from e3hyena.nn.norm import TokenNorm
from e3hyena.nn.operator import HyenaOperator, check_features, default_hidden, segments_of
from e3hyena.nn.precision import to_working
from e3hyena.nn.reach import Kinds
from e3hyena.ops.precision import full_precision
from e3hyena.ops.segments import Segments

_STEP = 0.25


class HyenaBlock(nn.Module):
    r"""Norm, operator, residual, norm, feed-forward, residual.

    .. math:: x \leftarrow \frac{x + a\,\mathrm{operator}(\mathrm{norm}(x))}{\sqrt{1+a^2}},\qquad
              x \leftarrow \frac{x + a\,\mathrm{FFN}(\mathrm{norm}(x))}{\sqrt{1+a^2}}

    with :math:`a = 1/4`, so that blocks in any number keep unit variance at initialisation, where
    a plain sum grows with depth.

    Parameters
    ----------
    irreps : o3.Irreps or str
        Irreps of the tokens, in and out.
    mixer : str or None
        See :class:`HyenaOperator`; None leaves the operator out (feed-forward only).
    irreps_hidden : o3.Irreps or str, optional
        Irreps of q, k and v.
    boundary, short_conv, mixer_options
        See :class:`HyenaOperator`.
    expansion : int
        Width of the feed-forward network relative to the distinct irreps of ``irreps``.

    Examples
    --------
    >>> import torch
    >>> block = HyenaBlock("16x0e + 16x1o", mixer="coordinate")
    >>> block(torch.randn(12, 64), ptr=torch.tensor([0, 5, 12])).shape
    torch.Size([12, 64])
    """

    def __init__(
        self,
        irreps: IrrepsLike,
        *,
        mixer: str | None = "query_key",
        irreps_hidden: IrrepsLike | None = None,
        boundary: str | None = None,
        short_conv: int = 0,
        mixer_options: Mapping[str, Any] | None = None,
        expansion: int = 2,
    ) -> None:
        super().__init__()
        self.irreps_in = self.irreps_out = parse_irreps(irreps)
        hidden = default_hidden(self.irreps_in) if irreps_hidden is None else irreps_hidden
        self.operator: HyenaOperator | None = None
        if mixer is not None:
            self.norm = TokenNorm(self.irreps_in)
            self.operator = HyenaOperator(
                self.irreps_in,
                irreps_hidden=hidden,
                mixer=mixer,
                boundary=boundary,
                short_conv=short_conv,
                mixer_options=mixer_options,
            )
        self.feed_forward_norm = TokenNorm(self.irreps_in)
        wide = expansion * default_hidden(self.irreps_in)
        self.layout = RowLayout(self.irreps_in)
        self.feed_forward = FeedForward(self.layout, self.layout, ChannelIrreps(wide))

    def forward(
        self, x: Tensor, batch: Tensor | Segments | None = None, *, ptr: Tensor | None = None
    ) -> Tensor:
        """``(num_tokens, irreps.dim)`` -> the same; arguments as in :class:`HyenaOperator`."""
        check_features(x, self.layout)
        with full_precision(x):
            y = to_working(x, self).flatten(0, -2).t().contiguous()  # rows until the end
            if self.operator is not None:
                segments = segments_of(x, batch, ptr)
                y = residual(y, self.operator.rows(self.norm.rows(y), segments))
            y = residual(y, self.feed_forward(self.feed_forward_norm.rows(y)))
            return y.t().contiguous().view(x.shape).to(x.dtype)

    def reached(self, given: Kinds) -> Kinds:
        """Kinds of irreps of the result that are not zero, for tokens of the given kinds."""
        return given if self.operator is None else given | self.operator.reached(given)

    def extra_repr(self) -> str:
        numel = sum(p.numel() for p in self.parameters())
        mixer = None if self.operator is None else self.operator.mixer_name
        return f"{self.irreps_in}, mixer={mixer!r} | {numel} parameters"


def residual(x: Tensor, update: Tensor) -> Tensor:
    """``(x + a update) / sqrt(1 + a^2)``: unit variance in both, unit variance out."""
    return torch.add(x, update, alpha=_STEP).mul_((1 + _STEP**2) ** -0.5)
