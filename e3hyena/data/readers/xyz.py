"""Frames of .xyz and .extxyz files, through ASE."""

import io
import re
from typing import Any

from e3hyena._extras import require
from e3hyena.data.readers.base import Structure, reading, short
from e3hyena.data.readers.notes import notes_of

# key=value of extended xyz; every other word of a comment is free text.
PAIR = re.compile(
    r"""(?<![^\s,;])                                # at the beginning of a word
    (?P<key>"[^"=]*"|[^\W\d][\w.\-]*) \s*=\s*
    (?P<value>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\{[^{}]*\}|\[[^\[\]]*\]|[^\s"'{}\[\]=]\S*)""",
    re.VERBOSE,
)
DEFAULT = "species:S:1:pos:R:3"
BOOLEANS = set("T F 0 1 true false True False TRUE FALSE".split())


def read_xyz(file: str, text: str) -> list[Structure]:
    """Read every frame."""
    # Frame by frame: ASE's reader stops without a word at a blank line between two frames.
    lines = text.split("\n")
    structures: list[Structure] = []
    start = 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
            continue
        where = f"{file!r}, molecule {len(structures)} (line {start + 1})"
        count = lines[start].strip()
        if not (count.isascii() and count.isdigit() and len(count) < 10):
            raise ValueError(
                f"{where}: cannot be read as .xyz (line {start + 1} must be a number of atoms, not "
                f"{count[:40]!r}); is it complete, and of that format?"
            )
        end = start + 2 + int(count)
        if end > len(lines) or not all(line.strip() for line in lines[start + 2 : end]):
            raise ValueError(
                f"{where}: cannot be read as .xyz (it ends within the molecule that begins at line "
                f"{start + 1}, which has {count} atoms)"
            )
        with reading(where, ".xyz"):
            structures.append(_frame(file, len(structures), lines[start + 1 : end]))
        start = end
    return structures


def _frame(file: str, number: int, lines: list[str]) -> Structure:
    comment, rows = lines[0], lines[1:]
    pairs = _pairs(comment)
    free = " ".join(PAIR.sub(" ", comment).split())
    if not rows:
        return Structure(file, number, require("ase", "chem").Atoms(), free)
    described = "Properties" in pairs
    columns = pairs.setdefault("Properties", DEFAULT)
    width = len(rows[0].split())
    extra = width - _check_columns(columns, width)
    uneven = next((i for i, row in enumerate(rows) if len(row.split()) != width), None)
    if described and uneven is not None:
        raise ValueError(f"atom {uneven} has {len(rows[uneven].split())} columns, others {width}")
    if columns.startswith("species:S:1:"):
        rows = _symbols(rows)
    header = " ".join(f'"{key}"="{_escaped(value)}"' for key, value in pairs.items())
    text = "\n".join([str(len(rows)), header, *rows, ""])
    atoms = require("ase.io", "chem").read(io.StringIO(text), format="extxyz")
    hints = [f"free text on the comment line ({free[:60]!r})"] if free else []
    if extra > 0:
        hints.append(f"{extra} columns that Properties={short(columns)} does not name")
    name = str(atoms.info.get("name", free))
    return Structure(file, number, atoms, name, notes_of(atoms), tuple(hints))


def _pairs(comment: str) -> dict[str, str]:
    """The keys of a comment line and their values, checked where ASE would not say which it is."""
    pairs: dict[str, str] = {}
    for match in PAIR.finditer(comment):
        key, value = match["key"].strip('"'), match["value"]
        if value[0] in "\"'{[":
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        if key in pairs:
            raise ValueError(f"the key {key!r} is given twice")
        if key in _labels() and not all(map(_is_number, value.replace(",", " ").split() or [""])):
            raise ValueError(f"{key}={value!r} is not a number, or numbers")
        if key == "pbc" and not BOOLEANS.issuperset(value.replace(",", " ").split() or [""]):
            raise ValueError(f"pbc={value!r} must be T or F, one or three of them")
        pairs[key] = value
    return pairs


def _labels() -> list[str]:
    """Names that ASE takes for results of a calculation."""
    return require("ase.calculators.calculator", "chem").all_properties


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word  # Python reads 1_000


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _check_columns(columns: str, width: int) -> int:
    """Number of columns that a Properties value names; it must be sound and fit the atoms."""
    fields = columns.split(":")
    names, kinds, sizes = fields[::3], fields[1::3], fields[2::3]
    if len(fields) % 3 or len(set(names)) != len(names):
        raise ValueError(f"Properties={columns[:60]!r} must be name:type:columns, each name once")
    numeric = {*_labels(), "pos"}
    for name, kind, size in zip(names, kinds, sizes, strict=True):
        if not (size.isascii() and size.isdigit() and 0 < int(size[:9]) and len(size) < 10):
            raise ValueError(f"Properties says {name}:{kind}:{size[:20]}; columns are 1 or more")
        if kind not in ("I" if name == "Z" else "RI" if name in numeric else "RISL"):
            raise ValueError(f"the column {name!r} has type {kind}, which is no type of numbers")
    total = sum(map(int, sizes))
    if total > width:
        raise ValueError(f"Properties names {total} columns, but the first atom has {width}")
    if "pos" not in names:
        raise ValueError("Properties names no column pos: there are no positions")
    return total


def _symbols(rows: list[str]) -> list[str]:
    """Rows that begin with an atomic number or an isotope of hydrogen, with the symbol instead."""
    symbols: Any = require("ase.data", "chem").chemical_symbols
    result = []
    for row in rows:
        head, rest = row.split(maxsplit=1) if len(row.split()) > 1 else (row.strip(), "")
        if head.isascii() and head.isdigit():
            if not 0 < int(head[:9]) < len(symbols) or len(head) > 3:
                raise ValueError(f"there is no element with the atomic number {head[:20]}")
            row = f"{symbols[int(head)]} {rest}"
        elif head in ("D", "T"):
            row = f"H {rest}"
        result.append(row)
    return result
