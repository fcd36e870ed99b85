"""The study sees which symmetry holds and which does not."""

from typing import Any

from benchmarks.studies import symmetry


def test_report(run_small: Any) -> None:
    report, page = run_small(
        symmetry.STUDY,
        mixers=["query_key", "coordinate"],
        orders=["none", "residue", "distance"],
        molecules=3,
        canonical_molecules=4,
    )
    for mixer, orders in report["errors"].items():
        for order, operations in orders.items():
            for name, error in operations.items():
                broken = (mixer, order, name) == ("query_key", "none", "permutation")
                assert (error["float64"] > 1e-3) is broken, (mixer, order, name, error)
                assert (error["float32"] > 1e-3) is broken
    relisted = report["relisted"]
    assert relisted["none"]["listing"]["invariants"]["changed"] == 4
    for kind in ("listing", "frame"):
        assert relisted["distance"][kind]["invariants"]["changed"] == 0
    assert "| `query_key` | none |" in page and "re-listed: vectors" in page
    assert symmetry.render_short(report) in page
