"""Plain-loop references, written to be read. O(N^2) and slow; for tests."""

import torch
from torch import Tensor

from e3hyena.ops.paths import Paths
from e3hyena.ops.transforms import check_boundary


def tensor_product(x1: Tensor, x2: Tensor, weight: Tensor, paths: Paths) -> Tensor:
    """Token-wise tensor product, one path after the other.

    Same signature and result as :func:`e3hyena.ops.tensor_product`.
    """
    shape = (*torch.broadcast_shapes(x1.shape[:-2], x2.shape[:-2]), paths.dims[2], x1.shape[-1])
    y = torch.zeros(shape, dtype=x1.dtype, device=x1.device)
    for coefficients, w in zip(paths.coefficients(x1.dtype, x1.device), weight, strict=True):
        product = torch.einsum("...an,...bn,abc->...cn", x1, x2, coefficients)
        y = y + w[:, None, None] * product
    return y


def tensor_product_long_conv(
    q: Tensor, k: Tensor, weight: Tensor, paths: Paths, *, boundary: str = "circular"
) -> Tensor:
    """Tensor-product long convolution as the double sum that defines it.

    Same signature and result as :func:`e3hyena.ops.tensor_product_long_conv`.
    """
    check_boundary(boundary)
    n = q.shape[-1]
    coupling = torch.einsum("pc,pabd->cabd", weight, paths.coefficients(q.dtype, q.device))
    offset = (n - 1) // 2 if boundary == "same" else 0
    outputs = []
    for i in range(n):
        pairs = [(j, i - j + offset) for j in range(n)]
        if boundary == "circular":
            pairs = [(j, lag % n) for j, lag in pairs]
        pairs = [(j, lag) for j, lag in pairs if 0 <= lag < n]
        q_j, k_lag = q[..., [j for j, _ in pairs]], k[..., [lag for _, lag in pairs]]
        outputs.append(torch.einsum("cabd,...can,...cbn->...cd", coupling, q_j, k_lag))
    return torch.stack(outputs, dim=-1)
