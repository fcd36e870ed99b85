"""The attention that SE(3)-Hyena's authors compared with, as they wrote it and without its cube."""

import math

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.base import Mixer
from e3hyena.ops.segments import Segments

_TINY = 1e-12  # keeps the gradient of a length finite where vectors are parallel
_PAIRS_AT_ONCE = 2**20  # of queries and keys, above which queries are treated in parts


class CrossProductAttention(Mixer):
    r"""Attention by cross products: the equivariant transformer of Moskalev et al. (2024).

    .. math:: c_{ij} = q_i \times k_j,\qquad a_{ij} = \mathrm{softmax}_j(|c_{ij}|/\sqrt N),\qquad
              u_i = \tfrac1N \textstyle\sum_j (a_{ij}\, c_{ij}) \times v_j

    for every channel's vectors; scalars attend as usual, one head over all of them. Irreps are
    scalars and vectors. O(N^2) time; symmetric under E(3) and permutations.

    Parameters
    ----------
    hidden : ChannelIrreps
        Channels and per-channel irreps.
    fused : bool
        Whether the (N, N, 3) tensors of the authors' code are avoided; the result is the same.
    """

    def __init__(self, hidden: ChannelIrreps, *, fused: bool = True) -> None:
        super().__init__(hidden)
        if hidden.widths.keys() - {"0e", "1o"}:
            raise ValueError(
                f"cross products need scalars and vectors only, got {hidden.irreps}; "
                "write for example '32x0e + 32x1o'"
            )
        self.attend = fused_attention if fused else dense_attention

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """Attend within every graph."""
        layout = segments.exact
        parts = [
            self._attend(*qkv)
            for qkv in zip(layout.gather(q), layout.gather(k), layout.gather(v), strict=True)
        ]
        return layout.scatter(parts, v)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """``(C, d, B, N)`` -> the same shape."""
        streams = [self.hidden.split(x) for x in (q, k, v)]
        attended = []
        for ir in self.hidden.widths:
            qkv = [stream[ir] for stream in streams]
            if ir == "0e":  # (B, N, C * copies)
                q_all, k_all, v_all = (x.flatten(0, 1).permute(1, 2, 0) for x in qkv)
                mixed = torch.nn.functional.scaled_dot_product_attention(q_all, k_all, v_all)
                attended.append(mixed.permute(2, 0, 1).reshape(qkv[0].shape))
            else:  # (C, copies, B, N, 3)
                vectors = [x.unflatten(1, (-1, 3)).movedim(2, -1) for x in qkv]
                attended.append(self.attend(*vectors).movedim(-1, 2).flatten(1, 2))
        return torch.cat(attended, dim=1)


def dense_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Cross-product attention of vectors ``(..., N, 3)``, with tensors ``(..., N, N, 3)``."""
    num_tokens = q.shape[-2]
    cross = torch.linalg.cross(q.unsqueeze(-2), k.unsqueeze(-3))
    length = (cross.square().sum(dim=-1) + _TINY).sqrt()
    weight = (length / math.sqrt(num_tokens)).softmax(dim=-1)
    return torch.linalg.cross(weight.unsqueeze(-1) * cross, v.unsqueeze(-3)).sum(-2) / num_tokens


def fused_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    r"""`dense_attention` by inner products.

    .. math:: |q \times k|^2 = |q|^2|k|^2 - (q\cdot k)^2,\qquad
              (q \times k) \times v = k\,(q\cdot v) - q\,(k\cdot v)

    so a query needs its weights and the moments :math:`\sum_j a_{ij}\, k_j v_j^T` alone. Many
    queries are treated in parts whose weights are computed again for the gradient: memory O(N).
    """
    num_tokens = q.shape[-2]
    moments = (k.unsqueeze(-1) * v.unsqueeze(-2)).flatten(-2)
    at_once = max(1, _PAIRS_AT_ONCE // num_tokens)
    if num_tokens <= at_once:
        return _rows(q, k, moments)
    parts = [
        checkpoint(_rows, part, k, moments, use_reentrant=False)
        for part in q.split(at_once, dim=-2)
    ]
    return torch.cat(parts, dim=-2)


def _rows(q: Tensor, k: Tensor, moments: Tensor) -> Tensor:
    """Results ``(..., R, 3)`` of some queries."""
    num_tokens = k.shape[-2]
    squares = q.square().sum(-1, keepdim=True) * k.square().sum(-1).unsqueeze(-2)
    squares = (squares - (q @ k.mT).square()).clamp(min=0)  # round-off may make it negative
    weight = ((squares + _TINY).sqrt() / math.sqrt(num_tokens)).softmax(dim=-1)
    outer = (weight @ moments).unflatten(-1, (3, 3))
    trace = outer.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
    return ((outer @ q.unsqueeze(-1)).squeeze(-1) - trace * q) / num_tokens
