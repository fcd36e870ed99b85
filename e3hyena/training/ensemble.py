"""Networks that differ in their seed: their mean, and how far to doubt it; those of the package."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from e3hyena.data.targets import Target
from e3hyena.models import HyenaNet
from e3hyena.training.checkpoint import ModelInfo, load_model
from e3hyena.training.files import read_json
from e3hyena.training.predictor import Predictor

if TYPE_CHECKING:
    from e3hyena.data.structures import Structure
    from e3hyena.training.prediction import Predictions


PRETRAINED = Path(__file__).parent / "pretrained"


class Ensemble(nn.Module):
    r"""Several networks of one task: the mean of their answers, in units, and a doubt.

    .. math:: \bar y = \frac1M\sum_m y_m,\qquad
              \mathrm{doubt} = q\,\Big(c + \sqrt{\tfrac1M\sum_m |y_m - \bar y|^2}\Big)

    with q and c of every quantity such that on molecules that were kept for it nine of ten errors
    (of vectors: their length) are below the doubt.

    Parameters
    ----------
    members : sequence of Predictor
    limits : dict
        ``"calibration"``, q and c by quantity, and ``"atoms"``, the sizes of training molecules.

    Attributes
    ----------
    info : ModelInfo
        Of the first network.
    task : Target
        What is predicted.
    """

    def __init__(self, members: Sequence[Predictor], limits: dict[str, Any]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.limits = limits
        self.info: ModelInfo = members[0].info

    @property
    def task(self) -> Target:
        """What is predicted."""
        return self.info.task

    @property
    def pairs(self) -> list[tuple[HyenaNet, ModelInfo]]:
        """Every network and what its file says."""
        return [(one.model, one.info) for one in cast(list[Predictor], list(self.members))]

    def forward(
        self, z: Tensor, pos: Tensor, batch: Tensor | None = None, **arguments: Tensor
    ) -> dict[str, Tensor]:
        """Every quantity by name, and ``NAME_doubt`` beside it, in its unit.

        Arguments as of `Predictor`; shapes (num_graphs, dim) or of atoms (num_atoms, dim), a doubt
        has one column.
        """
        answers = [member(z, pos, batch, **arguments) for member in self.members]
        names = [part.name for part in self.task.each]
        found = self.combine([[answer[name] for name in names] for answer in answers])
        values = {name: value for name, (value, _) in zip(names, found, strict=True)}
        return values | {
            f"{name}_doubt": doubt for name, (_, doubt) in zip(names, found, strict=True)
        }

    def predict(self, molecules: Any, **options: Any) -> "Predictions":
        """`e3hyena.training.predict` of files, ASE atoms or graphs of PyG."""
        from e3hyena.training.prediction import predict

        return predict(self, molecules, **options)

    def combine(self, answers: Sequence[Sequence[Tensor]]) -> list[tuple[Tensor, Tensor]]:
        """Mean (n, dim) and doubt (n, 1) of every quantity, from the answers of every member."""
        combined = []
        for part, values in zip(self.task.each, zip(*answers, strict=True), strict=True):
            every = torch.stack(values)
            mean = every.mean(dim=0)
            spread = (every - mean).square().sum(dim=-1, keepdim=True).mean(dim=0).sqrt()
            factor, floor = self.limits["calibration"][part.name]
            combined.append((mean, factor * (spread + floor)))
        return combined

    def outside(self, structure: "Structure") -> str:
        """In which ways a molecule is unlike the training data; empty if in none that is known."""
        numbers = structure.atoms.numbers
        remarks = list(structure.notes)
        fewest, most = self.limits["atoms"]
        if not fewest <= len(numbers) <= most:
            remarks.append(f"{len(numbers)} atoms, trained on {fewest} to {most}")
        if numbers.sum() % 2:
            remarks.append("an odd number of electrons: an ion or a radical")
        return "; ".join(remarks)


def load_pretrained() -> Ensemble:
    """The trained networks of the package: dipole vector, partial charges and gap by GFN2-xTB.

    For neutral molecules of H, C, N, O, F, S and Cl of about 10 to 40 atoms; errors, data and
    licence stand in the card, ``README.md`` in the folder `PRETRAINED`.

    Returns
    -------
    ensemble : Ensemble
        In evaluation mode, on the CPU.

    Examples
    --------
    >>> model = load_pretrained()
    >>> water = torch.tensor([[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]])
    >>> found = model(torch.tensor([8, 1, 1]), water)
    >>> {name: tuple(value.shape) for name, value in found.items() if "doubt" not in name}
    {'dipole': (1, 3), 'charges': (3, 1), 'gap': (1, 1)}
    """
    files = sorted(PRETRAINED.glob("*.pt"))
    with torch.device("cpu"):
        members = [Predictor(*load_model(file)) for file in files]
    return Ensemble(members, read_json(PRETRAINED / "limits.json", "calibration")).eval()
