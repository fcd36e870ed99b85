"""One structure over several processes: its tokens are sharded, what they hear is exchanged."""

from e3hyena.parallel.context import ContextParallel
from e3hyena.parallel.shard import Shard, shard

__all__ = ["ContextParallel", "Shard", "shard"]
