"""Predictions of a trained model for molecules in files."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from e3hyena._extras import require
from e3hyena.data.orders import ORDERS
from e3hyena.data.structures import Structure, read_structures
from e3hyena.data.targets import Target
from e3hyena.training.checkpoint import ModelInfo, load_model
from e3hyena.training.device import device_of
from e3hyena.training.evaluate import predict_forces, predict_molecules
from e3hyena.training.molecules import Molecules

__all__ = ["FORMATS", "Predictions", "predict"]


class Predictions(NamedTuple):
    """What `predict` found.

    Attributes
    ----------
    task : Target
        What was predicted; ``task.unit`` is the unit.
    structures : list of Structure
        The molecules, in the order of the files.
    values : Tensor of shape (num_structures, dim), float64
    forces : list of Tensor of shape (num_atoms, 3), float64, or None
        Of every structure, in ``task.unit`` per Angstrom, if the model predicts them.
    """

    task: Target
    structures: list[Structure]
    values: Tensor
    forces: list[Tensor] | None = None

    def columns(self) -> dict[str, Tensor]:
        """Named columns of shape (num_structures,): the value, or components and length."""
        name = self.task.quantity
        if self.values.shape[-1] == 1:
            return {name: self.values[:, 0]}
        components = {f"{name}_{axis}": self.values[:, i] for i, axis in enumerate("xyz")}
        return {**components, f"{name}_length": self.values.norm(dim=-1)}

    def to_table(self) -> str:
        """Aligned columns for reading; the header names the unit."""
        head = ["file", "molecule", "formula", *(f"{c} ({self.task.unit})" for c in self.columns())]
        body = [
            [
                s.file,
                str(s.frame),
                s.atoms.get_chemical_formula(),
                *(f"{round(float(v), 4) + 0.0:.4f}" for v in row),
            ]
            for s, row in zip(
                self.structures, zip(*self.columns().values(), strict=True), strict=True
            )
        ]
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        lines = [
            "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in [head, *body]
        ]
        return "\n".join(lines) + "\n"

    def to_json(self) -> str:
        """A JSON object with task, unit and one entry per molecule."""
        columns = {name: column.tolist() for name, column in self.columns().items()}
        found = [
            {
                "file": structure.file,
                "molecule": structure.frame,
                "formula": structure.atoms.get_chemical_formula(),
                **{name: column[i] for name, column in columns.items()},
                **({} if self.forces is None else {"forces": self.forces[i].tolist()}),
            }
            for i, structure in enumerate(self.structures)
        ]
        content = {"task": self.task.name, "unit": self.task.unit, "predictions": found}
        if self.forces is not None:
            content["force_unit"] = f"{self.task.unit}/Angstrom"
        return json.dumps(content, indent=2) + "\n"

    def to_extxyz(self) -> str:
        """The molecules with ``predicted_<quantity>`` and its unit on the comment line.

        Forces are the columns ``predicted_forces``. ASE gives the bare names ``dipole`` and
        ``forces`` units of its own, hence the prefix.
        """
        images = []
        key = f"predicted_{self.task.quantity}"
        for i, (structure, value) in enumerate(zip(self.structures, self.values, strict=True)):
            atoms = structure.atoms.copy()
            atoms.info[key] = float(value[0]) if len(value) == 1 else value.numpy()
            atoms.info[f"{key}_unit"] = self.task.unit
            if self.forces is not None:
                atoms.arrays["predicted_forces"] = self.forces[i].numpy()
            images.append(atoms)
        text = io.StringIO()
        require("ase.io", "chem").write(text, images, format="extxyz")
        return text.getvalue()


FORMATS = {
    "table": Predictions.to_table,
    "json": Predictions.to_json,
    "extxyz": Predictions.to_extxyz,
}


def predict(
    checkpoint: str | Path,
    files: Sequence[str | Path],
    *,
    batch_size: int = 64,
    accelerator: str = "cpu",
) -> Predictions:
    """Predict the property a model was trained for.

    Parameters
    ----------
    checkpoint : str or Path
        A ``model.pt``, or the output folder that holds it.
    files : sequence of str or Path
        .xyz, .extxyz or .sdf; positions in angstrom.
    batch_size : int
        Molecules per call of the network.
    accelerator : {"auto", "cpu", "gpu"}
        Where to compute.

    Returns
    -------
    predictions : Predictions

    Raises
    ------
    FileNotFoundError, ValueError
        If the checkpoint or a file cannot be used, or a molecule has an element that the model was
        not trained on. Nothing is computed then.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: give one molecule per call or more")
    device = device_of(accelerator)
    model, info = load_model(checkpoint)
    structures = [structure for file in files for structure in read_structures(file)]
    for structure in structures:
        _check_elements(structure, info)
    graphs = [_graph(structure, info) for structure in structures]
    molecules = Molecules(
        z=torch.cat([graph.z for graph in graphs]),
        pos=torch.cat([graph.pos for graph in graphs]),
        ptr=torch.tensor([0, *(len(graph.z) for graph in graphs)]).cumsum(0),
        label=torch.zeros(len(structures), 1),
    )
    if info.task.has_forces:
        values, forces = predict_forces(
            model, info, molecules, batch_size=batch_size, device=device
        )
        counts = molecules.ptr.diff().tolist()
        return Predictions(info.task, structures, values, list(forces.split(counts)))
    values = predict_molecules(model, info, molecules, batch_size=batch_size, device=device)
    return Predictions(info.task, structures, values)


def _graph(structure: Structure, info: ModelInfo) -> Data:
    """The molecule, its atoms in the order that the model was trained with."""
    graph = Data(
        z=torch.from_numpy(structure.atoms.numbers).long(),
        pos=torch.from_numpy(structure.atoms.positions).float(),
    )
    order = info.config.get("data", {}).get("order")  # absent in early files
    return graph if order is None else ORDERS[order]()(graph)


def _check_elements(structure: Structure, info: ModelInfo) -> None:
    symbols = require("ase.data", "chem").chemical_symbols
    unknown = sorted(set(structure.atoms.numbers.tolist()) - set(info.elements))
    if unknown:
        raise ValueError(
            f"{structure.file!r}, molecule {structure.frame}: element "
            f"{', '.join(symbols[z] for z in unknown)} was not in the training set; this model "
            f"knows {', '.join(symbols[z] for z in info.elements)}"
        )
