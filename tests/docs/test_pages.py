"""Every public name has its place in the reference, and figures can be drawn again."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = "\n".join(page.read_text() for page in sorted((DOCS / "api").glob("*.md")))
FLOORS = ["nn", "mixers", "ops", "models", "data", "training", "parallel", "testing", "ase"]
MODULES = ["e3hyena", *(f"e3hyena.{floor}" for floor in FLOORS)]


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_is_complete(module: str) -> None:
    names = set(importlib.import_module(module).__all__) - {"__version__"}
    words = set(PAGES.replace("`", " ").replace(",", " ").replace(".", " ").split())
    assert names <= words, names - words


def test_figures_of_the_theory_page_are_drawn(tmp_path: Path) -> None:
    script = DOCS / "figures" / "theory.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True)
    for name in ("cost.png", "kernel.png"):
        drawn, stored = tmp_path / name, DOCS / "figures" / name
        assert drawn.read_bytes().startswith(b"\x89PNG") and stored.exists()
        assert f"figures/{name}" in (DOCS / "theory.md").read_text()


def test_the_figure_of_the_readme_is_drawn_from_the_results(tmp_path: Path) -> None:
    script = DOCS / "figures" / "results.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True)
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    assert "docs/figures/results.png" in (DOCS.parent / "README.md").read_text()
