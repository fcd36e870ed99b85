"""Properties of the user's own, from structures or a table of SMILES."""

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data, InMemoryDataset

from e3hyena.data.catalogue import Entry
from e3hyena.data.splits import check_split, file_of, random_part
from e3hyena.data.structures import SUFFIXES, Structure, read_structures
from e3hyena.data.targets import Target

FIELDS = {"unit", "irreps", "per_atom", "summed", "column"}
MISSING = ("", "nan", "na", "none", "null")


class OwnMolecules(InMemoryDataset):
    """Molecules of the user's own, with any properties of molecules and of atoms.

    Every molecule has ``z`` (N,), ``pos`` (N, 3) in Angstrom about the mean of its atoms, ``name``,
    and one field per target: (1, dim), or (N, dim) of atoms; NaN where a label is missing.

    Parameters
    ----------
    path : str or path
        A file that `read_structures` reads (.csv with a column ``smiles``, .extxyz, .sdf, ...), or
        a folder with such files called ``train``, ``val`` and ``test``.
    split : {"train", "val", "test"}, optional
        Of a file, a part drawn at random once and for all by `seed`: 80, 10 and 10 percent; all of
        it by default. Of a folder, the file of that name (needed).
    transform : callable, optional
        Called on every `Data` that is taken out.
    targets : dict
        What to read, by name: ``{"gap": {"unit": "eV"}, "dipole": {"unit": "D", "irreps": "1o"},
        "charges": {"unit": "e", "per_atom": True}}``. ``irreps`` are ``0e`` where nothing is said,
        ``summed`` says that a property is a sum over atoms, ``column`` is its name in the file if
        it is another. The file has it where its format keeps such things: in columns of a table
        (of a vector NAME_x, NAME_y, NAME_z; else NAME_0, NAME_1, ...), data fields of SDF, keys
        and per-atom columns of extended xyz. An empty cell, ``nan`` or a missing key is a missing
        label.
    seed : int
        Of the split.

    Attributes
    ----------
    columns : list of str
        All that the file says of molecules and atoms.

    Raises
    ------
    ValueError
        If a molecule cannot be read, a label is no number or of another size than its irreps, no
        molecule has a label of some target, or a split or a field of `targets` is unknown.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "own.csv").write_text("smiles,boils\\nCCO,78.4\\nCCC,\\n")
    ...     dataset = OwnMolecules(f"{folder}/own.csv", targets={"boils": {"unit": "C"}})
    >>> [round(float(molecule.boils), 1) for molecule in dataset]
    [78.4, nan]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        split: str | None = None,
        transform: Callable | None = None,
        *,
        targets: Mapping[str, Mapping[str, Any]] | None = None,
        seed: int = 0,
    ) -> None:
        check_split(split)
        super().__init__(None, transform)
        self.targets = own_targets({"targets": targets or {}})
        file = file_of(Path(path), split, SUFFIXES)
        structures = _read(str(file), file.stat().st_mtime_ns if file.is_file() else 0)
        columns = {name: dict(targets or {})[name].get("column", name) for name in self.targets}
        for name, target in self.targets.items():
            if all(_value(one, target, columns[name]) is None for one in structures):
                known = sorted({*_known(structures[0]), *structures[0].hints})
                raise ValueError(
                    f"{str(file)!r}: no molecule has {columns[name]!r}; the first one has "
                    f"{', '.join(known) or 'nothing'}"
                )
        items = [self._data_of(one, columns) for one in structures]
        self.columns = sorted({key for one in structures for key in _known(one)})
        self._data, self.slices = self.collate(items)
        if split is not None and Path(path).is_file():
            self._indices = random_part(len(items), split, seed)

    def _data_of(self, structure: Structure, columns: Mapping[str, str]) -> Data:
        data = Data(**{k: v for k, v in structure.graph().to_dict().items() if k in ("z", "pos")})
        data.name = structure.name
        for name, target in self.targets.items():
            shape = (len(structure.atoms) if target.per_atom else 1, target.dim)
            value = _value(structure, target, columns[name])
            array = np.full(shape, np.nan)
            if value is not None:
                array = _checked(value, shape, f"{structure.where}: {columns[name]!r}")
            data[name] = torch.from_numpy(array)
        return data

    def describe(self) -> str:
        """Counts, and range, mean, deviation and missing labels of every target, as a table."""
        items = [self.get(i) for i in self.indices()]
        atoms = [item.num_nodes for item in items]
        elements = torch.cat([item.z for item in items]).unique().tolist()
        header = (
            f"{'target':>16} {'unit':>12} {'irreps':>8} {'min':>12} {'mean':>12} {'max':>12} "
            f"{'std':>12} {'missing':>8}"
        )
        lines = [
            f"OwnMolecules: {len(items):,} molecules, {sum(atoms):,} atoms "
            f"({min(atoms)}-{max(atoms)}), elements {', '.join(map(str, elements))}",
            *([header] if self.targets else []),
        ]
        for name, target in self.targets.items():
            values = torch.cat([item[name] for item in items])
            there = ~values.isnan().any(dim=-1)
            v = values[there]
            numbers = [v.min(), v.mean(), v.max(), v.std(correction=0)] if len(v) else []
            lines.append(
                f"{name:>16} {target.unit:>12} {target.irreps:>8} "
                + " ".join(f"{float(number):>12.4f}" for number in numbers)
                + f" {int((~there).sum()):>8}"
            )
        others = ", ".join(name for name in self.columns if name not in self.targets) or "nothing"
        return "\n".join([*lines, f"further columns and keys: {others}"])


def own_targets(options: Mapping[str, Any]) -> dict[str, Target]:
    """The targets that the options of the data describe."""
    found = {}
    for name, fields in (options.get("targets") or {}).items():
        if not isinstance(fields, Mapping) or (unknown := sorted(fields.keys() - FIELDS)):
            what = f"no field {unknown[0]!r}" if isinstance(fields, Mapping) else "fields"
            raise ValueError(
                f"data.options.targets: {name!r} has {what}; say {', '.join(sorted(FIELDS))}"
            )
        found[name] = Target(
            name,
            str(fields.get("unit", "unit of the file")),
            str(fields.get("irreps", "0e")),
            None,
            f"{name} of the user's own data",
            summed=bool(fields.get("summed", False)),
            per_atom=bool(fields.get("per_atom", False)),
        )
        if not found[name].dim:
            raise ValueError(f"data.options.targets: {name!r} has the irreps of nothing")
    return found


@lru_cache(maxsize=4)
def _read(file: str, changed: int) -> list[Structure]:
    """The molecules of a file, which are embedded once for all parts of a split."""
    return read_structures(file)


def _known(structure: Structure) -> dict[str, Any]:
    """All that a file says of a molecule and its atoms."""
    atoms = structure.atoms
    results = {} if atoms.calc is None else atoms.calc.results
    arrays = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
    return {**arrays, **atoms.info, **results}


def _value(structure: Structure, target: Target, column: str) -> Any:
    """What the file has, or None."""
    known = _known(structure)
    if column in known:
        value = known[column]
        return None if isinstance(value, str) and value.strip().lower() in MISSING else value
    axes = "xyz" if target.dim == 3 else range(target.dim)
    parts = [known.get(f"{column}_{axis}") for axis in axes]
    return None if None in parts or target.per_atom else parts


def _checked(value: Any, shape: tuple[int, int], where: str) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise ValueError(f"{where} is {value!r}, which is no number") from None
    if array.size != shape[0] * shape[1]:
        raise ValueError(f"{where} has {array.size} numbers; wanted {shape[0]} x {shape[1]}")
    if np.isinf(array).any():
        raise ValueError(f"{where} is not finite; leave a missing label empty")
    return array.reshape(shape)


ENTRY = Entry(
    OwnMolecules,
    own_targets,
    size="files of your own",
    holds="any properties of molecules and atoms; .csv with SMILES, .extxyz, .sdf and others",
    download="",
    origin="files of the user",
    licence="the user's",
    root="file",
)
