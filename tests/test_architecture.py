"""Every floor imports only the floors below it."""

import ast
from pathlib import Path

import pytest

import e3hyena

PACKAGE = Path(e3hyena.__file__).parent
BELOW: dict[str, set[str]] = {
    "_digest": set(),
    "_extras": set(),
    "_signals": set(),
    "registry": {"data", "mixers"},  # for type checking, and by name
    "irreps": set(),
    "ops": {"_extras", "irreps"},
    "mixers": {"irreps", "ops", "registry"},
    "nn": {"irreps", "ops", "mixers"},
    "models": {"irreps", "ops", "mixers", "nn"},
    "parallel": {"ops", "mixers", "nn", "models"},
    "data": {"_digest", "_extras", "registry"},
    "testing": {"irreps"},
    "training": {"_digest", "_extras", "irreps", "ops", "mixers", "models", "data", "registry"},
    "ase": {"_extras", "data", "models", "ops", "training"},
    "metatomic": {"_extras", "models", "nn", "ops", "training"},
}
FILES = [
    (floor, path)
    for path in sorted(PACKAGE.rglob("*.py"))
    if (floor := path.relative_to(PACKAGE).parts[0].removesuffix(".py")) in BELOW
]


def imported_floors(path: Path) -> set[str]:
    """Second names of all `e3hyena.x` that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "e3hyena" and len(part) > 1}


def test_every_floor_is_listed() -> None:
    floors = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert floors - {"__pycache__", "__init__", "__main__", "cli", "py"} == BELOW.keys()


@pytest.mark.parametrize(
    ("floor", "path"), FILES, ids=[str(p.relative_to(PACKAGE)) for _, p in FILES]
)
def test_imports_point_down(floor: str, path: Path) -> None:
    assert imported_floors(path) <= BELOW[floor] | {floor}


@pytest.mark.parametrize("path", [p for _, p in FILES], ids=lambda p: p.name)
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350
