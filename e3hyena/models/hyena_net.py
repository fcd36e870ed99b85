"""Atoms in, irreps out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from e3nn import o3
from torch import Tensor, nn
from torch_geometric.utils import scatter

from e3hyena.irreps import IrrepsLike, TokenLayout, parse_irreps
from e3hyena.mixers import MIXERS
from e3hyena.nn.embedding import MAX_ATOMIC_NUMBER, AtomEmbedding
from e3hyena.nn.interaction import Interaction
from e3hyena.nn.linear import Linear
from e3hyena.nn.local_global import LocalGlobalBlock
from e3hyena.nn.precision import to_working
from e3hyena.nn.readout import MomentReadout
from e3hyena.ops.precision import full_precision
from e3hyena.ops.radius_graph import radius_graph
from e3hyena.ops.segments import Segments

_warned: list[str] = []


class HyenaNet(nn.Module):
    r"""Equivariant network for atoms: local message passing beside global Hyena blocks.

    Positions are taken relative to each graph's centroid, so the result does not change under
    translations; it is equivariant under O(3), and under permutations of the atoms with the mixers
    of sets (``coordinate``, ``attention``, ``linear_attention``).

    Parameters
    ----------
    irreps_out : o3.Irreps or str
        The property: ``"0e"`` for energies, ``"1o"`` dipoles, ``"0e + 2e"`` polarisabilities.
    irreps_hidden : o3.Irreps or str
        Irreps of the atoms between the layers.
    num_layers : int
        Number of layers, each a local interaction (with ``cutoff``) and a :class:`HyenaBlock`.
    mixer : str or None
        The global mixer; None for a purely local network.
    cutoff : float, optional
        Radius of the local interactions, in the unit of the positions; None for no local part.
    pool : {"sum", "mean", None}
        How atoms make a graph's property; None returns a property per atom.
    irreps_features : o3.Irreps or str, optional
        Irreps of further atom features, passed as ``features``.
    ordered : bool
        Says that the atoms come in a meaningful order: a chain, or the result of an order transform
        (`e3hyena.data.ORDERS`). Changes nothing but the warning below.
    boundary, short_conv, mixer_options
        See :class:`HyenaOperator`.

    Warns
    -----
    UserWarning
        Once per process, if the mixer (or ``short_conv``) depends on the order of the atoms and
        ``ordered`` is not set.

    Raises
    ------
    ValueError
        If positions are not finite, elements unknown, or shapes do not fit.

    Examples
    --------
    >>> net = HyenaNet("1o", irreps_hidden="16x0e + 16x1o", num_layers=2, cutoff=3.0)
    >>> water = torch.tensor([[0.0, 0.0, 0.1], [0.8, 0.0, -0.5], [-0.8, 0.0, -0.5]])
    >>> net(torch.tensor([8, 1, 1]), water).shape
    torch.Size([1, 3])
    """

    def __init__(
        self,
        irreps_out: IrrepsLike,
        *,
        irreps_hidden: IrrepsLike = "32x0e + 32x1o",
        num_layers: int = 3,
        mixer: str | None = "coordinate",
        cutoff: float | None = None,
        pool: str | None = "sum",
        irreps_features: IrrepsLike | None = None,
        ordered: bool = False,
        boundary: str | None = None,
        short_conv: int = 0,
        mixer_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if pool not in ("sum", "mean", None):
            raise ValueError(f"pool={pool!r} is unknown; use 'sum', 'mean' or None")
        self.irreps_out = parse_irreps(irreps_out, "irreps_out")
        self.irreps_hidden = parse_irreps(irreps_hidden, "irreps_hidden")
        self.cutoff = cutoff
        self.pool = pool
        self.mixer_name = mixer
        self.embedding = AtomEmbedding(self.irreps_hidden)
        self.irreps_features = o3.Irreps("")
        self.embed_features: Linear | None = None
        if irreps_features is not None:
            self.irreps_features = parse_irreps(irreps_features, "irreps_features")
            self.embed_features = Linear(
                TokenLayout(self.irreps_features), TokenLayout(self.irreps_hidden)
            )
        self.layers = nn.ModuleList(
            HyenaLayer(
                self.irreps_hidden,
                cutoff=cutoff,
                mixer=mixer,
                boundary=boundary,
                short_conv=short_conv,
                mixer_options=mixer_options,
            )
            for _ in range(num_layers)
        )
        self.readout = MomentReadout(self.irreps_hidden, self.irreps_out)
        if not ordered and mixer is not None and (MIXERS[mixer].ordered or short_conv):
            what = f"mixer={mixer!r}" if MIXERS[mixer].ordered else f"short_conv={short_conv}"
            _warn_of_order(what)

    def forward(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        *,
        edge_index: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Tensor:
        """Predict the property of every graph, or of every atom.

        Parameters
        ----------
        z : Tensor
            Atomic numbers, ``(num_atoms,)``, integer.
        pos : Tensor
            Positions, ``(num_atoms, 3)``; Angstrom by convention.
        batch : Tensor, optional
            Graph of every atom, ``(num_atoms,)``, sorted.
        edge_index : Tensor, optional
            Directed edges (source, target), ``(2, num_edges)``; by default all pairs within the
            cutoff.
        features : Tensor, optional
            Further features, ``(num_atoms, irreps_features.dim)``.

        Returns
        -------
        Tensor
            ``(num_graphs, irreps_out.dim)``, or ``(num_atoms, irreps_out.dim)`` with
            ``pool=None``; dtype of ``pos``.
        """
        self._check(z, pos, features)
        segments = Segments.build(len(z), batch, device=pos.device)
        with full_precision(pos):
            working = to_working(pos, self)
            r = working - self._reduce(working, segments, "mean")[segments.index]
            if self.cutoff is not None and edge_index is None:
                edge_index = radius_graph(working.detach(), self.cutoff, segments.index)
            x = self.embedding(z, r)
            if self.embed_features is not None:
                assert features is not None
                x = x + self.embed_features(features.to(x.dtype))
            for layer in self.layers:
                x = layer(x, working, edge_index, segments)
            y = self.readout(x, r)
            if self.pool is not None:
                y = self._reduce(y, segments, self.pool)
            return y.to(pos.dtype)

    @staticmethod
    def _reduce(x: Tensor, segments: Segments, reduce: str) -> Tensor:
        return scatter(x, segments.index, dim=0, dim_size=segments.num_graphs, reduce=reduce)

    def _check(self, z: Tensor, pos: Tensor, features: Tensor | None) -> None:
        if pos.dim() != 2 or pos.shape[1] != 3 or z.shape != pos.shape[:1]:
            raise ValueError(
                f"z has shape {tuple(z.shape)} and pos {tuple(pos.shape)}; "
                "wanted (num_atoms,) and (num_atoms, 3)"
            )
        if z.is_floating_point():
            raise TypeError(f"atomic numbers are {z.dtype}; convert them to torch.long")
        if not torch.isfinite(pos).all():
            rows = (~torch.isfinite(pos)).any(dim=1).nonzero().squeeze(1).tolist()
            raise ValueError(f"positions of atoms {rows[:8]} are not finite; remove or mend them")
        if len(z) and (z.min() < 1 or z.max() > MAX_ATOMIC_NUMBER):
            raise ValueError(
                f"atomic numbers run from {int(z.min())} to {int(z.max())}; "
                f"elements are 1 to {MAX_ATOMIC_NUMBER}"
            )
        wanted = (len(z), self.irreps_features.dim) if self.embed_features else None
        given = None if features is None else tuple(features.shape)
        if given != wanted:
            raise ValueError(
                f"features have shape {given}; "
                f"irreps_features={self.irreps_features} wants {wanted}"
            )

    def extra_repr(self) -> str:
        numel = sum(p.numel() for p in self.parameters())
        return (
            f"atoms -> {self.irreps_hidden} -> {self.irreps_out}, "
            f"mixer={self.mixer_name!r}, cutoff={self.cutoff}, pool={self.pool!r} "
            f"| {numel} parameters"
        )


def _warn_of_order(what: str) -> None:
    """Once per process, whatever the filters do with repeated warnings."""
    if not _warned:
        warnings.warn(
            f"{what} depends on the order in which atoms are listed, and atoms have none: take "
            "mixer='coordinate', or give the data an order (transform=SpectralOrder() and others "
            "in e3hyena.data) and pass ordered=True; see docs/order-and-symmetry.md",
            stacklevel=3,
        )
        _warned.append(what)


class HyenaLayer(LocalGlobalBlock):
    """:class:`LocalGlobalBlock` around an :class:`Interaction`."""

    def __init__(
        self, irreps: o3.Irreps, *, cutoff: float | None, mixer: str | None, **options: Any
    ) -> None:
        interaction = None if cutoff is None else Interaction(irreps, cutoff=cutoff)
        super().__init__(irreps, interaction, mixer=mixer, **options)

    def forward(  # type: ignore[override]
        self, x: Tensor, pos: Tensor, edge_index: Tensor | None, segments: Segments
    ) -> Tensor:
        """``(T, irreps.dim)`` -> the same."""
        return super().forward(x, edge_index, segments, pos=pos)
