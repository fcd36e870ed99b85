"""``python -m tests.fuzz``: bad inputs by the thousand, and a table of what became of them.

With ``--publish`` the counts go into docs/results, part by part, and the table into
docs/security.md.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

from benchmarks.harness.documents import write_block  # noqa: E402
from benchmarks.harness.environment import environment  # noqa: E402

from e3hyena.training.files import write_json  # noqa: E402
from tests.fuzz.bad_inputs import PARTS, prepare  # noqa: E402
from tests.fuzz.outcomes import OUTCOMES, campaign, render  # noqa: E402

RESULTS = ROOT / "docs/results/bad_inputs.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("parts", nargs="*", help=f"of {list(PARTS)}; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="1: about 11,000 inputs")
    parser.add_argument("--publish", action="store_true", help="rewrite docs/security.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        files, work = prepare(Path(folder)), Path(folder, "work")
        work.mkdir()
        for part in options.parts or PARTS:
            make, count = PARTS[part]
            found = campaign(make(files, work, int(count * options.scale)))
            counts |= found
            if options.publish:
                publish(found)
    print(render(counts))
    return int(any(found[name] for found in counts.values() for name in OUTCOMES[2:]))


def publish(found: dict) -> None:
    """Join the counts with those of other parts."""
    report = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"counts": {}}
    report = {"environment": environment(), "counts": {**report["counts"], **found}}
    write_json(RESULTS, report, sealed=False)
    write_block(ROOT / "docs/security.md", "bad_inputs", render(report["counts"]))


if __name__ == "__main__":
    sys.exit(main())
