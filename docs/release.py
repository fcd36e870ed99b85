"""Checks that a version can be released: ``make release VERSION=1.2.3`` calls it.

The version stands in one place, ``e3hyena/__init__.py``; this sees that it is the one asked for,
that the changelog has a dated section about it, and that the wheel works where nothing but its
requirements is installed.
"""

import ast
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LARGEST_WHEEL = 15_000  # lines of code, see `count_lines`
SMOKE = """
import torch
from e3hyena import HyenaNet, HyenaOperator, __version__
operator = HyenaOperator("4x0e + 4x1o", mixer="coordinate")
assert operator(operator.irreps_in.randn(9, -1), torch.arange(9) // 4).isfinite().all()
net = HyenaNet("1o", irreps_hidden="4x0e + 4x1o", num_layers=1, cutoff=3.0)
assert net(torch.tensor([8, 1, 1]), torch.randn(3, 3)).isfinite().all()
print("e3hyena", __version__, "computes")
"""


def version() -> str:
    """The version that the package names."""
    found = re.search(r'__version__ = "(.+?)"', (ROOT / "e3hyena" / "__init__.py").read_text())
    assert found is not None
    return found[1]


def check_texts(wanted: str) -> None:
    """See that version and changelog are those of the release.

    Raises
    ------
    ValueError
        That says which file to mend.
    """
    if version() != wanted:
        raise ValueError(
            f"VERSION={wanted}, but e3hyena/__init__.py says {version()}: change it there"
        )
    changelog = (ROOT / "CHANGELOG.md").read_text()
    if not re.search(rf"^## \[{re.escape(wanted)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE):
        raise ValueError(
            f"CHANGELOG.md has no section '## [{wanted}] - YYYY-MM-DD': rename [Unreleased] to it"
        )
    if f"\nversion: {wanted}\n" not in (ROOT / "CITATION.cff").read_text():
        raise ValueError(f"CITATION.cff does not say 'version: {wanted}'")


def count_lines(source: str) -> int:
    """Lines of Python that are neither blank, nor a comment, nor part of a docstring."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    first = [node.body[0] for node in ast.walk(ast.parse(source)) if isinstance(node, owners)
             and ast.get_docstring(node) is not None]  # fmt: skip
    left_out = {n for text in first for n in range(text.lineno, (text.end_lineno or 0) + 1)}
    lines = enumerate(map(str.strip, source.splitlines()), start=1)
    return sum(bool(line) and line[0] != "#" and n not in left_out for n, line in lines)


def check_wheel(wheel: Path) -> None:
    """Install the wheel into a fresh environment, without extras, and compute with it."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".py")]
        lines = sum(count_lines(archive.read(name).decode()) for name in names)
    if lines > LARGEST_WHEEL:
        raise ValueError(f"{wheel.name} holds {lines:,} lines of code; at most {LARGEST_WHEEL:,}")
    print(f"{wheel.name}: {lines:,} lines of code")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = f"{folder}/bin/python"
        install = [python, "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
        subprocess.run([*install, "torch"], check=True)
        subprocess.run([*install, str(wheel)], check=True)
        subprocess.run([python, "-c", SMOKE], check=True, cwd=folder)


def main(wanted: str) -> None:
    """Check everything, the slow part last."""
    check_texts(wanted)
    wheels = list((ROOT / "dist").glob(f"e3hyena-{wanted}-*.whl"))
    if len(wheels) != 1:
        raise ValueError(f"dist holds {len(wheels)} wheels of version {wanted}: run `make build`")
    check_wheel(wheels[0])
    print(f"release {wanted}: tag it with `git tag v{wanted}`")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (TypeError, ValueError) as error:
        sys.exit(f"release: {error}")
