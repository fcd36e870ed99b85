"""``python -m tests.fuzz``: bad inputs by the thousand, and a table of what became of them.

With ``--publish`` the table goes into docs/security.md, and its numbers into docs/results.
"""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

from benchmarks.harness.documents import write_block  # noqa: E402
from benchmarks.harness.environment import environment  # noqa: E402

from e3hyena.training.files import write_json  # noqa: E402
from tests.fuzz.bad_inputs import all_cases  # noqa: E402
from tests.fuzz.outcomes import OUTCOMES, campaign, table  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--scale", type=float, default=1.0, help="1: about 11,000 inputs")
    parser.add_argument("--publish", action="store_true", help="rewrite docs/security.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(sys.stderr):
            counts = campaign(all_cases(Path(folder), options.scale))
    print(table(counts))
    if options.publish:
        report = {"environment": environment(), "counts": counts}
        write_json(ROOT / "docs/results/bad_inputs.json", report, sealed=False)
        write_block(ROOT / "docs/security.md", "bad_inputs", table(counts))
    return int(any(found[name] for found in counts.values() for name in OUTCOMES[2:]))


if __name__ == "__main__":
    sys.exit(main())
