"""Tables of SMILES in .csv files, with whatever else is known of the molecules."""

import csv
import io

from e3hyena.data.readers.base import Structure, number_or_text, reading
from e3hyena.data.readers.smiles import from_smiles

NAMES = ("name", "id", "title")


def read_csv(file: str, text: str) -> list[Structure]:
    """One molecule per line; a header names the columns, one of which is ``smiles``.

    Geometries are those of `from_smiles`. A column ``name``, ``id`` or ``title`` is the name; all
    columns are in ``atoms.info``, as numbers where they are, without those that are empty.
    """
    rows = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    header = {(name or "").strip().lower(): name for name in rows.fieldnames or []}
    if "smiles" not in header:
        raise ValueError(
            f"{file!r} has the columns {', '.join(header) or 'nothing'}; one must be called smiles"
        )
    title = next((header[name] for name in NAMES if name in header), None)
    structures: list[Structure] = []
    for number, row in enumerate(rows):
        where = f"{file!r}, molecule {number} (line {rows.line_num})"
        with reading(where, ".csv"):
            if None in row or None in row.values():
                raise ValueError(f"it has another number of columns than the header, {len(header)}")
            cells = {key.strip(): value.strip() for key, value in row.items()}
            one = from_smiles(row[header["smiles"]].strip(), row[title].strip() if title else "")
            one.atoms.info.update({key: number_or_text(v) for key, v in cells.items() if v})
            structures.append(one._replace(file=file, frame=number))
    return structures
