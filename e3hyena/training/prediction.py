"""Predictions of a trained model for molecules."""

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from e3hyena._extras import require
from e3hyena.data.orders import ORDERS, restore_order
from e3hyena.data.structures import Structure, as_structures
from e3hyena.data.targets import Target
from e3hyena.models import HyenaNet
from e3hyena.training.accepted import check_structure, warn_of_notes
from e3hyena.training.checkpoint import ModelInfo, load_model
from e3hyena.training.device import device_of
from e3hyena.training.ensemble import PRETRAINED, Ensemble, load_pretrained
from e3hyena.training.evaluate import predict_forces, predict_parts
from e3hyena.training.molecules import Molecules, lattices
from e3hyena.training.predictor import Predictor

WIDEST = 40  # letters of a name in a table


class Predictions(NamedTuple):
    """What `predict` found for its structures, in the order in which they were given.

    `values` are the properties of molecules side by side, (num_structures, dim), in ``task.unit``;
    `forces` (num_atoms, 3) of every structure, in ``task.unit`` per Angstrom, if the model predicts
    them, and, where all structures are periodic in three directions, `stress` (num_structures, 3,
    3), in ``task.unit`` per cubic Angstrom; `atoms` the properties of atoms, by name. All are
    float64. Of an `Ensemble`, `doubts` (num_structures, 1) by property, in its unit (of atoms in
    `atoms`), and `outside`: in which ways a molecule is unlike the training data, empty if in none.
    """

    task: Target
    structures: list[Structure]
    values: Tensor
    forces: list[Tensor] | None = None
    atoms: dict[str, list[Tensor]] | None = None
    doubts: dict[str, Tensor] | None = None
    outside: list[str] | None = None
    stress: Tensor | None = None

    @property
    def parts(self) -> list[tuple[Target, Tensor]]:
        """Every property of molecules, with its values."""
        graphs = [part for part in self.task.each if not part.per_atom]
        return list(zip(graphs, self.values.split([p.dim for p in graphs], dim=1), strict=True))

    def columns(self) -> dict[str, Tensor]:
        """Named columns of shape (num_structures,): the value, or components and length."""
        columns: dict[str, Tensor] = {}
        for part, values in self.parts:
            columns |= _columns(part.quantity, values)
            if self.doubts is not None:
                columns[f"{part.quantity}_doubt"] = self.doubts[part.name][:, 0]
        return columns

    def units(self) -> dict[str, str]:
        """The unit of every column."""
        return {
            name: part.unit
            for part, values in self.parts
            for name in [*_columns(part.quantity, values), f"{part.quantity}_doubt"]
        }

    def _rows(self) -> list[dict[str, Any]]:
        """File, number, name, formula and the columns of every molecule."""
        columns = {name: column.tolist() for name, column in self.columns().items()}
        return [
            {
                "file": structure.file,
                "molecule": structure.frame,
                "name": structure.name,
                "formula": structure.atoms.get_chemical_formula(),
                **{name: column[i] for name, column in columns.items()},
                **({} if self.outside is None else {"outside": self.outside[i]}),
            }
            for i, structure in enumerate(self.structures)
        ]

    def _header(self, rows: list[dict[str, Any]]) -> list[str]:
        units = self.units()
        return [f"{key} ({units[key]})" if key in units else key for key in rows[0]]

    def to_table(self) -> str:
        """Aligned columns for reading; the header names the unit."""
        rows = self._rows()
        for row in rows:
            if not any(structure.name for structure in self.structures):
                del row["name"]
            else:
                row["name"] = row["name"][:WIDEST]
        body = [
            [f"{round(v, 4) + 0.0:.4f}" if isinstance(v, float) else str(v) for v in row.values()]
            for row in rows
        ]
        head = self._header(rows)
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        lines = [
            "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in [head, *body]
        ]
        if self.atoms:
            lines.append(f"of every atom, with --format json or extxyz: {', '.join(self.atoms)}")
        return "\n".join(lines) + "\n"

    def to_csv(self) -> str:
        """One line per molecule, all digits, without what atoms have; the header names units."""
        rows, text = self._rows(), io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._header(rows))
        writer.writerows(row.values() for row in rows)
        return text.getvalue()

    def to_json(self) -> str:
        """A JSON object with task, unit and one entry per molecule."""
        found = self._rows()
        for row, forces in zip(found, self.forces or [], strict=self.forces is not None):
            row["forces"] = forces.tolist()
        for row, stress in zip(found, [] if self.stress is None else self.stress, strict=False):
            row["stress"] = stress.tolist()
        for name, atoms in (self.atoms or {}).items():
            for row, values in zip(found, atoms, strict=True):
                row[name] = (values[:, 0] if values.shape[-1] == 1 else values).tolist()
        content: dict[str, Any] = {"task": self.task.name, "unit": self.task.unit}
        if self.task.parts:
            of_atoms = {part.name: part.unit for part in self.task.each if part.per_atom}
            content["units"] = {**self.units(), **of_atoms}
        content["predictions"] = found
        if self.forces is not None:
            content["force_unit"] = f"{self.task.unit}/Angstrom"
        if self.stress is not None:
            content["stress_unit"] = f"{self.task.unit}/Angstrom^3"
        return json.dumps(content, indent=2) + "\n"

    def to_extxyz(self) -> str:
        """The molecules with ``predicted_<quantity>`` and its unit on the comment line.

        Forces are the columns ``predicted_forces``, stress is ``predicted_stress``. ASE gives the
        bare names ``dipole`` and ``forces`` units of its own, hence the prefix. What the molecules
        had with them, such as energies and forces to compare with, stays beside under its own name.
        """
        single_point = require("ase.calculators.singlepoint", "chem").SinglePointCalculator
        images = []
        for i, structure in enumerate(self.structures):
            atoms = structure.atoms.copy()
            results = dict(getattr(structure.atoms.calc, "results", {}))
            if results:
                atoms.calc = single_point(atoms, **results)
            if structure.name:
                atoms.info.setdefault("name", structure.name)
            for part, values in self.parts:
                key, value = f"predicted_{part.quantity}", values[i]
                atoms.info[key] = float(value[0]) if len(value) == 1 else value.numpy()
                atoms.info[f"{key}_unit"] = part.unit
                if self.doubts is not None:
                    atoms.info[f"{key}_doubt"] = float(self.doubts[part.name][i])
            if self.outside is not None and self.outside[i]:
                atoms.info["outside"] = self.outside[i]
            for name, parts in (self.atoms or {}).items():
                atoms.arrays[f"predicted_{name}"] = parts[i].squeeze(-1).numpy()
            if self.forces is not None:
                atoms.arrays["predicted_forces"] = self.forces[i].numpy()
            if self.stress is not None:
                atoms.info["predicted_stress"] = self.stress[i].numpy()
            images.append(atoms)
        text = io.StringIO()
        require("ase.io", "chem").write(text, images, format="extxyz")
        return text.getvalue()


def _columns(name: str, values: Tensor) -> dict[str, Tensor]:
    if values.shape[-1] == 1:
        return {name: values[:, 0]}
    axes = "xyz" if values.shape[-1] == 3 else range(values.shape[-1])
    components = {f"{name}_{axis}": values[:, i] for i, axis in enumerate(axes)}
    return {**components, f"{name}_length": values.norm(dim=-1)}


FORMATS = {
    "table": Predictions.to_table,
    "json": Predictions.to_json,
    "csv": Predictions.to_csv,
    "extxyz": Predictions.to_extxyz,
}
ENDINGS = {".json": "json", ".csv": "csv", ".extxyz": "extxyz", ".xyz": "extxyz", ".txt": "table"}


def format_of(output: str | Path | None) -> str:
    """The key of `FORMATS` that the ending of a file means; None: ``"table"``, for the terminal."""
    if output is None:
        return "table"
    if Path(output).suffix.lower() not in ENDINGS:
        raise ValueError(
            f"the name of {str(output)!r} must end in one of {', '.join(ENDINGS)}, or name the "
            f"format: {', '.join(FORMATS)}"
        )
    return ENDINGS[Path(output).suffix.lower()]


def predict(
    checkpoint: str | os.PathLike[str] | tuple[HyenaNet, ModelInfo] | Predictor | Ensemble,
    molecules: Any,
    *,
    batch_size: int = 64,
    accelerator: str = "cpu",
) -> Predictions:
    """Predict the property a model was trained for.

    Parameters
    ----------
    checkpoint : str, path, (model, info), Predictor or Ensemble
        A ``model.pt``, or the output folder that holds it; what `load_model`, `load_predictor` or
        `load_pretrained` returned; ``"pretrained"`` for the latter.
    molecules : path, ase.Atoms, Data, Batch, or a sequence of them
        The path of a file that `read_structures` reads; positions in Angstrom.
    batch_size : int
        Molecules per call of the network.
    accelerator : {"auto", "cpu", "gpu"}
        Where to compute.

    Returns
    -------
    predictions : Predictions
        In ``predictions.task.unit``.

    Raises
    ------
    FileNotFoundError, ValueError
        If the checkpoint or a file cannot be used, or a molecule has an element that the model was
        not trained on, or a periodic cell. Nothing is computed then.

    Warns
    -----
    UserWarning
        If a molecule has a charge or a spin, which no model is told, or lacks hydrogens.

    Examples
    --------
    >>> print(predict("runs/demo", "molecules.sdf").to_table())  # doctest: +SKIP
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: give one molecule per call or more")
    device = device_of(accelerator)
    loaded = load(checkpoint)
    ensemble = loaded if isinstance(loaded, Ensemble) else None
    members = loaded.pairs if isinstance(loaded, Ensemble) else [loaded]
    model, info = members[0]
    structures = as_structures(molecules)
    if not structures:
        raise ValueError("there are no molecules: give one file or more")
    for structure in structures:
        check_structure(structure, info)
    warn_of_notes(structures)
    graphs = [_graph(structure, info) for structure in structures]
    flat = Molecules(
        z=torch.cat([graph.z for graph in graphs]),
        pos=torch.cat([graph.pos for graph in graphs]),
        ptr=torch.tensor([0, *(len(graph.z) for graph in graphs)], device="cpu").cumsum(0),
        label=torch.zeros(len(structures), 1, device="cpu"),
        **lattices(graphs),
    )

    def by_structure(rows: Tensor) -> list[Tensor]:
        """Rows of atoms, in the order in which every structure lists them."""
        return [
            restore_order(row, graph) if "order_index" in graph else row
            for row, graph in zip(rows.split(flat.ptr.diff().tolist()), graphs, strict=True)
        ]

    if not info.task.has_forces:
        answers = [
            predict_parts(*member, flat, batch_size=batch_size, device=device) for member in members
        ]
        found: Sequence[Tensor] = answers[0]
        doubts: dict[str, Tensor] = {}
        if ensemble is not None:
            found, doubtful = zip(*ensemble.combine(answers), strict=True)
            doubts = dict(zip((part.name for part in info.task.each), doubtful, strict=True))
        pairs = list(zip(info.task.each, found, strict=True))
        of_graphs = [one for part, one in pairs if not part.per_atom]
        of_atoms = {part.name: by_structure(one) for part, one in pairs if part.per_atom}
        for part in info.task.each:
            if part.per_atom and ensemble is not None:
                of_atoms[f"{part.name}_doubt"] = by_structure(doubts[part.name])
        nothing = torch.zeros(len(structures), 0, dtype=torch.float64, device="cpu")
        values = torch.cat([nothing, *of_graphs], dim=1)
        if ensemble is None:
            return Predictions(info.task, structures, values, None, of_atoms)
        outside = [ensemble.outside(structure) for structure in structures]
        return Predictions(info.task, structures, values, None, of_atoms, doubts, outside)
    values, rows, stress = predict_forces(model, info, flat, batch_size=batch_size, device=device)
    return Predictions(info.task, structures, values, by_structure(rows), stress=stress)


def load(checkpoint: Any) -> tuple[HyenaNet, ModelInfo] | Ensemble:
    """`load_model` of a path, on the CPU whatever the default device; what is loaded as it is."""
    if isinstance(checkpoint, tuple | Ensemble):
        return checkpoint
    if isinstance(checkpoint, Predictor):
        return checkpoint.model, checkpoint.info
    if not isinstance(checkpoint, str | os.PathLike):
        raise TypeError(
            f"checkpoint is a {type(checkpoint).__name__}; give a path, or what load_predictor "
            "returns, for the network alone does not know its units"
        )
    if checkpoint == PRETRAINED.name and not Path(checkpoint).exists():
        return load_pretrained()
    with torch.device("cpu"):
        return load_model(Path(checkpoint))


def _graph(structure: Structure, info: ModelInfo) -> Data:
    """The molecule, its atoms in the order that the model was trained with."""
    graph = structure.graph()
    order = info.config.get("data", {}).get("order")  # absent in early files
    return graph if order is None else ORDERS[order]()(graph)
