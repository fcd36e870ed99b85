"""Every measured table in the README and in docs is what its JSON renders to."""

import re
from pathlib import Path

import pytest
from benchmarks.__main__ import find_studies, load_study
from benchmarks.harness.documents import find_documents, read_block, write_block

from e3hyena.training.files import read_json
from tests.fuzz.outcomes import render as render_bad_inputs

ROOT = Path(__file__).parents[2]

STUDIES = [
    (block, study.name, render)
    for study in map(load_study, find_studies())
    for block, render in study.blocks.items()
]


@pytest.mark.parametrize(("name", "result", "render"), STUDIES, ids=lambda x: str(x)[:20])
def test_documents_agree_with_json(name: str, result: str, render) -> None:
    (page,) = find_documents([str(ROOT), str(ROOT / "docs")], [name])
    assert read_block(page, name) == render(read_json(ROOT / f"docs/results/{result}.json"))


def test_every_block_and_every_result_belongs_to_a_study() -> None:
    blocks = [
        name
        for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
        for name in re.findall(r"<!-- /(\w+) -->", page.read_text())
    ]
    others = {"mixers", "bad_inputs", "versions"}  # of the registry, of tests.fuzz, of versions.py
    measured = [name for name in blocks if name not in others]
    assert sorted(measured) == sorted(name for name, _, _ in STUDIES)
    results = {file.stem for file in (ROOT / "docs" / "results").glob("*.json")} - others
    studies = {result for _, result, _ in STUDIES}
    assert studies <= results <= studies | {f"{result}_cuda" for result in studies}


def test_the_counts_of_bad_inputs_agree_with_json() -> None:
    counts = read_json(ROOT / "docs/results/bad_inputs.json")["counts"]
    assert read_block(ROOT / "docs/security.md", "bad_inputs") == render_bad_inputs(counts)


def test_studies_are_called_as_their_files() -> None:
    assert all(load_study(name).name == name for name in find_studies())


def test_write_block(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n")
    write_block(file, "a", r"new \1 table")
    assert file.read_text() == "before\n<!-- a -->\nnew \\1 table\n<!-- /a -->\nafter\n"
    with pytest.raises(ValueError, match="no block <!-- b -->"):
        write_block(file, "b", "")


def test_find_documents(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.md").write_text(f"<!-- {name} -->\n<!-- /{name} -->\n")
    found = find_documents([str(tmp_path)], ["c", "a", "z"])
    assert [file.stem for file in found] == ["a", "c"]
    with pytest.raises(ValueError, match="no block <!-- z -->"):
        find_documents([str(tmp_path)], ["z"])
    with pytest.raises(ValueError, match="no block <!-- z --> or <!-- a -->"):
        find_documents([str(tmp_path), str(tmp_path / "b.md")], ["z", "a"])
    with pytest.raises(ValueError, match="there is no file"):
        find_documents([str(tmp_path / "d.md")], ["a"])
