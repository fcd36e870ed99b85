"""Several processes that train one network: who computes what, and how they start and end."""

import logging
import os
import signal
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing

from e3hyena._extras import require
from e3hyena.training.config import TrainConfig

TIMEOUT = timedelta(minutes=10)  # a process that waits as long for another gives up
PLACE = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")  # what several machines are told


class Share(NamedTuple):
    """Which part of every batch a process computes: number `rank` of `world` equal ones."""

    rank: int
    world: int

    def of(self, part: Tensor) -> Tensor:
        """Its entries; every entry is in one process."""
        return part.tensor_split(self.world)[self.rank]

    def total(self, x: Tensor) -> Tensor:
        """Sum over the processes, without gradient."""
        x = x.detach().clone()
        if self.world > 1:
            dist.all_reduce(x)
        return x

    def means(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean over what all processes found, NaN left out, (1,); of one process, all of it."""
        if self.world == 1:
            return found
        values = [x.double() for x in found.values()]
        sums = torch.stack([torch.stack([x.nansum(), (~x.isnan()).sum()]) for x in values])
        total, number = self.total(sums).T
        return dict(zip(found, (total / number).unsqueeze(1), strict=True))


ALONE = Share(0, 1)


def placed(config: TrainConfig, device: str) -> dict[str, Any]:
    """Arguments of Lightning's trainer: where it runs, and in how many processes."""
    where = {"accelerator": device, "devices": config.devices, "num_nodes": config.nodes}
    if config.devices * config.nodes > 1:
        ddp = require("lightning.pytorch.strategies", "train").DDPStrategy
        backend = "nccl" if device == "cuda" else "gloo"
        where["strategy"] = ddp(process_group_backend=backend, timeout=TIMEOUT)
    return where


def node(config: TrainConfig) -> int:
    """Which of the machines this is; the first one evaluates and writes."""
    if config.nodes > 1 and (missing := [name for name in PLACE if name not in os.environ]):
        raise ValueError(
            f"nodes = {config.nodes}, but the environment does not say {', '.join(missing)}: set "
            "NODE_RANK to 0, 1, ... and MASTER_ADDR and MASTER_PORT to those of the first machine"
        )
    return int(os.environ["NODE_RANK"]) if config.nodes > 1 else 0


def in_processes(config: TrainConfig, work: Callable[..., None], *arguments: Any) -> None:
    """Call ``work(*arguments, share)`` in every process of this machine; if one ends, all do."""
    if config.devices * config.nodes == 1:
        return work(*arguments, ALONE)
    place = {name: os.environ[name] for name in PLACE if config.nodes > 1}
    if not place:
        ports: Any = require("lightning.fabric.plugins.environments.lightning", "train")
        here = "0", "127.0.0.1", str(ports.find_free_network_port())
        place = dict(zip(PLACE, here, strict=True))
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    errors, theirs = multiprocessing.get_context("spawn").Pipe(duplex=False)
    given = place, theirs, config, work, arguments
    context: Any = multiprocessing.spawn(_process, given, config.devices, join=False, daemon=True)
    try:
        while not context.join():
            pass
    except (multiprocessing.ProcessExitedException, multiprocessing.ProcessRaisedException) as end:
        for rank, process in enumerate(context.processes):
            number = -(process.exitcode or 0)
            if number > 0 and number != signal.SIGTERM:  # which ends the others
                raise RuntimeError(
                    f"process {rank} of {config.devices} was ended by "
                    f"{signal.Signals(number).name} (no memory left?): the last checkpoint is "
                    "intact, and the same command continues"
                ) from end
        raise (errors.recv() if errors.poll() else RuntimeError(str(end))) from end


def _process(
    local: int, place: dict[str, str], errors: Any, config: TrainConfig, work: Any, arguments: Any
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who started it says so
    for category in (DeprecationWarning, FutureWarning):
        warnings.simplefilter("ignore", category)
    os.environ.update(place, LOCAL_RANK=str(local))
    torch.set_num_threads(config.threads or max(1, (os.cpu_count() or 1) // config.devices))
    rank = int(place["NODE_RANK"]) * config.devices + local
    try:
        work(*arguments, Share(rank, config.devices * config.nodes))
    except Exception as error:
        errors.send(error)
        raise
