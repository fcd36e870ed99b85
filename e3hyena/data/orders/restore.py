"""Back to the order of the input."""

import torch
from torch import Tensor
from torch_geometric.data import Data


def restore_order(x: Tensor, data_or_index: Data | Tensor) -> Tensor:
    """Per-node values of an ordered graph, in the order in which the nodes were first listed.

    Parameters
    ----------
    x : Tensor of shape (num_nodes, ...)
        One row per node of the ordered graph or batch, such as the output of a network.
    data_or_index : Data, Batch or Tensor of shape (num_nodes,)
        What an order transform returned (or a batch of it), or its ``order_index``.

    Returns
    -------
    restored : Tensor of shape (num_nodes, ...)
        Differentiable in `x`.

    Raises
    ------
    ValueError
        If there is no ``order_index``, or it is no permutation of the rows of `x`.

    Examples
    --------
    >>> restore_order(torch.tensor([30, 10, 20]), torch.tensor([2, 0, 1]))
    tensor([10, 20, 30])
    """
    index = data_or_index
    if not isinstance(index, Tensor):
        if "order_index" not in index:
            raise ValueError(
                f"there is no order_index among {list(index.keys())}: no order transform made "
                "this graph"
            )
        index = index.order_index
    position = torch.argsort(index)
    if index.shape != x.shape[:1] or not torch.equal(
        index[position], torch.arange(len(index), device=index.device)
    ):
        raise ValueError(
            f"order_index of shape {tuple(index.shape)} is no permutation of the rows of x, "
            f"shape {tuple(x.shape)}"
        )
    return x[position.to(x.device)]
