"""What an order transform does to a graph."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8)
# Of whole graphs, with sizes that a graph of three or six nodes has too.
PER_GRAPH = {
    "cell": ((3, 3),),
    "pbc": ((3,),),
    "stress": ((3, 3), (6,)),
    "virial": ((3, 3), (6,)),
    "dipole": ((3,),),
}


class OrderTransform(BaseTransform):
    r"""Base of the transforms that list the nodes of a graph in an order that means something.

    Subclasses write :meth:`order`. The transformed graph is a copy in which every node-level
    attribute is re-listed (tensors, arrays and lists with one entry per node, as PyG tells them),
    node numbers are replaced by the new ones, edges keep their places, and

    .. math:: \mathrm{order\_index}[\text{new position}] = \text{old number}

    is added, also after several order transforms the number in the *first* listing. PyG offsets it
    when graphs are batched, so that `restore_order` works on batches.

    Node numbers are what PyG takes for them when it batches: integer tensors with ``index`` in
    their name, and ``face``. Where one of them holds a number that no node has, the attribute is
    something else (the number of a molecule, say) and stays; so do numbers, strings and whatever
    else is no tensor. Overriding ``__inc__`` says so for a class of `Data`. Sizes can coincide:
    with as many edges as nodes, attributes with ``edge`` or ``bond`` in their name belong to edges,
    and in a graph of three nodes ``cell``, ``pbc``, ``stress``, ``virial``, and a ``dipole`` of
    three numbers belong to the graph.

    Examples
    --------
    >>> class Reversed(OrderTransform):
    ...     def order(self, data):
    ...         return torch.arange(data.num_nodes).flip(0)
    >>> z, edges = torch.tensor([8, 1, 7]), torch.tensor([[0], [1]])
    >>> graph = Data(z=z, edge_index=edges, num_nodes=3)
    >>> Reversed()(graph).z, Reversed()(graph).edge_index.tolist()
    (tensor([7, 1, 8]), [[2], [1]])
    >>> Reversed()(Reversed()(graph)).order_index
    tensor([0, 1, 2])
    """

    def order(self, data: Data) -> Tensor:
        """The old number of the node at every new position: a permutation, (num_nodes,), int64."""
        raise NotImplementedError

    def forward(self, data: Data) -> Data:
        """The graph in the new order.

        Raises
        ------
        ValueError
            If `data` is a batch, holds sparse adjacency matrices, or `order` gives no permutation.
        """
        if isinstance(data, Batch) or "batch" in data:
            raise ValueError(
                f"{type(self).__name__} orders one graph at a time, not a batch: give it to the "
                "dataset as transform="
            )
        sparse = [key for key in ("adj", "adj_t") if key in data]
        if sparse:
            raise ValueError(f"{sparse[0]!r} cannot be re-listed: use edge_index instead")
        nodes = data.num_nodes or 0
        order = self.order(data)
        numbers = torch.arange(nodes, device="cpu")
        if order.shape != (nodes,) or not torch.equal(order.sort().values.cpu(), numbers):
            raise ValueError(
                f"{type(self).__name__}.order gave {order.tolist()[:8]}, which is no permutation "
                f"of {nodes} nodes"
            )
        position = torch.argsort(order)
        result = copy.copy(data)
        for key in data.keys():
            value = data[key]
            if _holds_nodes(data, key):
                value = position.to(value.device)[value.long()].to(value.dtype)
            if _is_per_node(data, key):
                value = _take(value, order, data.__cat_dim__(key, value))
            result[key] = value
        if "order_index" not in data:
            result.order_index = order
        return result


def _holds_nodes(data: Data, key: str) -> bool:
    """Whether an attribute holds numbers of nodes."""
    value, nodes = data[key], data.num_nodes or 0
    if not isinstance(value, Tensor) or value.dim() == 0 or value.dtype not in INTEGERS:
        return False
    if key == "order_index" or "batch" in key or not nodes or not value.numel():
        return False
    increment = data.__inc__(key, value)
    if not isinstance(increment, int) or increment != nodes:
        return False
    inside = bool((value.min() >= 0) & (value.max() < nodes))
    if key in ("edge_index", "face") and not inside:
        raise ValueError(
            f"{key} holds {int(value.min())} to {int(value.max())}, but there are {nodes} nodes"
        )
    return inside


def _is_per_node(data: Data, key: str) -> bool:
    """Whether an attribute has one entry per node, where its size alone may not tell."""
    value = data[key]
    shape = tuple(value.shape) if isinstance(value, Tensor | np.ndarray) else ()
    if key == "face" or shape in PER_GRAPH.get(key, ()) or ("index" in key and len(shape) > 1):
        return False
    edges = "edge" in key or "bond" in key
    return data.is_node_attr(key) and not (edges and data.num_edges == data.num_nodes)


def _take(value: Any, order: Tensor, dim: Any) -> Any:
    if isinstance(value, Tensor):
        return value.index_select(dim, order.to(value.device))
    if isinstance(value, np.ndarray):
        return value.take(order.cpu().numpy(), axis=dim)
    taken = [value[i] for i in order.tolist()]
    return tuple(taken) if isinstance(value, tuple) else taken
