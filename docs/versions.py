"""What passes with which versions: ``python docs/versions.py PYTHON...`` rewrites the table.

Every argument is the interpreter of an environment that holds torch, e3nn, torch-geometric,
jsonargparse, vesin, pytest and hypothesis. Results are kept in docs/results/versions.json, so that
environments can be measured one after the other, on one machine or several.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness.documents import write_block
from benchmarks.harness.tables import table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "versions.json"
PAGE = ROOT / "docs" / "security.md"
TESTS = ["tests/golden", "tests/interop/test_func.py", "tests/nn/test_operator.py"]
TESTS += ["tests/mixers/test_mixers.py", "tests/models/test_forces.py", "tests/test_public_api.py"]
ASK = """
import importlib.metadata as m, importlib.util as u, json, platform, shutil
has = lambda name: m.version(name) if u.find_spec(name) else "none"
print(json.dumps({"python": platform.python_version(), "torch": m.version("torch"),
                  "e3nn": m.version("e3nn"), "torch-geometric": m.version("torch-geometric"),
                  "numpy": m.version("numpy"), "triton": has("triton"),
                  "torch-scatter": has("torch_scatter"),
                  "compiler": "yes" if shutil.which("cc") or shutil.which("gcc") else "none"}))
"""


def measure(python: str, without_compiler: bool = False) -> dict[str, Any]:
    """Versions of an environment, and how many of `TESTS` pass there."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if without_compiler:
        environment |= {"PATH": str(Path(python).parent), "CC": ""}
    run = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True}
    found = json.loads(subprocess.run([python, "-c", ASK], check=True, **run).stdout)
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "--tb=line", *TESTS]
    output = subprocess.run([python, *words], **run).stdout
    last = output.strip().rpartition("\n")[2]
    numbers = re.findall(r"(\d+) (passed|failed|error|skipped)", last)
    if not numbers:
        raise RuntimeError(output[-2000:])
    found["tests"] = {what: number for number, what in numbers}
    found["failed"] = re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    return found


def render(rows: list[dict[str, Any]]) -> str:
    """Markdown, oldest torch first."""
    names = [name for name in rows[0] if name not in ("tests", "failed")]
    counted = ("passed", "failed", "skipped")
    body = [
        [*(row[name] for name in names), *(row["tests"].get(what, "0") for what in counted)]
        for row in rows
    ]
    return table([*names, *counted], body)


def main(arguments: list[str]) -> int:
    """How many environments had a failure."""
    bad = 0
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    without = "--without-compiler" in arguments
    for python in (word for word in arguments if not word.startswith("--")):
        row = measure(python, without)
        keys = [name for name in row if name not in ("tests", "failed")]
        rows = [old for old in rows if any(old[key] != row[key] for key in keys)] + [row]
        print(row)
        bad += "failed" in row["tests"] or "error" in row["tests"]
        rows.sort(key=lambda row: [[int(n) for n in re.findall(r"\d+", row[k])[:3]]
                                   for k in ("torch", "python")])  # fmt: skip
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    write_block(PAGE, "versions", render(rows))
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
