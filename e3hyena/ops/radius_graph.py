"""All pairs within a cutoff, exactly: the edges of local interactions."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from e3hyena.ops.segments import Segments

_DENSE_ATOMS = 1024
_CHUNK_PAIRS = 2**22


def radius_graph(
    pos: Tensor, cutoff: float, batch: Tensor | Segments | None = None, *, ptr: Tensor | None = None
) -> Tensor:
    r"""Ordered pairs :math:`i \neq j` of the same graph with :math:`|r_i-r_j| < r_c`.

    Exact (no largest number of neighbours) and deterministic. Graphs of up to 1,024 atoms compare
    all pairs; larger ones use cells, so memory is linear in atoms and edges.

    Parameters
    ----------
    pos : Tensor
        Positions, ``(num_atoms, 3)``, finite.
    cutoff : float
        Radius, in the unit of the positions.
    batch, ptr : Tensor, optional
        Graph of every atom, sorted, or offsets of the graphs.

    Returns
    -------
    Tensor
        ``(2, num_edges)``, int64: sources, targets; sorted by target, then source.

    Raises
    ------
    ValueError
        If positions are not finite or not ``(num_atoms, 3)``, or the cutoff is not positive.

    Examples
    --------
    >>> chain = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    >>> radius_graph(chain, 1.5).tolist()
    [[1, 0, 2, 1], [0, 1, 1, 2]]
    """
    if pos.dim() != 2 or pos.shape[1] != 3:
        raise ValueError(f"pos has shape {tuple(pos.shape)}; wanted (num_atoms, 3)")
    if not cutoff > 0:
        raise ValueError(f"cutoff={cutoff} must be a positive length")
    if not torch.isfinite(pos).all():
        rows = (~torch.isfinite(pos)).any(dim=1).nonzero().squeeze(1).tolist()
        raise ValueError(f"positions of atoms {rows[:8]} are not finite; remove or mend them")
    segments = Segments.build(len(pos), batch, ptr, pos.device)
    pos = pos.detach()
    if max(segments.lengths, default=0) <= _DENSE_ATOMS:
        return _dense_edges(pos, cutoff, segments)
    starts = segments.starts.tolist()
    parts = []
    for start, length in zip(starts, segments.lengths, strict=True):
        part = pos[start : start + length]
        single = Segments((length,), pos.device)
        dense = length <= _DENSE_ATOMS
        edges = _dense_edges(part, cutoff, single) if dense else _cell_edges(part, cutoff)
        parts.append(edges + start)
    return torch.cat(parts, dim=1)


def _dense_edges(pos: Tensor, cutoff: float, segments: Segments) -> Tensor:
    """Enumerate every pair of every graph, some targets at a time."""
    sizes = segments.sizes[segments.index]
    starts = segments.starts[segments.index]
    targets = torch.arange(len(pos), device=pos.device)
    largest = max(segments.lengths, default=0)
    step = max(1, _CHUNK_PAIRS // max(largest, 1))
    parts = [targets.new_zeros(2, 0)]
    for chunk in targets.split(step):
        target = torch.repeat_interleave(chunk, sizes[chunk])
        first = sizes[chunk].cumsum(0) - sizes[chunk]
        offset = torch.arange(len(target), device=pos.device)
        source = offset - torch.repeat_interleave(first - starts[chunk], sizes[chunk])
        parts.append(_within(pos, source, target, cutoff))
    return torch.cat(parts, dim=1)


def _cell_edges(pos: Tensor, cutoff: float) -> Tensor:
    """Compare every atom with the atoms of the 27 cells around it."""
    cells = ((pos - pos.min(dim=0).values) / cutoff).floor().long() + 1
    extent = cells.max(dim=0).values + 2
    stride = torch.stack([extent[1] * extent[2], extent[2], torch.ones_like(extent[2])])
    code = (cells * stride).sum(dim=1)
    order = torch.argsort(code, stable=True)
    occupied, counts = torch.unique_consecutive(code[order], return_counts=True)
    first = counts.cumsum(0) - counts
    parts = []
    atoms = torch.arange(len(pos), device=pos.device)
    for shift in itertools.product((-1, 0, 1), repeat=3):
        wanted = code + (torch.tensor(shift, device=pos.device) * stride).sum()
        place = torch.searchsorted(occupied, wanted).clamp(max=len(occupied) - 1)
        number = torch.where(occupied[place] == wanted, counts[place], 0)
        target = torch.repeat_interleave(atoms, number)
        start = torch.repeat_interleave(first[place] - (number.cumsum(0) - number), number)
        source = order[start + torch.arange(len(target), device=pos.device)]
        parts.append(_within(pos, source, target, cutoff))
    edges = torch.cat(parts, dim=1)
    return edges[:, torch.argsort(edges[1] * len(pos) + edges[0])]


def _within(pos: Tensor, source: Tensor, target: Tensor, cutoff: float) -> Tensor:
    square = (pos[source] - pos[target]).square().sum(dim=1)
    keep = (square < cutoff**2) & (source != target)
    return torch.stack([source[keep], target[keep]])
