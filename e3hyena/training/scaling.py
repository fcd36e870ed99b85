"""Labels brought to unit scale for training, and predictions brought back."""

from typing import NamedTuple

import torch
from torch import Tensor

NUM_ELEMENTS = 119  # atomic numbers 0 (unused) to 118


class Scaling(NamedTuple):
    """Affine map between a network's output and a property in its unit.

    ``property = scale * output + shift + sum over atoms of atom_shift[z]``

    Shapes are (), () and (119,), by atomic number; of several quantities all have a leading
    dimension for them. The shift of vectors is zero: all else would break equivariance. All are
    float64: a total energy of 10,000 eV and its error of 0.01 eV do not fit float32.
    """

    scale: Tensor
    shift: Tensor
    atom_shift: Tensor

    def offset(self, z: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        """What is added to ``scale * output``, shape (num_graphs, 1), float64."""
        atoms = torch.zeros(num_graphs, dtype=torch.float64, device=z.device)
        shifts = self.atom_shift.to(z.device)[z]
        return (atoms.index_add(0, batch, shifts) + self.shift).unsqueeze(-1)

    @property
    def each(self) -> "list[Scaling]":
        """One scaling per quantity."""
        if not self.scale.dim():
            return [self]
        return [Scaling(*values) for values in zip(*self, strict=True)]

    @classmethod
    def stack(cls, scalings: "list[Scaling]") -> "Scaling":
        """The inverse of `each`."""
        if len(scalings) == 1:
            return scalings[0]
        return cls(*(torch.stack(values) for values in zip(*scalings, strict=True)))

    def to_atoms(self, output: Tensor, z: Tensor) -> Tensor:
        """Network output (num_tokens, dim) to a property of atoms, float64."""
        return self.scale * output.double() + self.atom_shift.to(z.device)[z].unsqueeze(-1)

    def from_atoms(self, value: Tensor, z: Tensor) -> Tensor:
        """The inverse of `to_atoms`, float32."""
        return ((value.double() - self.atom_shift[z].unsqueeze(-1)) / self.scale).float()

    def to_property(self, output: Tensor, z: Tensor, batch: Tensor) -> Tensor:
        """Network output (num_graphs, dim) to property in its unit, float64."""
        return self.scale * output.double() + self.offset(z, batch, output.shape[0])

    def to_output(self, value: Tensor, z: Tensor, batch: Tensor) -> Tensor:
        """The inverse of `to_property`, float32."""
        return ((value.double() - self.offset(z, batch, len(value))) / self.scale).float()


def fit_scaling(
    label: Tensor,
    z: Tensor,
    batch: Tensor,
    *,
    per_atom: bool,
    summed: bool,
    force: Tensor | None = None,
) -> Scaling:
    """Scale and shift of the training labels.

    A scalar is shifted by its mean (`per_atom`: first by a contribution of every element, a least
    squares fit), a vector divided by the root mean square of its components. A network that adds
    up atoms (`summed`) starts with a sum of variance n: the scale is smaller by the root of the
    mean n. Forces, not energies, decide a fit: with them the scale is the root mean square of a
    component times one Angstrom, and nothing is added per graph, so that energies are extensive.
    """
    label = label.double()
    unit = (len(z) / len(label)) ** 0.5 if summed else 1.0
    zero = torch.zeros((), dtype=torch.float64, device="cpu")
    atom_shift = torch.zeros(NUM_ELEMENTS, dtype=torch.float64, device="cpu")
    if label.shape[-1] > 1:
        return Scaling(positive(label.square().mean().sqrt()) / unit, zero, atom_shift)
    if per_atom:
        counts = torch.zeros(len(label), NUM_ELEMENTS, dtype=torch.float64, device="cpu")
        counts.index_put_((batch, z), torch.ones_like(counts[0, 0]), accumulate=True)
        seen = counts.any(dim=0)
        # gelsd: composition columns may be linearly dependent
        atom_shift[seen] = torch.linalg.lstsq(counts[:, seen], label, driver="gelsd").solution[:, 0]
        label = label - (counts @ atom_shift).unsqueeze(-1)
    if force is not None:
        # No shift: of twice the atoms the energy is twice that of one.
        scale = positive(force.double().square().mean().sqrt())
        return Scaling(scale, zero, atom_shift)
    shift = label.mean()
    deviation = (label - shift).square().mean().sqrt()
    return Scaling(positive(deviation) / unit, shift, atom_shift)


def positive(scale: Tensor) -> Tensor:
    """A scale that can be divided by, also where all labels are (nearly) equal."""
    return torch.where(scale > 1e-6, scale, torch.ones_like(scale))
