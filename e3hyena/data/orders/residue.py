"""The order of a biopolymer."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform

from e3hyena.data.orders.base import OrderTransform


@functional_transform("residue_order")
class ResidueOrder(OrderTransform):
    """Chain, then residue number, then atom order inside the residue (`residue_order`).

    Reads from the graph, one entry per atom:

    =========== ================ ===================================================================
    attribute   type             what
    =========== ================ ===================================================================
    ``chain``   integers or str  chain; chains follow each other in sorted order
    ``residue`` integers         residue number within the chain, negative ones first
    ``serial``  integers         optional: atom order inside the residue, such as the serial number
                                 of a PDB file
    =========== ================ ===================================================================

    Atoms that agree in all of these keep their order. With ``serial`` distinct inside residues the
    order does not depend on the listing; it never depends on positions.

    Examples
    --------
    >>> graph = Data(chain=["B", "A", "A"], residue=torch.tensor([1, 7, 2]), num_nodes=3)
    >>> ResidueOrder()(graph).order_index
    tensor([2, 1, 0])
    """

    def order(self, data: Data) -> Tensor:
        """Sort by chain, residue and serial; ties keep their order."""
        missing = [key for key in ("chain", "residue") if key not in data]
        if missing:
            raise ValueError(
                f"residue_order needs the attributes 'chain' and 'residue', one entry per atom; "
                f"missing: {', '.join(map(repr, missing))} (there are {sorted(data.keys())})"
            )
        keys = [key for key in ("serial", "residue", "chain") if key in data]
        columns = [_column(key, data[key], data.num_nodes or 0) for key in keys]
        return torch.from_numpy(np.lexsort(columns))


def _column(name: str, values: Any, nodes: int) -> np.ndarray:
    column = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
    if column.shape != (nodes,):
        raise ValueError(
            f"{name!r} has shape {column.shape}; residue_order wants one entry for each of the "
            f"{nodes} atoms"
        )
    if column.dtype.kind not in ("iuU" if name == "chain" else "iu") and nodes:
        raise TypeError(
            f"{name!r} holds {column.dtype} values; residue_order wants integers"
            + (" or strings" if name == "chain" else "")
        )
    return column
