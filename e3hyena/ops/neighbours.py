"""Who is near whom: in molecules, in large structures and in periodic cells."""

import importlib.util

import numpy as np
import torch
from torch import Tensor

from e3hyena._extras import require
from e3hyena.ops.cells import Cells
from e3hyena.ops.exporting import exporting
from e3hyena.ops.radius_graph import check_points, radius_graph
from e3hyena.ops.segments import Segments

_LARGE = 512  # mean atoms per graph from which vesin is faster than radius_graph


def neighbours(
    pos: Tensor,
    cutoff: float,
    batch: Tensor | Segments | None = None,
    *,
    ptr: Tensor | None = None,
    cell: Tensor | Cells | None = None,
    pbc: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Ordered pairs :math:`j \to i` within a cutoff, images in neighbouring cells among them.

    .. math:: |r_j + n\,L - r_i| < r_c

    for whole numbers :math:`n` of lattice vectors :math:`L` (rows); an atom may be its own
    neighbour there. Batches of small molecules go to
    :func:`~e3hyena.ops.radius_graph.radius_graph`, periodic cells to ``vesin`` (extra
    ``periodic``), large molecules on the CPU too where it is installed. The result is the same.
    No gradient flows.

    Parameters
    ----------
    pos : Tensor
        Positions, ``(num_atoms, 3)``; atoms may lie outside of their cell.
    cutoff : float
        :math:`r_c`, in the unit of the positions; may be larger than a cell.
    batch, ptr : Tensor, optional
        Graphs, see :func:`~e3hyena.ops.radius_graph.radius_graph`.
    cell : Tensor, optional
        Rows are lattice vectors, ``(num_graphs, 3, 3)``, or ``(3, 3)`` for all graphs.
    pbc : Tensor, optional
        Which of them are periodic, ``(num_graphs, 3)`` or ``(3,)``; by default all.

    Returns
    -------
    edge_index : Tensor
        ``(2, num_edges)``, int64: sources j and targets i, sorted by target, source and shift.
    shifts : Tensor
        n, ``(num_edges, 3)``, int64; zeros without a cell.

    Raises
    ------
    ValueError
        If shapes do not fit, the cutoff is not positive, or positions or cell are not finite, or
        periodic lattice vectors are linearly dependent.
    ImportError
        If a cell is given and the extra ``periodic`` is not installed.

    Examples
    --------
    >>> chain = torch.tensor([[0.0, 0, 0], [1, 0, 0]])
    >>> cell, pbc = torch.tensor([[2.0, 0, 0], [0, 0, 0], [0, 0, 0]]), torch.tensor([1, 0, 0])
    >>> edge_index, shifts = neighbours(chain, 1.5, cell=cell, pbc=pbc.bool())
    >>> edge_index.tolist(), shifts[:, 0].tolist()
    ([[1, 1, 0, 0], [0, 0, 1, 1]], [-1, 0, 0, 1])
    """
    if exporting():
        raise ValueError(
            "while torch exports, neighbours cannot be listed, for nobody knows their number: "
            "pass edge_index (and shifts, in a cell); the program takes the caller's at run time"
        )
    cutoff = check_points(pos, cutoff)
    segments = Segments.build(len(pos), batch, ptr, pos.device)
    cells = Cells.build(cell, pbc, segments, pos)
    if cells is None and not _is_large(pos, segments):
        edge_index = radius_graph(pos, cutoff, segments)
        return edge_index, edge_index.new_zeros(1, 3).expand(edge_index.shape[1], 3)
    points = pos.detach().double().cpu().numpy()
    number = segments.num_graphs
    if cells is None:
        boxes, flags = np.zeros((number, 3, 3)), np.zeros((number, 3), bool)
    else:
        boxes, flags = cells.vectors.detach().double().cpu().numpy(), cells.pbc.cpu().numpy()
    parts, start = [np.zeros((0, 5), np.int64)], 0
    for length, box, flag in zip(segments.lengths, boxes, flags, strict=True):
        if length:
            found = _of_one(points[start : start + length], cutoff, _completed(box, flag), flag)
            found[:, :2] += start
            parts.append(found)
        start += length
    pairs = torch.from_numpy(np.concatenate(parts)).to(pos.device)
    return pairs[:, :2].T.contiguous(), pairs[:, 2:].contiguous()


def _is_large(pos: Tensor, segments: Segments) -> bool:
    return (
        len(pos) >= _LARGE * segments.num_graphs > 0
        and not pos.is_cuda
        and importlib.util.find_spec("vesin") is not None
    )


def _of_one(points: np.ndarray, cutoff: float, box: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Source, target and shift of the pairs of one graph, ``(num_edges, 5)``, sorted."""
    vesin = require("vesin", "periodic")
    lister = vesin.NeighborList(cutoff=cutoff, full_list=True, n_threads=torch.get_num_threads())
    target, source, shifts, distance = lister.compute(points, box, pbc, quantities="ijSd")
    near = distance < cutoff
    target, source, shifts = (x[near].astype(np.int64) for x in (target, source, shifts))
    key, width = target * len(points) + source, 2 * int(np.abs(shifts).max(initial=0)) + 1
    for axis in range(3):
        key = key * width + shifts[:, axis]
    return np.column_stack([source, target, shifts])[np.argsort(key)]


def _completed(box: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """The periodic vectors, and unit vectors orthogonal to them in the other places."""
    if pbc.all():
        return box
    box, number = box.copy(), int(pbc.sum())
    box[~pbc] = np.linalg.svd(box[pbc])[2][number:] if number else np.eye(3)
    return box
