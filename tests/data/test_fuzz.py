"""Files of molecules that were damaged at random: molecules or a clear error, and soon.

``python tests/data/test_fuzz.py 10000`` tries that many and prints the counts.
"""

import random
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e3hyena.data.structures import read_structures

pytest.importorskip("gemmi")
pytest.importorskip("rdkit")
pytest.importorskip("ase")

SECONDS = 5

XYZ = """3
water, it's energy=-13.6 here
O 0.0 0.0 0.1
H 0.8 0.0 -0.5
H -0.8 0.0 -0.5
2

CL 0 0 0
H 1.3 0 0
"""
EXTXYZ = """2
Properties=species:S:1:pos:R:3:forces:R:3 energy=-13.6 charge=-1 name="a b" pbc="F F F"
C 0.0 0.0 0.0 0.1 0.2 0.3
O 1.1 0.0 0.0 -0.1 -0.2 -0.3
2
Properties=Z:I:1:pos:R:3 energy=-1.0 Lattice="9 0 0 0 9 0 0 0 9" pbc="F F F" q=[1 2 3]
7 0.0 0.0 0.0
7 1.1 0.0 0.0
"""
SDF = """methanol
  test              3D

  3  2  0  0  0  0            999 V2000
    0.0000    0.0000    0.0000 C   0  0  0  0  0  0
    1.4000    0.0000    0.0000 O   0  0  0  0  0  0
    1.7000    0.9000    0.0000 H   0  0  0  0  0  0
  1  2  1  0
  2  3  1  0
M  CHG  1   2  -1
M  END
> <energy>
-13.6

$$$$
chloride
  test              3D

  0  0  0     0  0            999 V3000
M  V30 BEGIN CTAB
M  V30 COUNTS 2 1 0 0 0
M  V30 BEGIN ATOM
M  V30 1 Cl 0 0 0 0
M  V30 2 H 1.3 0 0 0
M  V30 END ATOM
M  V30 BEGIN BOND
M  V30 1 1 1 2
M  V30 END BOND
M  V30 END CTAB
M  END
$$$$
"""
PDB = """HEADER    TEST                                    01-JAN-00   1ABC
MODEL        1
ATOM      1  N   ALA A   1       0.000   0.000   0.000  1.00  0.00           N
ATOM      2  CA AALA A   1       1.400   0.000   0.000  0.40  0.00           C
ATOM      3  CA BALA A   1       1.500   0.100   0.000  0.60  0.00           C
ATOM      4  N   ALA A   1A      3.000   0.000   0.000  1.00  0.00           N
TER
HETATM    8 ZN    ZN A 100       5.000   0.000   0.000  1.00  0.00          ZN2+
ENDMDL
END
ATOM      1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O
END
"""
CIF = """data_1ABC
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_seq_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.auth_seq_id
_atom_site.pdbx_PDB_model_num
ATOM 1 N N . ALA A 1 1.0 2.0 3.0 1.0 7 1
ATOM 2 C CA A ALA A 1 2.0 2.0 4 0.4 7 1
ATOM 3 C CA B ALA A 1 2.1 2.0 4 0.6 7 1
HETATM 4 ZN ZN . ZN B . 5.0 2.0 4 1.0 101 1
"""
FILES = {".xyz": XYZ, ".extxyz": EXTXYZ, ".sdf": SDF, ".pdb": PDB, ".cif": CIF}
WORDS = """nan inf 1e999 -5 200 999999999 99999999999999999999 0 -1 T 1_0 ٣ Qq CL " ' { [ = : , $$$$
M__END END MODEL loop_ data_ Lattice= pbc=no Properties=a:R:999999999 energy= \\ \0 \x0c \x85 \ufeff
\u2028 é 0x10 1e400 _JSON__[[""".split(" ")
WORDS = [word.strip().replace("__", "  ") for word in " ".join(WORDS).split()] + ["\0", "\x0c", ""]


def damaged(text: str, random: random.Random) -> str:
    """The text with one to three changes to lines, words or letters."""
    for _ in range(random.choice([1, 1, 2, 3])):
        lines = text.split("\n")
        i, j = random.randrange(len(lines)), random.randrange(len(lines))
        kind = random.randrange(10)
        if kind == 0:
            del lines[i]
        elif kind == 1:
            lines.insert(i, lines[j])
        elif kind == 2:
            lines[i], lines[j] = lines[j], lines[i]
        elif kind == 3:
            lines.insert(i, random.choice(["", " ", *WORDS]))
        elif kind == 4:  # a word in the place of another, as wide where it can be
            words = [match.span() for match in re.finditer(r"\S+", lines[i])]
            if words:
                start, end = random.choice(words)
                word = random.choice(WORDS)
                lines[i] = lines[i][:start] + word.ljust(end - start) + lines[i][end:]
        elif kind == 5:
            lines[i] += random.choice(WORDS)
        text = "\n".join(lines)
        k = random.randrange(len(text) + 1)
        if kind == 6:
            text = text[:k]
        elif kind == 7:
            text = text[:k] + random.choice(WORDS) + text[k:]
        elif kind == 8:
            text = text[:k] + chr(random.choice([*range(128), 160, 955])) + text[k + 1 :]
        elif kind == 9:
            text = random.choice([text * 2, text.replace("\n", "\r\n"), "\ufeff" + text])
    return text


def check_count(path: Path, sizes: list[int]) -> None:
    """Nothing vanished: the molecules are those of the text, counted without a parser."""
    text = path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    lines = text.replace("\ufeff", "").split("\n")
    if path.suffix in (".xyz", ".extxyz"):
        filled = sum(bool(line.strip()) for line in lines)
        assert sum(sizes) + len(sizes) <= filled <= sum(sizes) + 2 * len(sizes)
    if path.suffix == ".sdf":
        assert len(sizes) == sum(line.rstrip() == "M  END" for line in lines)
    if path.suffix == ".pdb":
        entries = [0]
        for line in lines:
            entries[-1] += line[:4].upper() in ("ATOM", "HETA")
            if line[:6].strip().upper() == "END":
                entries.append(0)
        assert len(sizes) == sum(map(bool, entries))


def outcome(path: Path, text: str) -> str:
    """ "molecules" or "error"; anything else fails."""
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = read_structures(path)
            check_count(path, [len(structure.atoms) for structure in found])
            result = "molecules" if found else "nothing"
        except (ValueError, OSError) as error:
            assert type(error) in (ValueError, FileNotFoundError), repr(error)
            assert path.name in str(error), f"the file is not named: {error}"
            result = "error"
    assert time.perf_counter() - start < SECONDS
    return result


@settings(max_examples=300)
@given(st.sampled_from(sorted(FILES)), st.integers(0, 2**32))
def test_damaged_files_give_molecules_or_a_clear_error(suffix: str, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"molecules{suffix}"
        assert outcome(path, damaged(FILES[suffix], random.Random(seed))) in ("molecules", "error")


@pytest.mark.slow
def test_many_damaged_files() -> None:
    counts = campaign(5000)
    assert sum(counts.values()) == 5000 and min(counts.values()) > 50


def campaign(number: int) -> Counter[tuple[str, str]]:
    """Try `number` files; how often each format gave what."""
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(number):
            suffix = sorted(FILES)[seed % len(FILES)]
            text = damaged(FILES[suffix], random.Random(seed))
            counts[suffix, outcome(Path(folder) / f"molecules{suffix}", text)] += 1
    return counts


if __name__ == "__main__":
    begin = time.perf_counter()
    for (kind, result), count in sorted(campaign(int(sys.argv[1])).items()):
        print(f"{kind:8} {result:10} {count}")
    print(f"{time.perf_counter() - begin:.0f} s")
