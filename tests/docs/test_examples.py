"""The scripts of the how-to pages are short, are what the pages show, and run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SCRIPTS = sorted((DOCS / "examples").glob("*.py"))
PAGES = {page.name: page.read_text() for page in DOCS.glob("*.md")}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_is_short_and_shown(script: Path) -> None:
    text = script.read_text()
    assert len(text.splitlines()) <= 42
    assert [name for name, page in PAGES.items() if f"```python\n{text}```" in page] == [
        script.stem.replace("_", "-") + ".md"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_runs(script: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout


def test_there_is_one_per_use() -> None:
    names = [script.stem for script in SCRIPTS]
    assert names == ["beside_a_gnn", "forces", "replace_attention"]
