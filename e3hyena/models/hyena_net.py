"""Atoms in, irreps out."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from e3nn import o3
from torch import Tensor, nn
from torch_geometric.data import Data

from e3hyena.irreps import IrrepsLike, TokenLayout, parse_irreps
from e3hyena.mixers import MIXERS
from e3hyena.models.hyena_layer import HyenaLayer
from e3hyena.models.inputs import check_atoms, check_periodic, of_data, warn_of_order
from e3hyena.nn.embedding import AtomEmbedding, ElementEmbedding
from e3hyena.nn.linear import Linear
from e3hyena.nn.precision import to_working
from e3hyena.nn.reach import Kinds, fewest, kinds, listed, on_the_way, warn_of_zeros, with_kinds
from e3hyena.nn.readout import MomentReadout, centred
from e3hyena.ops.cells import Cells
from e3hyena.ops.neighbours import neighbours
from e3hyena.ops.precision import full_precision
from e3hyena.ops.segments import Segments
from e3hyena.ops.window import Window

_MOST_LAYERS = 4  # after which no further kind of irrep appears


class HyenaNet(nn.Module):
    r"""Equivariant network for atoms: local message passing beside global Hyena blocks.

    The result does not change under translations; it is equivariant under O(3), and under
    permutations of the atoms with the mixers of sets (``coordinate``, ``attention``,
    ``linear_attention``).

    With a ``cutoff`` positions enter as differences :math:`r_j - r_i` of neighbours, so that a
    network without mixer is local, and its energies size-consistent. What a mixer makes of a far
    group of atoms: ``docs/long-range.md``. Without a cutoff nothing else would tell the geometry,
    so atoms are embedded with their positions relative to the centroid of their graph: every
    output, energies too, then depends on what else is in the graph, wherever it is. Moments about
    the centroid are the other exception, see ``moments``.

    Periodic cells need a cutoff, a mixer of sets or none, and a property without origin: see
    ``docs/periodic.md``.

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
        Radius of the local interactions, in the unit of the positions; None for no local part
        (for point clouds; see above).
    pool : {"sum", "mean", None}
        How atoms make a graph's property; None returns a property per atom.
    irreps_features : o3.Irreps or str, optional
        Irreps of further atom features, passed as ``features``.
    ordered : bool
        Says that the atoms come in a meaningful order: a chain, or the result of an order transform
        (`e3hyena.data.ORDERS`). Changes nothing but the warning below.
    boundary, short_conv, mixer_options
        See :class:`HyenaOperator`. ``mixer_options={"range": R}`` lets the influence of a mixer of
        sets fall off with distance, over lengths that are learned, to nothing at R.
    moments : o3.Irreps or str, optional
        Kinds of irreps of the output to which learned charges add their moment about the centroid:
        ``"1o"`` (dipole), ``"1o + 2e"`` (and quadrupole), ``""`` for none. The charges of a graph
        add up to zero, so a dipole does not depend on the origin. By default ``"1o"``, and none
        per atom, with ``pool=None``.

    Warns
    -----
    UserWarning
        If kinds of irreps in the output are always zero, with the hidden irreps that reach them.
        Once per process, if the mixer (or ``short_conv``) depends on the order of the atoms and
        ``ordered`` is not set.

    Raises
    ------
    ValueError
        If irreps do not parse or the hidden ones are empty, if a range comes without cutoff; in
        the call, if positions are not finite, elements unknown, or shapes do not fit.

    Examples
    --------
    >>> import torch
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
        moments: IrrepsLike | None = None,
    ) -> None:
        super().__init__()
        if pool not in ("sum", "mean", None):
            raise ValueError(f"pool={pool!r} is unknown; use 'sum', 'mean' or None")
        if num_layers < 0:
            raise ValueError(f"num_layers={num_layers} must not be negative")
        self.irreps_out = parse_irreps(irreps_out, "irreps_out")
        self.irreps_hidden = parse_irreps(irreps_hidden, "irreps_hidden")
        if not self.irreps_hidden.dim:
            raise ValueError(
                f"irreps_hidden={irreps_hidden!r} holds nothing; take, for example, '32x0e + 32x1o'"
            )
        self.cutoff = cutoff
        self.pool = pool
        self.mixer_name = mixer
        self.range: float | None = (mixer_options or {}).get("range") if mixer else None
        if self.range is not None and cutoff is None:
            raise ValueError(
                f"range={self.range} of the mixer needs a cutoff: without one, atoms are embedded "
                "with their positions, and nothing is local"
            )
        self.embedding = (AtomEmbedding if cutoff is None else ElementEmbedding)(self.irreps_hidden)
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
        if moments is None:
            moments = "" if pool is None else "1o"
        self.moments = moments
        self.readout = MomentReadout(self.irreps_hidden, self.irreps_out, self.moments)
        self._warn_if_zero()
        self.follows_order = mixer is not None and (MIXERS[mixer].ordered or short_conv > 0)
        if self.follows_order and mixer is not None and not ordered:
            what = f"mixer={mixer!r}" if MIXERS[mixer].ordered else f"short_conv={short_conv}"
            warn_of_order(what)

    def forward(
        self,
        z: Tensor | Data | None,
        pos: Tensor | None = None,
        batch: Tensor | Segments | None = None,
        *,
        ptr: Tensor | None = None,
        batch_size: int | None = None,
        edge_index: Tensor | None = None,
        features: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
        shifts: Tensor | None = None,
    ) -> Tensor:
        """Predict the property of every graph, or of every atom.

        Parameters
        ----------
        z : Tensor, Data, Batch or None
            Atomic numbers, ``(num_atoms,)``, integer; None for points that are no atoms. A `Data`
            or `Batch` of PyG alone stands for its ``z``, ``pos``, ``batch``, ``cell``, ``pbc``.
        pos : Tensor
            Positions, ``(num_atoms, 3)``; Angstrom by convention.
        batch : Tensor, optional
            Graph of every atom, sorted; or `Segments`, graphs that were checked before.
        ptr, batch_size : Tensor and int, optional
            Offsets ``(num_graphs + 1,)`` and number of the graphs, the last of which may be empty.
            With ``ptr`` and ``edge_index`` the network compiles in one graph.
        edge_index, features : Tensor, optional
            Directed edges (source, target), ``(2, num_edges)``; by default all pairs within the
            cutoff. Further features, ``(num_atoms, irreps_features.dim)``.
        cell, pbc : Tensor, optional
            Rows are lattice vectors, ``(num_graphs, 3, 3)``, or ``(3, 3)`` for all graphs; which of
            them are periodic, ``(num_graphs, 3)`` or ``(3,)``, by default all.
        shifts : Tensor, optional
            Whole lattice vectors by which the source of every edge of ``edge_index`` is moved,
            ``(num_edges, 3)``, see :func:`~e3hyena.ops.neighbours.neighbours`.

        Returns
        -------
        Tensor
            ``(num_graphs, irreps_out.dim)``, with ``pool=None`` of atoms; dtype of ``pos``.
        """
        if isinstance(z, Data):
            z, pos, batch, batch_size, cell, pbc = of_data(z, batch_size, cell, pbc)
        z, pos = check_atoms(z, pos, look=not isinstance(batch, Segments))
        self._check_features(z.shape[0], features)
        segments = Segments.build(z.shape[0], batch, ptr, pos.device, batch_size)
        with full_precision(pos):
            working = to_working(pos, self)
            cells = Cells.build(cell, pbc, segments, working)
            if cells is not None or shifts is not None:
                check_periodic(self, cells, edge_index, shifts)
            offset = None
            if self.cutoff is not None:
                if edge_index is None:
                    edge_index, shifts = neighbours(working, self.cutoff, segments, cell=cells)
                if cells is not None and shifts is not None:
                    graph = segments.index.index_select(0, edge_index[1])
                    offset = cells.offsets(shifts, graph)
            if self.range is not None:
                segments = segments.within(Window(working, self.range, segments, cells))
            y = self._through(z, working, edge_index, segments, offset, features)
            return y.to(pos.dtype)

    def _through(
        self,
        z: Tensor,
        pos: Tensor,
        edge_index: Tensor | None,
        segments: Segments,
        offset: Tensor | None,
        features: Tensor | None,
    ) -> Tensor:
        """Embedding, all layers, readout and pooling, of a batch that was read."""
        x = self.embedding(z) if self.cutoff else self.embedding(z, centred(pos, segments))
        if self.embed_features is not None:
            assert features is not None
            x = x + self.embed_features(features.to(x.dtype))
        layers = self._layers()
        geometry = None
        if self.cutoff is not None and layers:  # the same for all of them
            assert edge_index is not None
            geometry = layers[0].geometry(segments.around(pos), edge_index, offset)
        for layer in layers:
            x = layer(x, pos, edge_index, segments, geometry)
        y = self.readout(x, pos, segments)
        if self.pool is None:
            return y
        return segments.pool(y, self.pool)

    def compile_layers(self, **options: Any) -> None:
        """Compile all but the reading of a batch: one graph, for batches of any size.

        ``options`` are those of ``torch.compile``. Not for mixers that need sizes on the host.
        """
        if self.mixer_name not in ("coordinate", None) or self.follows_order or self.range:
            raise ValueError(
                f"mixer={self.mixer_name!r} with these options would be compiled anew for every "
                "batch: take mixer='coordinate', without range and short_conv, or None"
            )
        compiled = torch.compile(self._through, fullgraph=True, dynamic=True, **options)

        def through(z: Tensor, pos: Tensor, edges: Any, segments: Segments, *rest: Any) -> Any:
            graphs = Segments.described(segments.ptr, segments.index, len(z))
            return compiled(z, pos, edges, graphs, *rest)

        self._through = through  # type: ignore[method-assign, assignment]

    def reached(self) -> Kinds:
        """Kinds of irreps in the output that are not always zero."""
        found = self.readout.reached(self._reached(self.embedding, self._layers()))
        deaf = not len(self.layers) or (self.cutoff is None and self.mixer_name is None)
        if deaf and not any(ir.l or ir.p < 0 for ir in kinds(self.irreps_features)):
            # an atom that hears of no other knows one direction, its own
            found = {ir for ir in found if ir.p == (-1) ** ir.l}
        return found

    def _layers(self) -> list[HyenaLayer]:
        return [layer for layer in self.layers if isinstance(layer, HyenaLayer)]

    def _reached(
        self, embedding: AtomEmbedding | ElementEmbedding, layers: list[HyenaLayer]
    ) -> Kinds:
        """Kinds of irreps that the atoms hold after these layers."""
        found = embedding.reached() | (kinds(self.irreps_features) & kinds(embedding.irreps))
        for layer in layers:
            found = layer.reached(found)
        return found

    def _warn_if_zero(self) -> None:
        reached = self.reached()
        if kinds(self.irreps_out) <= reached:
            return
        found = listed(self._reached(self.embedding, self._layers()))
        why = (
            f"irreps_hidden={self.irreps_hidden}, num_layers={len(self.layers)}, "
            f"cutoff={self.cutoff} and mixer={self.mixer_name!r} give {found}"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of layers that are tried
            advice = self._advice()
        warn_of_zeros(self.irreps_out, reached, why, advice, stacklevel=4)

    def _advice(self) -> str:
        """The fewest layers and hidden irreps that reach every kind."""
        if self.cutoff is None and self.mixer_name is None:
            return "give a cutoff, or take mixer='coordinate'"
        for num_layers in range(max(1, len(self.layers)), _MOST_LAYERS + 1):

            def enough(found: Kinds, num_layers: int = num_layers) -> bool:
                irreps = o3.Irreps([(1, ir) for ir in sorted(found)])
                layer = HyenaLayer(irreps, cutoff=self.cutoff, mixer=self.mixer_name)
                held = self._reached(type(self.embedding)(irreps), [layer] * num_layers)
                readout = MomentReadout(irreps, self.irreps_out, self.moments)
                return kinds(self.irreps_out) <= readout.reached(held)

            found = fewest(kinds(self.irreps_hidden), on_the_way(kinds(self.irreps_out)), enough)
            if found is not None:
                advice = f"take irreps_hidden='{with_kinds(self.irreps_hidden, found)}'"
                more = f" and num_layers={num_layers}" if num_layers > len(self.layers) else ""
                return advice + more
        return "give a cutoff, or take mixer='coordinate'"

    def _check_features(self, num_atoms: int, features: Tensor | None) -> None:
        wanted = (num_atoms, self.irreps_features.dim) if self.embed_features else None
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
