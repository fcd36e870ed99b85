"""What an order transform does to a graph."""

import copy
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform

__all__ = ["OrderTransform"]


class OrderTransform(BaseTransform):
    r"""Base of the transforms that list the nodes of a graph in an order that means something.

    Subclasses write :meth:`order`. The transformed graph is a copy in which every node-level
    attribute is re-listed (tensors, arrays and lists with one entry per node, as PyG tells them),
    node numbers in ``edge_index`` and other attributes with ``index`` in their name are replaced by
    the new ones, edges keep their places, and

    .. math:: \mathrm{order\_index}[\text{new position}] = \text{old number}

    is added, also after several order transforms the number in the *first* listing. PyG offsets it
    when graphs are batched, so that `restore_order` works on batches.

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
        """The old number of the node at every new position.

        Parameters
        ----------
        data : Data
            One graph.

        Returns
        -------
        order : Tensor of shape (num_nodes,), int64
            A permutation.
        """
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
        if not torch.equal(order.sort().values.cpu(), torch.arange(nodes)):
            raise ValueError(
                f"{type(self).__name__}.order gave {order.tolist()[:8]}, which is no permutation "
                f"of {nodes} nodes"
            )
        position = torch.argsort(order)
        result = copy.copy(data)
        for key in data.keys():
            value = data[key]
            if ("index" in key or key == "face") and key != "order_index":
                value = position.to(value.device)[value]
            if data.is_node_attr(key):
                value = _take(value, order)
            result[key] = value
        if "order_index" not in data:
            result.order_index = order
        return result


def _take(value: Any, order: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value[order.to(value.device)]
    if isinstance(value, (list, tuple)):
        return type(value)(value[i] for i in order.tolist())
    return value[order.cpu().numpy()]
