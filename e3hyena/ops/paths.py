"""Tensor-product paths between the irreps of one channel."""

import functools

import torch
from e3nn import o3
from torch import Tensor

from e3hyena.irreps import IrrepsLike, expand_irreps, parse_irreps
from e3hyena.ops.exporting import outside


@functools.cache
def _wigner_3j(l1: int, l2: int, l3: int) -> Tensor:
    with outside(), torch.device("cpu"):
        return o3.wigner_3j(l1, l2, l3, dtype=torch.float64)


class Paths:
    r"""All paths :math:`(l_1,p_1)\otimes(l_2,p_2)\to(l_3,p_3)` that the rules allow.

    A path exists where :math:`|l_1-l_2|\le l_3\le l_1+l_2` and :math:`p_3=p_1p_2`. With one weight
    per path and channel the tensor product of a channel is

    .. math:: y_{c} = \sum_p w_p\,\alpha_p \sum_{ab} C^{(p)}_{abc}\, x_a\, x'_b,\qquad
              \alpha_p = \sqrt{(2l_3+1) / n_{i_3}},

    :math:`C` being e3nn's Wigner 3j and :math:`n_{i_3}` the number of paths that end in the same
    output irrep, so that :math:`\langle y^2\rangle = 1` for unit-variance input and weights.

    Parameters
    ----------
    irreps1, irreps2, irreps_out : o3.Irreps or str
        Per-channel irreps. Every copy is an entry of its own (``2x0e`` counts twice); entries of
        multiplicity zero are legal and have no paths.

    Attributes
    ----------
    irreps1, irreps2, irreps_out : o3.Irreps
        The irreps, one entry per copy.
    instructions : list of (int, int, int)
        ``(i1, i2, i_out)``, indices into the three irreps above.
    num_paths : int
        Number of instructions.
    dims : (int, int, int)
        Components per channel ``(d1, d2, d_out)``.
    key : str
        Text that identifies the paths; equal keys mean equal paths.

    Examples
    --------
    >>> paths = Paths("0e + 1o", "0e + 1o", "0e + 1o + 1e")
    >>> paths.num_paths, paths.instructions
    (5, [(0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)])
    """

    def __init__(self, irreps1: IrrepsLike, irreps2: IrrepsLike, irreps_out: IrrepsLike) -> None:
        self.irreps1 = expand_irreps(parse_irreps(irreps1, "irreps1"))
        self.irreps2 = expand_irreps(parse_irreps(irreps2, "irreps2"))
        self.irreps_out = expand_irreps(parse_irreps(irreps_out, "irreps_out"))
        self.instructions = [
            (i1, i2, i3)
            for i3, (mul3, ir3) in enumerate(self.irreps_out)
            for i1, (mul1, ir1) in enumerate(self.irreps1)
            for i2, (mul2, ir2) in enumerate(self.irreps2)
            if mul1 and mul2 and mul3 and ir3 in ir1 * ir2
        ]
        self.num_paths = len(self.instructions)
        self.dims = (self.irreps1.dim, self.irreps2.dim, self.irreps_out.dim)
        self.key = f"{self.irreps1}|{self.irreps2}|{self.irreps_out}"

    def reached(
        self, irreps1: set[o3.Irrep], irreps2: set[o3.Irrep] | None = None
    ) -> set[o3.Irrep]:
        """Kinds of irreps that a path leads to, if the operands hold these kinds only.

        Examples
        --------
        >>> Paths("0e + 1o", "1o", "0e + 1o + 1e").reached({o3.Irrep("0e")})
        {1o}
        """
        return {
            self.irreps_out[i3].ir
            for i1, i2, i3 in self.instructions
            if self.irreps1[i1].ir in irreps1
            and (irreps2 is None or self.irreps2[i2].ir in irreps2)
        }

    def nonzeros(self) -> list[tuple[int, int, int, int, float]]:
        """Entries ``(path, a, b, c, value)`` of the normalised coupling coefficients."""
        return _nonzeros(self.key)

    def coefficients(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Tensor:
        """Normalised coefficients, dense, of shape ``(num_paths, d1, d2, d_out)``."""
        return _coefficients(self.key, dtype or torch.get_default_dtype(), str(device or "cpu"))

    def __repr__(self) -> str:
        return (
            f"Paths({self.irreps1} x {self.irreps2} -> {self.irreps_out} | {self.num_paths} paths)"
        )


@functools.lru_cache(maxsize=256)
def paths_from_key(key: str) -> Paths:
    """Rebuild the paths that a key names."""
    return Paths(*key.split("|"))


@functools.lru_cache(maxsize=256)
def _nonzeros(key: str) -> list[tuple[int, int, int, int, float]]:
    paths = paths_from_key(key)
    slices = [irreps.slices() for irreps in (paths.irreps1, paths.irreps2, paths.irreps_out)]
    ends = [i3 for _, _, i3 in paths.instructions]
    entries = []
    for p, (i1, i2, i3) in enumerate(paths.instructions):
        l1, l2, l3 = paths.irreps1[i1].ir.l, paths.irreps2[i2].ir.l, paths.irreps_out[i3].ir.l
        block = _wigner_3j(l1, l2, l3) * ((2 * l3 + 1) / ends.count(i3)) ** 0.5
        for a, b, c in (block.abs() > 1e-12).nonzero().tolist():
            offset = slices[0][i1].start, slices[1][i2].start, slices[2][i3].start
            entries.append((p, offset[0] + a, offset[1] + b, offset[2] + c, block[a, b, c].item()))
    return entries


@functools.lru_cache(maxsize=256)
def _coefficients(key: str, dtype: torch.dtype, device: str) -> Tensor:
    paths = paths_from_key(key)
    with outside():
        dense = torch.zeros(paths.num_paths, *paths.dims, dtype=torch.float64, device="cpu")
        for p, a, b, c, value in _nonzeros(key):
            dense[p, a, b, c] = value
        return dense.to(device=device, dtype=dtype)
