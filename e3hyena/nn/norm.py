"""Equivariant root-mean-square norm."""

import torch
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps, IrrepsLike, RowLayout, parse_irreps
from e3hyena.ops.norm import norm


class RMSNorm(nn.Module):
    r"""Divide a token by the root mean square of its components, then scale every irrep.

    .. math:: y_{cr} = g_{cr}\, x_{cr} \Big/
              \sqrt{\tfrac{1}{K}\sum_{\kappa}\overline{x_\kappa^2} + \varepsilon}

    :math:`\kappa` runs over the K kinds of irreps, the bar over channels and components. One factor
    for all kinds keeps their ratio, so the length of a vector relative to the scalars survives.

    Parameters
    ----------
    channels : ChannelIrreps
        What is normalised, in channel layout ``(C, d, T)``.
    eps : float
        Added to the mean square.

    Examples
    --------
    >>> norm = RMSNorm(ChannelIrreps("8x0e + 8x1o"))
    >>> round(norm(7 * torch.randn(8, 4, 1000)).square().mean().item(), 1)
    1.0
    """

    copies: Tensor
    shares: Tensor

    def __init__(self, channels: ChannelIrreps, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels = channels
        self.eps = eps
        shape = channels.num_channels, len(channels.per_channel)
        self.scale = nn.Parameter(torch.ones(shape))
        kinds = len(channels.copies)
        sizes = [
            kinds * channels.multiplicities[str(ir)] * ir.dim for _, ir in channels.per_channel
        ]
        # of every component: its irrep copy, and the number of components of its kind times K
        copies = torch.arange(self.scale.numel()).view(shape)
        self._sizes = self._of_components(torch.tensor(sizes).expand(shape))
        self.register_buffer("copies", self._of_components(copies), persistent=False)
        shares = self._sizes.to(self.scale).reciprocal()
        self.register_buffer("shares", shares.detach(), persistent=False)

    def _of_components(self, per_copy: Tensor) -> Tensor:
        """``(C, copies)`` -> one value for every row that is normalised."""
        return self.channels.expand(per_copy, dim=1).flatten()

    def forward(self, x: Tensor) -> Tensor:
        """``(C, d, T)`` -> ``(C, d, T)``."""
        return self.rows(x.flatten(0, 1)).view(x.shape)

    def rows(self, x: Tensor) -> Tensor:
        """The same, components by tokens: ``(R, T)`` -> ``(R, T)``."""
        if not self.channels.dim:
            return x
        return norm(x, self.shares, self.scale.flatten()[self.copies], self.eps)

    def _apply(self, fn, recurse=True):  # type: ignore[no-untyped-def]
        """Move, but divide again: float64 shares cannot come from float32."""
        super()._apply(fn, recurse)
        self.shares = self._sizes.to(self.shares).reciprocal()
        return self

    def extra_repr(self) -> str:
        return f"{self.channels.irreps}"


class TokenNorm(RMSNorm):
    """:class:`RMSNorm` of features in e3nn's layout ``(..., dim)``."""

    def __init__(self, irreps: IrrepsLike) -> None:
        self.layout = RowLayout(parse_irreps(irreps))
        super().__init__(ChannelIrreps(irreps, 1))

    def _of_components(self, per_copy: Tensor) -> Tensor:
        if not self.channels.dim:
            return per_copy.flatten()
        components = self.channels.expand(per_copy, dim=1)[..., None]
        return self.layout.write(self.channels.read(components)).flatten()

    def forward(self, x: Tensor) -> Tensor:
        """``(..., dim)`` -> ``(..., dim)``."""
        return self.rows(x.flatten(0, -2).t()).t().view(x.shape)
