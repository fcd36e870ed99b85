"""Peak memory of one long convolution."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.harness.peak import added_mebibytes, in_fresh_process
from e3hyena.irreps import ChannelIrreps
from e3hyena.ops import Paths, tensor_product_long_conv
from e3hyena.ops.backends import use_backend


def peak_of_convolution(irreps: str, length: int, backend: str, threads: int) -> float:
    """Mebibytes that one long convolution adds to a fresh process, its result included.

    The largest of three processes: pages that the system takes from one meanwhile (of libraries,
    under memory pressure) make its figure smaller, nothing makes it larger.
    """
    arguments = irreps, length, backend, threads
    return max(in_fresh_process(_convolution, *arguments) for _ in range(3))


def _convolution(irreps: str, length: int, backend: str, threads: int) -> float:
    torch.set_num_threads(threads)
    hidden = ChannelIrreps(irreps)
    paths = Paths(hidden.per_channel, hidden.per_channel, hidden.per_channel)
    q, k = torch.randn(2, hidden.num_channels, hidden.dim, length)
    weight = torch.randn(paths.num_paths, hidden.num_channels)

    def call(n: int) -> Tensor:
        with use_backend(backend):
            return tensor_product_long_conv(q[..., :n], k[..., :n], weight, paths)

    call(256)
    return added_mebibytes(lambda: call(length))
