"""Every script of docs/examples is short, runs, and stands on its page as it is."""

import re
import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SCRIPTS = sorted((DOCS / "examples").glob("*.py"))


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 2


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
class TestEvery:
    def test_is_short(self, script: Path) -> None:
        assert len(script.read_text().splitlines()) <= 40

    def test_runs(self, script: Path, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            runpy.run_path(str(script), run_name="__main__")
        assert capsys.readouterr().out

    def test_stands_on_its_page(self, script: Path) -> None:
        page = DOCS / f"{script.stem.replace('_', '-')}.md"
        blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
        assert script.read_text() in blocks
