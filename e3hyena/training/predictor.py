"""A trained network that answers in units."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from e3hyena.data.targets import Target
from e3hyena.models import HyenaNet, energy_and_forces
from e3hyena.ops.exporting import exporting
from e3hyena.training.checkpoint import ModelInfo, load_model
from e3hyena.training.parts import outputs_of, to_properties

if TYPE_CHECKING:
    from e3hyena.training.prediction import Predictions


class Predictor(nn.Module):
    """A network and its scaling: atoms in, the property in its unit out.

    Parameters
    ----------
    model : HyenaNet
        Its output is in the scale that it was trained in.
    info : ModelInfo

    Attributes
    ----------
    task : Target
        What is predicted; ``task.unit`` is the unit of the result.
    """

    def __init__(self, model: HyenaNet, info: ModelInfo) -> None:
        super().__init__()
        self.model = model
        self.info = info

    @property
    def task(self) -> Target:
        """What is predicted."""
        return self.info.task

    def forward(
        self, z: Tensor, pos: Tensor, batch: Tensor | None = None, **arguments: Tensor
    ) -> Tensor | dict[str, Tensor]:
        """Predict the property of every graph; gradients flow back to the positions.

        Parameters
        ----------
        z : Tensor of shape (num_atoms,), int64
            Atomic numbers, of elements that the network was trained on.
        pos : Tensor of shape (num_atoms, 3)
            Positions (angstrom); their atoms in the order that the network was trained with.
        batch : Tensor of shape (num_atoms,), optional
            Graph of every atom, sorted.
        **arguments
            Passed on to the network, such as ``cell`` and ``pbc``.

        Returns
        -------
        value : Tensor of shape (num_graphs, dim), or (num_atoms, dim) of atoms, float64
            In ``task.unit``; for a task with forces the energy. Of several properties a dict, by
            name.
        """
        self._check(z)
        batch = torch.zeros_like(z) if batch is None else batch
        output = self.model(z, pos, batch, **arguments)
        num_graphs = output.shape[0]
        if self.model.pool is None:
            num_graphs = int(batch.max()) + 1 if len(batch) else 0
        outputs = outputs_of(self.task, output, batch, num_graphs, self.model.pool)
        values = to_properties(self.task, self.info.scaling, outputs, z, batch)
        names = [part.name for part in self.task.each]
        return dict(zip(names, values, strict=True)) if self.task.parts else values[0]

    def predict(self, molecules: Any, **options: Any) -> "Predictions":
        """`e3hyena.training.predict` of files, ASE atoms or graphs of PyG."""
        from e3hyena.training.prediction import predict

        return predict(self, molecules, **options)

    def energy_and_forces(
        self, z: Tensor, pos: Tensor, batch: Tensor | None = None, **arguments: Any
    ) -> tuple[Tensor, Tensor]:
        """Energies (num_graphs, 1) and forces (num_atoms, 3), float64, per angstrom."""
        self._check(z)
        energy, force = energy_and_forces(self.model, z, pos, batch, **arguments)
        batch = torch.zeros_like(z) if batch is None else batch
        scaling = self.info.scaling
        return scaling.to_property(energy, z, batch), scaling.scale * force.double()

    def _check(self, z: Tensor) -> None:
        if exporting():
            return
        unknown = sorted(set(z.unique().tolist()) - set(self.info.elements))
        if unknown:
            raise ValueError(
                f"elements {unknown} (atomic numbers) were not in the training set; this model "
                f"knows {self.info.elements}"
            )

    def extra_repr(self) -> str:
        return f"{self.task.quantity} in {self.task.unit}"


def load_predictor(path: str | Path) -> Predictor:
    """Load a trained network that answers in the unit of its property.

    Parameters
    ----------
    path : str or Path
        A ``model.pt`` or ``.safetensors`` file, or the output folder that holds the former.

    Returns
    -------
    predictor : Predictor
        In evaluation mode, on the CPU.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load_model`.

    Examples
    --------
    >>> predictor = load_predictor("runs/demo")  # doctest: +SKIP
    >>> dipole = predictor(z, pos, batch)  # debye  # doctest: +SKIP
    """
    return Predictor(*load_model(path)).eval()
