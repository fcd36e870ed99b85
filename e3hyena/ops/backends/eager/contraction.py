"""The contraction in plain torch.

The product over (a, b) is formed for a block of m that stays in cache, then one batched real
matrix product per block applies the coupling coefficients.
"""

import torch
from torch import Tensor

from e3hyena.ops.exporting import exporting
from e3hyena.ops.paths import Paths

BLOCK_BYTES = 2 * 2**20
_SLOTS = "abd"


def contract(paths: Paths, slot: int, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """See :meth:`e3hyena.ops.backends.base.Backend.contract`."""
    dims = paths.dims
    num_channels, _, length = x.shape
    others = "".join(s for i, s in enumerate(_SLOTS) if i != slot)
    coefficients = paths.coefficients(weight.dtype, weight.device)
    matrix = torch.einsum(f"pc,pabd->c{_SLOTS[slot]}{others}", weight, coefficients)
    matrix = matrix.reshape(num_channels, dims[slot], x.shape[1] * y.shape[1])
    out = x.new_empty(num_channels, dims[slot], length)
    conjugate = slot != 2 and x.is_complex()
    if exporting():  # the number of blocks is not known, and nothing is written in place
        return _as_complex(matrix @ _as_real(_outer(x, y, conjugate)), x)
    for block in _blocks(x, y):
        product = _outer(x[..., block], y[..., block], conjugate)
        out[..., block] = _as_complex(matrix @ _as_real(product), x)
    return out


def contract_weight(paths: Paths, x1: Tensor, x2: Tensor, x3: Tensor) -> Tensor:
    """See :meth:`e3hyena.ops.backends.base.Backend.contract_weight`."""
    d1, d2, d3 = paths.dims
    num_channels = x1.shape[0]
    dtype = x1.real.dtype
    total = torch.zeros(num_channels, d1 * d2, d3, dtype=dtype, device=x1.device)
    for block in _blocks(x1, x2):
        product = _outer(x1[..., block], x2[..., block], False)
        total += _as_real(product) @ _as_real(x3[..., block]).transpose(1, 2)
    coefficients = paths.coefficients(dtype, x1.device)
    return torch.einsum("cabd,pabd->pc", total.reshape(num_channels, d1, d2, d3), coefficients)


def _blocks(x: Tensor, y: Tensor) -> list[slice]:
    length = x.shape[-1]
    column = x.shape[0] * x.shape[1] * y.shape[1] * x.element_size()
    size = max(16, BLOCK_BYTES // max(column, 1))
    size = -(-length // max(1, round(length / size)))  # equal shares, no short rest
    return [slice(start, start + size) for start in range(0, length, max(size, 1))]


def _outer(x: Tensor, y: Tensor, conjugate: bool) -> Tensor:
    x = x.conj_physical() if conjugate else x  # a lazy conj is lost in torch.compile
    return (x[:, :, None] * y[:, None]).flatten(1, 2)


def _as_real(x: Tensor) -> Tensor:
    return torch.view_as_real(x.resolve_conj()).flatten(-2) if x.is_complex() else x


def _as_complex(x: Tensor, like: Tensor) -> Tensor:
    return torch.view_as_complex(x.unflatten(-1, (-1, 2))) if like.is_complex() else x
