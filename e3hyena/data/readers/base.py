"""What the readers of all formats share: the molecule, its text, its errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch_geometric.data import Data

from e3hyena.data.centring import centred

TITLE = 60  # characters of a name that an error shows


class Structure(NamedTuple):
    """One molecule of a file: the `frame` of that number, from 0; without a file one in memory.

    Positions are in angstrom; what else the file says stands in ``info``, ``arrays`` and ``calc``
    of the atoms. `notes` are what no network is told and a user may expect it to know, such as
    ``"charge -1"``; `hints` what was found where a label could have been meant; `nodes` further
    attributes of `graph`, such as residues.
    """

    file: str
    frame: int
    atoms: Any
    name: str = ""
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    nodes: dict[str, Any] | None = None

    @property
    def where(self) -> str:
        """File, number and name, for messages."""
        file = f"{self.file!r}, " if self.file else ""
        name = f" ({short(self.name, TITLE)})" if self.name else ""
        return f"{file}molecule {self.frame}{name}"

    def graph(self) -> Data:
        """``z``, ``pos`` (about the mean of its atoms, float32), ``name``, and `nodes`.

        Of a periodic structure also ``cell`` (1, 3, 3) and ``pbc`` (1, 3).
        """
        graph = Data(
            z=torch.from_numpy(self.atoms.numbers).long(),
            pos=torch.from_numpy(centred(self.atoms.positions)).float(),
            name=self.name,
            **(self.nodes or {}),
        )
        if self.atoms.pbc.any():
            graph.cell = torch.from_numpy(self.atoms.cell.array).float()[None]
            graph.pbc = torch.from_numpy(self.atoms.pbc)[None]
        return graph


def read_content(path: Path) -> Any:
    """The text of a file, lines ending in ``\\n``; the bytes of a .mmtf.

    UTF-8 or UTF-16, with or without a byte order mark; whatever else is taken as Latin-1, for only
    comments have letters beyond ASCII.
    """
    content = path.read_bytes()
    if path.suffix.lower() == ".mmtf":
        return content
    try:
        utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        text = content.decode("utf-16" if utf16 else "utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    # A mark lies in the middle where files were joined.
    return text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n")


def short(text: str, length: int = 200) -> str:
    """On one line, and cut where it is longer, for messages."""
    text = " ".join(text.splitlines()).strip()
    return text if len(text) <= length else f"{text[:length]}..."


def number_or_text(text: str) -> float | str:
    """A number where it is one."""
    try:
        return float(text)
    except ValueError:
        return text


@contextmanager
def reading(where: str, suffix: str) -> Iterator[None]:
    """Turn whatever a parser raises into a ValueError that names the molecule."""
    try:
        yield
    except ImportError:
        raise
    except Exception as error:  # parsers raise whatever the damage provokes
        cause = short(str(error) or type(error).__name__)
        if isinstance(error, KeyError):
            cause = f"unknown element {cause}"
        raise ValueError(
            f"{where}: cannot be read as {suffix} ({cause}); is it complete, and of that format?"
        ) from error
