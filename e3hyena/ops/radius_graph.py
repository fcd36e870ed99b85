"""All pairs of atoms within a cutoff, exactly."""

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from e3hyena.ops.segments import Segments

_CHUNK = 2**19  # candidate pairs looked at together; bounds the memory
_DENSE = 512  # mean number of candidates per atom above which cells pay


def radius_graph(
    pos: Tensor, cutoff: float, batch: Tensor | Segments | None = None, *, ptr: Tensor | None = None
) -> Tensor:
    r"""Ordered pairs :math:`j \to i`, :math:`i \neq j`, with :math:`|r_i-r_j| < r_c`.

    Exact, whatever the number of neighbours, and deterministic: distances are compared in float64.
    Only atoms of the same graph are paired; atoms at the same place are neighbours. Batches of
    small graphs enumerate all their pairs, large graphs are sorted into cells first; memory is
    linear in the number of atoms and of edges. No gradient flows.

    Parameters
    ----------
    pos : Tensor
        Positions, ``(num_atoms, 3)``.
    cutoff : float
        :math:`r_c`, in the unit of the positions.
    batch : Tensor, optional
        Graph of every atom, ``(num_atoms,)``, sorted. Without ``batch`` and ``ptr`` all atoms are
        one graph.
    ptr : Tensor, optional
        Offsets of the graphs, ``(num_graphs + 1,)``.

    Returns
    -------
    Tensor
        ``(2, num_edges)``, int64: row 0 the sources j, row 1 the targets i, sorted by target, then
        by source. Every edge comes in both directions.

    Raises
    ------
    ValueError
        If positions are not ``(num_atoms, 3)`` or hold NaN or infinity, which have no neighbours to
        speak of; if the cutoff is not positive and finite; if ``batch`` is unsorted.
    TypeError
        If positions are not floating point, ``batch`` or ``ptr`` not integers.

    Examples
    --------
    >>> chain = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    >>> radius_graph(chain, 1.5)
    tensor([[1, 0, 2, 1],
            [0, 1, 1, 2]])
    >>> radius_graph(chain, 1.5, batch=torch.tensor([0, 0, 1]))
    tensor([[1, 0],
            [0, 1]])
    """
    cutoff = check_points(pos, cutoff)
    segments = Segments.build(len(pos), batch, ptr, pos.device)
    points = pos.detach().double()
    if sum(length**2 for length in segments.lengths) <= _DENSE * len(pos):
        first, count = segments.starts[segments.index], segments.sizes[segments.index]
        edges = [
            _within(points, source, target, cutoff)
            for source, target in _pairs(first[:, None], count[:, None])
        ]
        return torch.cat(edges, dim=1) if edges else segments.index.new_zeros(2, 0)
    order, first, count = _neighbour_cells(points, cutoff, segments)
    edges = [
        _within(points, order[place], target, cutoff) for place, target in _pairs(first, count)
    ]
    source, target = torch.cat(edges, dim=1)
    return torch.stack([source, target])[:, torch.argsort(target * len(pos) + source)]


def _within(points: Tensor, source: Tensor, target: Tensor, cutoff: float) -> Tensor:
    """Those of the candidate pairs that are edges, ``(2, num_edges)``."""
    square = sum(
        (x.index_select(0, source) - x.index_select(0, target)).square_() for x in points.unbind(1)
    )
    near = ((square.sqrt() < cutoff) & (source != target)).nonzero().squeeze(1)  # type: ignore[union-attr]
    return torch.stack([source[near], target[near]])


def _pairs(first: Tensor, count: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Expand ranges ``first, ..., first + count - 1``, R per atom, into (place, atom) pairs.

    ``first`` and ``count`` are ``(num_atoms, R)``; pairs come sorted by atom, at least one atom and
    otherwise at most ``_CHUNK`` pairs at a time.
    """
    total = count.sum(dim=1).cumsum(0)
    atom, num_atoms = 0, len(first)
    while atom < num_atoms:
        done = int(total[atom - 1]) if atom else 0
        stop = max(atom + 1, int(torch.searchsorted(total, done + _CHUNK, right=True)))
        starts, counts = first[atom:stop].flatten(), count[atom:stop].flatten()
        shift = starts - (counts.cumsum(0) - counts)
        num_pairs = int(total[stop - 1]) - done
        place = torch.arange(num_pairs, device=first.device)
        place += torch.repeat_interleave(shift, counts, output_size=num_pairs)
        atoms = torch.arange(atom, stop, device=first.device)
        yield (
            place,
            torch.repeat_interleave(atoms, count[atom:stop].sum(1), output_size=num_pairs),
        )
        atom = stop


def _neighbour_cells(
    points: Tensor, cutoff: float, segments: Segments
) -> tuple[Tensor, Tensor, Tensor]:
    """Sort atoms by cell and find, for each, the nine runs of cells that hold its neighbours.

    Returns the order ``(num_atoms,)``, and the first place and the length of every run in that
    order, ``(num_atoms, 9)``. Cells are a little wider than the cutoff, so that rounding cannot
    move a neighbour out of reach, and wide enough for their numbers to fit an int64.
    """
    low = points.amin(dim=0)
    extent = float((points.amax(dim=0) - low).max())
    most = int((2**62 / max(segments.num_graphs, 1)) ** (1 / 3)) - 4
    width = max(cutoff * 1.001, extent / most)
    cell = ((points - low) / width).long() + 1
    nx, ny, nz = (int(n) + 2 for n in cell.amax(dim=0))
    key = ((segments.index * nx + cell[:, 0]) * ny + cell[:, 1]) * nz + cell[:, 2]
    sorted_key, order = torch.sort(key, stable=True)
    columns = [(dx * ny + dy) * nz for dx, dy in itertools.product((-1, 0, 1), repeat=2)]
    middle = key[:, None] + key.new_tensor(columns)
    first = torch.searchsorted(sorted_key, middle - 1)
    count = torch.searchsorted(sorted_key, middle + 1, right=True) - first
    return order, first, count


def check_points(pos: Tensor, cutoff: float) -> float:
    """The cutoff, if it and the positions can be used."""
    if not isinstance(pos, Tensor) or pos.dim() != 2 or pos.shape[1] != 3:
        shape = tuple(pos.shape) if isinstance(pos, Tensor) else type(pos).__name__
        raise ValueError(f"pos is {shape}; wanted a tensor of shape (num_atoms, 3)")
    if not pos.is_floating_point():
        raise TypeError(f"positions are {pos.dtype}; convert them to a floating type")
    if not (cutoff > 0 and math.isfinite(cutoff)):
        raise ValueError(f"cutoff={cutoff} must be a positive, finite length")
    finite = torch.isfinite(pos).all(dim=1)
    if not finite.all():
        rows = (~finite).nonzero().squeeze(1).tolist()
        more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""
        raise ValueError(f"positions of atoms {rows[:8]}{more} are not finite; mend or drop them")
    return float(cutoff)
