"""Local message passing: tensor products with spherical harmonics of the edges, summed."""

import math
from collections.abc import Iterator

import torch
from e3nn import o3
from torch import Tensor, nn

from e3hyena.irreps import IrrepsLike, RowLayout, distinct_irreps, parse_irreps
from e3hyena.nn.linear import Linear
from e3hyena.nn.operator import check_features
from e3hyena.nn.precision import to_working
from e3hyena.nn.radial import RadialBasis
from e3hyena.nn.reach import Kinds, kinds, listed, warn_of_zeros
from e3hyena.ops.backends import launches
from e3hyena.ops.harmonics import solid_harmonics
from e3hyena.ops.paths import Paths
from e3hyena.ops.precision import full_precision

_SOFTENING = 0.02  # length, in cutoffs, below which directions fade out
_CHUNK = 2**18  # edges looked at together where no gradient is recorded; bounds the memory
_SILU_GAIN = 1.679  # 1 / root mean square of silu of a unit normal


class Interaction(nn.Module):
    r"""Messages from the neighbours of every atom, summed.

    .. math:: y_i = W' \frac{1}{\sqrt{\bar n}} \sum_{j \to i} \bigoplus_p
              R_p(r_{ij})\; C^{(p)}\big(W x_j \otimes Y(r_{ij})\big),\qquad r_{ij} = r_j - r_i

    over all paths p from the irreps of ``x`` and of the edge to the irreps of ``x``, with a radial
    weight :math:`R_{pc}` per path and channel c, an MLP of :class:`RadialBasis`. It is the
    ``"uvu"`` :class:`e3nn.o3.TensorProduct` between two linear maps, as in NequIP and MACE.

    Everything is a smooth function of positions, also where atoms coincide and at the cutoff:
    distance and direction are :math:`s = \sqrt{|r|^2+\epsilon^2}` and :math:`r/s`, with
    :math:`\epsilon = 0.02\,r_c`. There is no residual; an atom without neighbours gets zero.

    Parameters
    ----------
    irreps : o3.Irreps or str
        Irreps of the atoms, in and out.
    cutoff : float
        :math:`r_c`, in the unit of the positions; edges at or beyond it add nothing.
    irreps_edge : o3.Irreps or str, optional
        Spherical harmonics of the edges, such as ``"0e + 1o + 2e"``; by default all degrees up to
        the largest of ``irreps``.
    num_basis : int
        Number of radial functions.
    radial_width : int
        Hidden width of the radial MLP.
    avg_num_neighbors : float, optional
        :math:`\bar n`, which keeps the variance. By default
        :math:`18\,(1 - e^{-(r_c/3.6)^3})`, what QM9 has for a cutoff in Angstrom (7.9 at 3, 16.8
        at 5); in a larger piece of matter about :math:`0.4\,r_c^3`.

    Raises
    ------
    ValueError
        If irreps do not parse, if ``irreps_edge`` holds anything but single spherical harmonics,
        or if a number is not positive; in the call, if shapes do not fit.
    TypeError
        In the call, if ``edge_index`` does not hold integers.

    Examples
    --------
    >>> layer = Interaction("8x0e + 8x1o", cutoff=2.0)
    >>> edge_index = torch.tensor([[0, 1], [1, 0]])
    >>> layer(torch.randn(3, 32), torch.rand(3, 3), edge_index).shape
    torch.Size([3, 32])
    """

    def __init__(
        self,
        irreps: IrrepsLike,
        *,
        cutoff: float,
        irreps_edge: IrrepsLike | None = None,
        num_basis: int = 8,
        radial_width: int = 64,
        avg_num_neighbors: float | None = None,
    ) -> None:
        super().__init__()
        self.irreps_in = self.irreps_out = parse_irreps(irreps)
        self.irreps_edge = _edge_irreps(irreps_edge, self.irreps_in)
        self._layout = RowLayout(self.irreps_in)
        self._degrees = self.irreps_edge.ls
        if not cutoff > 0:
            raise ValueError(f"cutoff={cutoff} must be a positive length")
        self.cutoff = cutoff
        self.softening = _SOFTENING * cutoff
        self.basis = RadialBasis(num_basis, math.hypot(cutoff, self.softening))
        if avg_num_neighbors is None:
            avg_num_neighbors = 18 * -math.expm1(-((cutoff / 3.6) ** 3))
        if not avg_num_neighbors > 0:
            raise ValueError(f"avg_num_neighbors={avg_num_neighbors} must be positive")
        if radial_width < 1:
            raise ValueError(f"radial_width={radial_width} must be at least 1")
        self.avg_num_neighbors = avg_num_neighbors

        hidden = distinct_irreps(self.irreps_in)
        self._blocks = [(mul, ir.dim) for mul, ir in hidden]
        products = [
            (block, mul, paths)
            for block, (mul, ir_in) in enumerate(hidden)
            for _, ir_out in hidden
            if (paths := Paths(ir_in, self.irreps_edge, ir_out)).num_paths
        ]
        self._sources = [block for block, _, _ in products]
        self._kinds = [(hidden[block].ir, paths.irreps_out[0].ir) for block, _, paths in products]
        self._num_weights = [paths.num_paths * mul for _, mul, paths in products]
        self.couplings = nn.ModuleList(_Coupling(paths) for _, _, paths in products)
        messages = [(paths.num_paths * mul, paths.irreps_out[0].ir) for _, mul, paths in products]
        self.up = Linear(self.irreps_in, hidden)
        self.radial_in = nn.Parameter(torch.empty(num_basis, radial_width))
        self.radial_out = nn.Parameter(torch.empty(radial_width, sum(self._num_weights)))
        self.down = Linear(o3.Irreps(messages), self.irreps_out)
        self.reset_parameters()
        reached = self.reached(kinds(self.irreps_in))
        if not kinds(self.irreps_out) <= reached:
            why = f"irreps={self.irreps_in} times irreps_edge={self.irreps_edge} give "
            advice = "add '0e' to irreps_edge, which carries every kind from atom to atom"
            warn_of_zeros(self.irreps_out, reached, why + listed(reached), advice)

    def reached(self, given: Kinds) -> Kinds:
        """Kinds of irreps in the messages that are not zero, for atoms of the given kinds."""
        return {ir_out for ir_in, ir_out in self._kinds if ir_in in given}

    def reset_parameters(self) -> None:
        """Draw all parameters anew, so that the variance is kept."""
        self.up.reset_parameters()
        self.down.reset_parameters()
        nn.init.normal_(self.radial_in, std=self.radial_in.shape[0] ** -0.5)
        nn.init.normal_(self.radial_out, std=_SILU_GAIN * self.radial_out.shape[0] ** -0.5)

    def forward(
        self,
        x: Tensor,
        pos: Tensor,
        edge_index: Tensor,
        offset: Tensor | None = None,
        geometry: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        r"""Sum the messages; ``(num_atoms, irreps.dim)`` -> the same.

        Parameters
        ----------
        x, pos : Tensor
            Features, and positions, ``(num_atoms, 3)``.
        edge_index : Tensor
            Sources j and targets i, ``(2, num_edges)``, as from
            :func:`~e3hyena.ops.neighbours.neighbours`; in any order.
        offset : Tensor, optional
            What is added to :math:`r_j - r_i`, ``(num_edges, 3)``: whole lattice vectors, where j
            is an image in another cell.
        geometry : tuple of Tensor, optional
            What :meth:`geometry` made of positions, edges and offset, for layers of equal options.
        """
        self._check(x, pos, edge_index, offset)
        with full_precision(x):
            working = to_working(x, self)
            if geometry is None:
                geometry = self.geometry(pos.to(working.dtype), edge_index, offset)
            return self._interact(working, edge_index, *geometry).to(x.dtype)

    def geometry(
        self, pos: Tensor, edge_index: Tensor, offset: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Harmonics and radial functions of the edges, which hold no parameters.

        Parameters are those of :meth:`forward`; results ``(num_edges, ...)``.
        """
        source, target = edge_index
        # index_select, not pos[source]: its backward is index_add, several times faster on CPU
        vector = pos.index_select(0, source) - pos.index_select(0, target)
        vector = vector if offset is None else vector + offset.to(vector.dtype)
        distance = (vector.square().sum(dim=1) + self.softening**2).sqrt()
        harmonics = solid_harmonics(vector / distance[:, None], self._degrees)
        return harmonics, self.basis(distance)

    def _interact(self, x: Tensor, edge_index: Tensor, harmonics: Tensor, basis: Tensor) -> Tensor:
        widths = [mul * dim for mul, dim in self._blocks]
        features = [  # (num_atoms, 2l+1, mul), channels contiguous
            block.unflatten(1, shape).transpose(1, 2).contiguous()
            for block, shape in zip(self.up(x).split(widths, dim=1), self._blocks, strict=True)
        ]
        sums: list[Tensor] = []
        for (source, target), *edges in _chunks(edge_index, harmonics, basis):
            messages = self._messages(features, source, *edges)
            sums = _sum_at(messages, target, x, sums)
        rows = [x.new_zeros(x.shape[0], 0), *(total.transpose(2, 3).flatten(1) for total in sums)]
        return self.down(torch.cat(rows, dim=1) * self.avg_num_neighbors**-0.5)

    def _messages(
        self, features: list[Tensor], source: Tensor, harmonics: Tensor, basis: Tensor
    ) -> Iterator[Tensor]:
        """Messages along these edges, ``(E, P, 2l+1, mul)``, one coupling after the other."""
        weights = nn.functional.silu(basis @ self.radial_in) @ self.radial_out
        sent = [block.index_select(0, source) for block in features]
        parts = weights.split(self._num_weights, dim=1)
        for coupling, block, weight in zip(self.couplings, self._sources, parts, strict=True):
            yield coupling(sent[block], harmonics, weight)

    def _check(self, x: Tensor, pos: Tensor, edge_index: Tensor, offset: Tensor | None) -> None:
        check_features(x, self._layout)
        if x.dim() != 2 or pos.shape != (x.shape[0], 3):
            raise ValueError(
                f"x has shape {tuple(x.shape)} and pos {tuple(pos.shape)}; wanted "
                f"(num_atoms, {self._layout.dim}) and (num_atoms, 3)"
            )
        if edge_index.dim() != 2 or edge_index.shape[0] != 2:
            raise ValueError(
                f"edge_index has shape {tuple(edge_index.shape)}; wanted (2, num_edges), "
                "sources and targets, as from radius_graph"
            )
        if edge_index.dtype not in (torch.int64, torch.int32):
            raise TypeError(f"edge_index is {edge_index.dtype}; convert it to torch.long")
        if offset is not None and offset.shape != (edge_index.shape[1], 3):
            raise ValueError(
                f"offset has shape {tuple(offset.shape)} for {edge_index.shape[1]} edges; wanted "
                "(num_edges, 3)"
            )

    def extra_repr(self) -> str:
        numel = sum(p.numel() for p in self.parameters())
        return (
            f"{self.irreps_in}, cutoff={self.cutoff}, irreps_edge={self.irreps_edge}, "
            f"avg_num_neighbors={self.avg_num_neighbors:.3g} | {numel} parameters"
        )


class _Coupling(nn.Module):
    """All paths from one kind of irrep, through any harmonic, to one kind of irrep."""

    matrix: Tensor

    def __init__(self, paths: Paths) -> None:
        super().__init__()
        self.paths = paths
        self.num_paths, (self.d1, _, self.d3) = paths.num_paths, paths.dims
        degrees = {paths.irreps2[i2].ir.l for _, i2, _ in paths.instructions}
        self.scalar_edge = self.num_paths == 1 and degrees == {0}
        like = torch.empty(0)  # of the default dtype, on the default device
        self.register_buffer("matrix", self._matrix(like.dtype, like.device), persistent=False)

    def _matrix(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Coefficients ``(d2, P d3 d1)``, undivided: every path has an output of its own."""
        dense = self.paths.coefficients(dtype, device).permute(2, 0, 3, 1)
        return self.num_paths**0.5 * dense.flatten(1)

    def _apply(self, fn, recurse=True):  # type: ignore[no-untyped-def]
        """Move, but look the coefficients up again: float64 ones cannot come from float32."""
        super()._apply(fn, recurse)
        self.matrix = self._matrix(self.matrix.dtype, self.matrix.device)
        return self

    def forward(self, x: Tensor, harmonics: Tensor, weight: Tensor) -> Tensor:
        """``(E, d1, C)``, ``(E, d2)`` and ``(E, P C)`` -> ``(E, P, d3, C)``."""
        weight = weight.unflatten(1, (self.num_paths, 1, x.shape[2]))
        if self.scalar_edge:  # nothing to couple with
            return (x * weight[:, 0]).unsqueeze(1)
        matrix = harmonics @ self.matrix
        if self.num_paths > 1 or min(self.d1, self.d3) > 1:
            y = matrix.unflatten(1, (self.num_paths * self.d3, self.d1)) @ x
            return y.unflatten(1, (self.num_paths, self.d3)) * weight
        # With a scalar at either end, elementwise products are faster than tiny matrices.
        if self.d1 == 1:
            y = x * weight[:, 0] * matrix[:, :, None]
        else:
            y = (x * matrix[:, :, None]).sum(dim=1, keepdim=True) * weight[:, 0]
        return y.unsqueeze(1)


def _sum_at(
    messages: Iterator[Tensor], target: Tensor, x: Tensor, sums: list[Tensor]
) -> list[Tensor]:
    """Sums ``(E, ...)`` -> ``(T, ...)``; where it saves launches, of all messages at once."""
    if sums:  # of the chunks before
        return [s.index_add_(0, target, each) for s, each in zip(sums, messages, strict=True)]
    if not launches.few_launches(x.device):
        return [x.new_zeros(x.shape[0], *m.shape[1:]).index_add(0, target, m) for m in messages]
    parts = list(messages)
    if not parts:
        return []
    joint = torch.cat([part.flatten(1) for part in parts], dim=1)
    total = joint.new_zeros(x.shape[0], joint.shape[1]).index_add(0, target, joint)
    summed = total.split([part.shape[1:].numel() for part in parts], dim=1)
    return [each.unflatten(1, part.shape[1:]) for each, part in zip(summed, parts, strict=True)]


def _chunks(edge_index: Tensor, *edges: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """All edges at once where a gradient or a graph is recorded, else one chunk after the other."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing():
        yield edge_index, *edges
        return
    for at in range(0, max(edge_index.shape[1], 1), _CHUNK):
        some = slice(at, at + _CHUNK)
        yield edge_index[:, some], *(edge[some] for edge in edges)


def _edge_irreps(irreps_edge: IrrepsLike | None, irreps: o3.Irreps) -> o3.Irreps:
    if irreps_edge is None:
        return o3.Irreps.spherical_harmonics(max(irreps.ls, default=0))
    edge = parse_irreps(irreps_edge, "irreps_edge")
    if any(mul != 1 or ir.p != (-1) ** ir.l for mul, ir in edge) or len(set(edge)) != len(edge):
        raise ValueError(
            f"irreps_edge={edge} must be spherical harmonics, each once: any of 0e, 1o, 2e, 3o..."
        )
    return edge
