"""Random elements of E(3) in float64 and their action on features and positions."""

from dataclasses import dataclass
from functools import cache

import torch
from e3nn import o3
from torch import Tensor

from e3hyena.testing.arguments import POINTS, Spec


@cache
def _sphere(degree: int) -> tuple[Tensor, Tensor]:
    """Unit vectors (n, 3) that determine harmonics of this degree, and the pseudo-inverse."""
    generator = torch.Generator().manual_seed(degree)
    points = torch.randn(8 * (2 * degree + 1), 3, generator=generator, dtype=torch.float64)
    points = torch.nn.functional.normalize(points, dim=-1)
    harmonics = o3.spherical_harmonics(degree, points, normalize=False)
    return points, torch.linalg.pinv(harmonics)


def wigner_matrix(degree: int, rotation: Tensor) -> Tensor:
    """Matrix of a proper rotation on irreps of a degree, accurate to round-off of float64.

    Solves ``Y(R x) = D Y(x)`` on fixed points. (``Irreps.D_from_matrix`` goes through Euler angles
    and works in the default dtype, which would limit every check to float32.)

    Parameters
    ----------
    degree, rotation : int, Tensor
        Degree l of the irrep, and a proper rotation, shape (3, 3), float64.

    Returns
    -------
    matrix : Tensor
        Shape (2 l + 1, 2 l + 1), float64.

    Examples
    --------
    >>> rotation = random_element(seed=0).rotation
    >>> D = wigner_matrix(3, rotation)
    >>> torch.allclose(D @ D.T, torch.eye(7, dtype=torch.float64), rtol=0, atol=1e-13)
    True
    """
    points, inverse = _sphere(degree)
    return (inverse @ o3.spherical_harmonics(degree, points @ rotation.T, normalize=False)).T


@dataclass(frozen=True, eq=False)
class Element:
    """An element of E(3): positions go to ``x -> ± R x + shift``.

    Parameters
    ----------
    rotation : Tensor
        Proper rotation R, shape (3, 3), float64.
    inversion : bool
        Whether space is inverted too.
    shift : Tensor
        Translation of positions, shape (3,), float64.
    """

    rotation: Tensor
    inversion: bool
    shift: Tensor

    def __call__(self, x: Tensor, spec: Spec) -> Tensor:
        """Transform ``x`` (..., dim), float64, which holds irreps, positions or invariants."""
        if spec is None:
            return x
        if spec == POINTS:
            sign = -1.0 if self.inversion else 1.0
            return sign * x @ self.rotation.T + self.shift
        parts = []
        irreps = o3.Irreps(spec)
        for (mul, ir), part in zip(irreps, irreps.slices(), strict=True):
            sign = ir.p if self.inversion else 1
            matrix = sign * wigner_matrix(ir.l, self.rotation)
            block = x[..., part].reshape(*x.shape[:-1], mul, ir.dim)
            parts.append((block @ matrix.T).reshape(*x.shape[:-1], mul * ir.dim))
        return torch.cat(parts, dim=-1) if parts else x

    def __str__(self) -> str:
        text = f"rotation {[[round(v, 4) for v in row] for row in self.rotation.tolist()]}"
        if self.inversion:
            text += " with inversion"
        if self.shift.any():
            text += f", translation {[round(v, 4) for v in self.shift.tolist()]}"
        return text


def random_element(
    seed: int, *, inversion: bool = False, translation_scale: float = 0.0
) -> Element:
    """Draw a rotation uniformly from SO(3), and a normal translation.

    Parameters
    ----------
    seed : int
        The same seed gives the same rotation and direction of translation.
    inversion : bool
        Compose the rotation with the inversion, an element of O(3) outside SO(3).
    translation_scale : float
        Standard deviation of each component of the translation.

    Examples
    --------
    >>> mirror = random_element(seed=0, inversion=True)
    >>> pseudoscalar = torch.ones(1, 1, dtype=torch.float64)
    >>> mirror(pseudoscalar, "0o").item()
    -1.0
    """
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(normal)
    q = q * r.diagonal().sign()  # uniform on O(3)
    shift = torch.randn(3, generator=generator, dtype=torch.float64)
    return Element(q * torch.det(q).sign(), inversion, translation_scale * shift)
