"""Any local message passing, then a Hyena block."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from e3hyena.irreps import IrrepsLike, RowLayout, parse_irreps
from e3hyena.nn.block import HyenaBlock
from e3hyena.nn.norm import TokenNorm
from e3hyena.nn.operator import check_features
from e3hyena.nn.precision import to_working
from e3hyena.ops.precision import full_precision
from e3hyena.ops.segments import Segments


class LocalGlobalBlock(nn.Module):
    r"""What :class:`torch_geometric.nn.GPSConv` is for invariant features, for irreps.

    .. math:: x \leftarrow x + \mathrm{interaction}(\mathrm{norm}(x), \mathrm{edges}),\qquad
              x \leftarrow \mathrm{HyenaBlock}(x)

    The interaction is any equivariant message passing from ``irreps`` to ``irreps``: a
    :class:`torch_geometric.nn.MessagePassing` of your own, a convolution of an e3nn-based package,
    or :class:`Interaction`. It decides what an edge is; the block only calls it, with autocast off:
    e3nn's tensor products fail under it.

    Parameters
    ----------
    irreps : o3.Irreps or str
        Irreps of the nodes, in and out.
    interaction : nn.Module or None
        Called as ``interaction(x, edge_index=edge_index, **arguments)``; keeps the shape of ``x``.
        None leaves the local part out.
    mixer : str or None
        The global mixer; None leaves the global part out (feed-forward only).
    **options
        Further arguments of :class:`HyenaBlock`.

    Raises
    ------
    TypeError
        If ``interaction`` is no module, or an option is unknown.
    ValueError
        If irreps do not parse; in the call, if the interaction returns another shape.

    Examples
    --------
    >>> import torch
    >>> from e3hyena.nn import Interaction
    >>> block = LocalGlobalBlock("8x0e + 8x1o", Interaction("8x0e + 8x1o", cutoff=2.0))
    >>> edge_index, batch = torch.tensor([[0, 1], [1, 0]]), torch.tensor([0, 0, 1])
    >>> block(torch.randn(3, 32), edge_index, batch, pos=torch.rand(3, 3)).shape
    torch.Size([3, 32])
    """

    def __init__(
        self,
        irreps: IrrepsLike,
        interaction: nn.Module | None,
        *,
        mixer: str | None = "coordinate",
        **options: Any,
    ) -> None:
        super().__init__()
        self.irreps_in = self.irreps_out = parse_irreps(irreps)
        self._layout = RowLayout(self.irreps_in)
        self.norm: TokenNorm | None = None
        if interaction is not None:
            if not isinstance(interaction, nn.Module):
                raise TypeError(
                    f"interaction is a {type(interaction).__name__}; wanted a module, or None for "
                    "no local part"
                )
            self.norm = TokenNorm(self.irreps_in)
            self.interaction = interaction
        self.block = HyenaBlock(self.irreps_in, mixer=mixer, **options)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor | None,
        batch: Tensor | Segments | None = None,
        **arguments: Any,
    ) -> Tensor:
        """Neighbours first, then everybody; ``(num_nodes, irreps.dim)`` -> the same.

        Parameters
        ----------
        x, edge_index : Tensor
            Features, and what the interaction takes under this name, ``(2, num_edges)`` in PyG.
        batch : Tensor, optional
            Graph of every node, ``(num_nodes,)``, sorted. Without it all nodes are one graph.
        **arguments
            Passed to the interaction by name, such as ``edge_attr`` or ``pos``.
        """
        check_features(x, self._layout)
        with full_precision(x):
            y = to_working(x, self)
            if self.norm is not None:
                interaction: Callable[..., Tensor] = self.interaction
                if isinstance(batch, Segments):
                    interaction = batch.across(interaction)
                message = interaction(self.norm(y), edge_index=edge_index, **arguments)
                self._check(message, y)
                y = y + message
            return self.block(y, batch).to(x.dtype)

    def _check(self, message: Tensor, x: Tensor) -> None:
        if message.shape != x.shape:
            raise ValueError(
                f"the interaction {type(self.interaction).__name__} returns shape "
                f"{tuple(message.shape)} for features {tuple(x.shape)}; it must map "
                f"{self.irreps_in} to itself"
            )
