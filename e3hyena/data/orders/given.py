"""The order of the data."""

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform

from e3hyena.data.orders.base import OrderTransform


@functional_transform("given_order")
class GivenOrder(OrderTransform):
    """Keep the order in which the nodes are listed, and say so (`given_order`).

    For data whose listing means something: chains, time series, or molecules that all come from one
    program. It is not canonical: another listing is another order.

    Examples
    --------
    >>> GivenOrder()(Data(num_nodes=3)).order_index
    tensor([0, 1, 2])
    """

    def order(self, data: Data) -> Tensor:
        """``0, 1, 2, ...``"""
        return torch.arange(data.num_nodes or 0, device="cpu")
