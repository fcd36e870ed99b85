"""Alloys are labelled, learned and reported."""

from typing import Any

import pytest
import torch
from benchmarks.studies import cells

pytest.importorskip("vesin")


def test_labels_are_those_of_crystals_and_the_same_for_a_seed() -> None:
    values = {"strain": 0.03, "rattle": 0.1, "cutoff": 4.0}
    one, again = (cells.crystals(2, (2, 1, 1), 5, values) for _ in range(2))
    assert all(torch.equal(a, b) for first, second in zip(one, again, strict=True)
               for a, b in zip(first, second, strict=True))  # fmt: skip
    assert len(one[0].z) == 8 and not torch.equal(one[0].pos, one[1].pos)
    assert one[0].force.sum(dim=0).abs().max() < 1e-4  # nothing pulls the cell
    torch.testing.assert_close(one[0].stress, one[0].stress.T)


@pytest.mark.slow
def test_a_small_study(run_small: Any) -> None:
    options = {"train": 8, "test": 2, "steps": 4, "seeds": [0], "irreps": "4x0e + 4x1o"}
    report, page = run_small(cells.STUDY, num_layers=1, **options)
    assert [cell["row"] for cell in report["cells"]] == ["coordinate", "local"]
    for name in ("`coordinate`", "local part only", "composition only"):
        assert f"| {name} |" in page
