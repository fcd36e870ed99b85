"""Studies of speed run at a small size and show what their JSON holds."""

import os
from typing import Any

import pytest
from benchmarks.__main__ import load_study
from benchmarks.studies import pages

IRREPS = "4x0e+4x1o"


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        (
            "block",
            {"irreps": [IRREPS], "length": 64, "repeats": 2, "mixers": ["query_key"]},
            f"| {IRREPS} | `query_key` | forward + backward | ",
        ),
        (
            "convolution",
            {"irreps": [IRREPS], "lengths": [64], "uneven": [32, 31], "attention_length": 64},
            f"| {IRREPS} | 64 | ",
        ),
        ("convolution", {"irreps": [IRREPS], "lengths": [], "attention_length": 0}, "|  |  |  |"),
        ("transforms", {"lengths": [9, 8, 100], "total": 900, "repeats": 2}, "| 8: "),
    ],
)
def test_report(run_small: Any, name: str, options: dict[str, Any], line: str) -> None:
    study = load_study(name)
    report, page = run_small(study, **options)
    assert report["environment"]["threads"] == 1
    assert study.render(report)[name] in page and line in page


def test_pages(run_small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def here(measure: Any, *arguments: Any) -> Any:
        seen.append(os.environ[pages.HUGE_PAGES])
        return measure(*arguments)

    monkeypatch.setattr(pages, "in_fresh_process", here)
    before = os.environ.get(pages.HUGE_PAGES)
    report, page = run_small(pages.STUDY, irreps=IRREPS, lengths=[64, 128], repeats=1)
    assert os.environ.get(pages.HUGE_PAGES) == before and seen == ["0", "0", "1", "1"]
    assert all(min(times) > 0 for times in report["seconds"].values())
    header, *_, last = (line for line in page.splitlines() if line.startswith("|"))
    assert header == "| tokens | neither | freed memory kept | huge pages | both |"
    assert last.startswith("| 128 |") and last.count("|") == 6
