"""A wrapper that computes one structure in several processes."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.func import functional_call

from e3hyena.models.hyena_net import HyenaNet
from e3hyena.nn.block import HyenaBlock
from e3hyena.nn.operator import HyenaOperator
from e3hyena.parallel.collectives import Group, replicate
from e3hyena.parallel.modules import check_shards
from e3hyena.parallel.shard import Shard


class ContextParallel(nn.Module):
    """Every process holds some tokens of one structure, and all weights.

    As :class:`torch.nn.parallel.DistributedDataParallel` it wraps a model that all processes have
    built alike; here the structure is split, and gradients are those of one process that holds it
    whole. Results are sharded as the tokens are, or, where :class:`HyenaNet` pools, the same in
    every process. Differentiate the same function in all of them, as often as you like: a sum over
    the own tokens counts as a term of the sum over all, a pooled result counts once.

    For data parallelism on top, wrap the result in ``DistributedDataParallel`` over the other axis
    of a two-dimensional mesh.

    Parameters
    ----------
    module : HyenaNet, HyenaBlock or HyenaOperator
    mesh : DeviceMesh or ProcessGroup, optional
        A one-dimensional mesh, or a group; by default all processes.

    Raises
    ------
    TypeError, ValueError
        If the module is another one, or a part of it does not shard (``attention``, mixers with a
        range); in the call, if there are fewer channels than processes.

    Examples
    --------
    In every process of ``torchrun --nproc-per-node 4 script.py``, after ``init_process_group``:

    >>> net = ContextParallel(HyenaNet("0e", cutoff=5.0), mesh)  # doctest: +SKIP
    >>> energy = net(shard(z), shard(pos))  # the energy of all atoms  # doctest: +SKIP
    """

    def __init__(self, module: nn.Module, mesh: DeviceMesh | Group | None = None) -> None:
        super().__init__()
        if not isinstance(module, HyenaNet | HyenaBlock | HyenaOperator):
            given = type(module).__name__
            raise TypeError(f"got a {given}; wanted a HyenaNet, HyenaBlock or HyenaOperator")
        check_shards(module)
        if isinstance(mesh, DeviceMesh) and mesh.ndim != 1:
            raise ValueError(f"the mesh has {mesh.ndim} dimensions; take one of them, mesh['name']")
        self.module = module
        group = mesh.get_group() if isinstance(mesh, DeviceMesh) else mesh or dist.group.WORLD
        assert group is not None
        self.group: Group = group

    def forward(self, *operands: Tensor | None, **arguments: Tensor) -> Tensor:
        """What the module computes; a process gives, and gets, the rows of its own tokens.

        Operands are z and pos of a :class:`HyenaNet` (with ``features``), x of the others: of one
        structure without periodic cell, in the order of the ranks, any number of rows in each.
        """
        module, given = self.module, [x for x in operands if x is not None]
        if len(given) != 1 + isinstance(module, HyenaNet) or arguments.keys() - {"features"}:
            raise ValueError(
                f"got {len(given)} operands and {', '.join(arguments) or 'no'} arguments: one "
                "structure is sharded; give z and pos (and features), or x: no batch, edges or cell"
            )
        segments = Shard(len(given[-1]), self.group, given[-1].device)
        if isinstance(module, HyenaNet) and module.cutoff is not None:
            arguments["edge_index"] = segments.edges(given[-1], module.cutoff)
        own = {name: w for name, w in module.named_parameters() if w.requires_grad}
        weights = replicate(self.group, *own.values()) if own else ()
        named = dict(zip(own, weights, strict=True))
        out: Tensor = functional_call(module, named, (*given,), {**arguments, "batch": segments})
        return out
