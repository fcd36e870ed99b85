"""Compiled libraries: from a private folder, whole, within a time, or not at all."""

import os
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from e3hyena.ops import Paths, backends, tensor_product
from e3hyena.ops.backends import BACKENDS, cache, native, select, use_backend
from e3hyena.ops.backends.native import build as native_build
from e3hyena.ops.backends.native.build import BuildError, compiler, load, run

CODE = "int answer(void) { return 42; }\n"
needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C compiler")
posix = pytest.mark.skipif(os.name != "posix", reason="owners and modes are of POSIX")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty cache of its own."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("E3HYENA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Take a shell script for the compiler."""

    def write(script: str) -> Path:
        path = tmp_path / "fake-cc"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("CC", str(path))
        native_build._identity.cache_clear()
        return path

    yield write
    native_build._identity.cache_clear()


def libraries(home: Path) -> list[Path]:
    return sorted(home.glob("*.so"))


# --- whose folder


@needs_compiler
def test_a_library_is_compiled_once(home, monkeypatch):
    assert load(CODE).answer() == 42
    assert home.stat().st_mode & 0o777 == 0o700
    assert len(libraries(home)) == 1 and len(os.listdir(home)) == 2
    monkeypatch.setattr(native_build, "_compile", lambda *_: pytest.fail("compiled again"))
    assert load(CODE).answer() == 42


def refused(home: Path, message: str) -> None:
    """The folder is not used; a new temporary one is."""
    with pytest.warns(UserWarning, match=message) as caught:
        found = cache.folder()
    assert len(caught) == 1
    assert found != home and home not in found.parents and found.stat().st_mode & 0o777 == 0o700
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.folder() == found
    cache._folder.cache_clear()


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_folder_that_others_can_write_is_not_used(home, mode):
    home.mkdir()
    home.chmod(mode)
    refused(home, "other users can write to .* E3HYENA_CACHE")


@posix
def test_a_folder_whose_parent_others_can_write_is_not_used(home):
    home.mkdir(mode=0o700)
    home.parent.chmod(0o777)
    refused(home, "other users can write to")
    home.parent.chmod(0o1777)  # as /tmp: nobody can rename what is not theirs
    assert cache.folder() == home
    cache._folder.cache_clear()


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)
def test_a_folder_of_another_user_is_not_used(home):
    home.mkdir(mode=0o700)
    os.chown(home, 12345, 12345)
    refused(home, "belongs to another user")


@posix
def test_a_symlink_counts_as_what_it_leads_to(home, tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.mkdir()
    target.chmod(0o777)
    home.symlink_to(target)
    refused(home, "other users can write to .*target")
    target.chmod(0o700)
    assert cache.folder() == target
    cache._folder.cache_clear()


def test_a_file_in_place_of_the_folder(home):
    home.touch()
    refused(home, "compiled code is not kept")


@posix
def test_no_home_at_all(monkeypatch):
    """HOME unset, and no entry in the table of users."""

    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("E3HYENA_CACHE", raising=False)
    monkeypatch.setattr(cache.Path, "home", home)
    cache._folder.cache_clear()
    refused(Path("/nowhere"), "Could not determine home")


# --- what is in it


@needs_compiler
@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "missing", "text", "folder"])
@pytest.mark.parametrize("what", ["library", "index"])
def test_a_damaged_file_is_made_anew(home, damage, what):
    """A damaged library would end the process with SIGBUS or SIGSEGV when it is loaded."""
    load(CODE)
    (path,) = home.glob("*.so" if what == "library" else "*.sha256")
    data = path.read_bytes()
    path.unlink()  # the process has mapped the old one
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        flipped = data[:50] + bytes([data[50] ^ 1]) + data[51:]
        path.write_bytes(
            {"truncated": data[: len(data) // 2], "empty": b"", "flipped": flipped,
             "text": "\u00e9".encode("latin-1") * 64}[damage]
        )  # fmt: skip
    if damage == "folder":  # nobody but the user can have made it: it is named, not removed
        with pytest.raises(BuildError, match="directory"):
            load(CODE)
        return
    assert load(CODE).answer() == 42
    assert path.exists()


@needs_compiler
def test_a_planted_library_is_not_loaded(home, tmp_path):
    """Under the name that the cache knows, but with another content."""
    load(CODE)
    (path,) = libraries(home)
    good = path.read_bytes()
    path.unlink()
    path.write_bytes(good.replace(b"answer", b"ANSWER"))
    assert load(CODE).answer() == 42
    assert path.read_bytes() == good


PROCESS = """
import sys, torch
from e3hyena.ops.backends.native.build import load
codes = [f"int answer(void) {{ return {n}; }}" for n in range(3)]
print([load(code).answer() for code in codes])
"""


@needs_compiler
def test_eight_threads_with_an_empty_cache(home):
    with ThreadPoolExecutor(8) as pool:
        assert [lib.answer() for lib in pool.map(load, [CODE] * 8)] == [42] * 8


@needs_compiler
@pytest.mark.slow
def test_eight_processes_with_an_empty_cache(home):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROCESS],
            env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for process in processes:
        out, err = process.communicate()
        assert (process.returncode, out) == (0, "[0, 1, 2]\n"), err
    assert len(list(home.glob("*.sha256"))) == 3
    assert all(path.suffix in (".so", ".sha256") for path in home.iterdir())


# --- compilers that misbehave


@posix
def test_a_compiler_that_hangs_is_ended_with_all_that_it_started(fake, home, tmp_path, monkeypatch):
    """Also what it left behind with its output open."""
    monkeypatch.setattr(native_build, "TIME_LIMIT", 3)
    path = fake(f"sh -c 'echo $$ > {tmp_path}/child; exec sleep 600' &\nsleep 600")
    with pytest.raises(BuildError, match=r"fake-cc took longer than 3 s"):
        run([str(path), "k.c"])
    child = Path("/proc", (tmp_path / "child").read_text().strip())
    while child.exists() and ") Z " not in (child / "stat").read_text():
        time.sleep(0.01)  # the signal takes a moment


@posix
def test_output_that_is_not_utf8(fake, home):
    path = fake("printf 'erreur: \\351\\377\\n'; exit 1")
    with pytest.raises(BuildError, match="failed: erreur: \ufffd\ufffd"):
        run([str(path)])
    assert run([str(fake("printf '\\351'"))]) == "\ufffd"


def test_a_compiler_that_is_none(tmp_path):
    with pytest.raises(BuildError, match="cannot be started"):
        run([str(tmp_path / "none")])


HANGS = "case $1 in --version) echo fake; exit 0;; esac\nsleep 600"
FAILS = "case $1 in --version) echo fake; exit 0;; esac\nprintf '\\351 no\\n'; exit 1"
WRITES_NOTHING = "echo fake; exit 0"
WRITES_TEXT = 'echo fake\nfor a; do out=$a; [ "$b" = -o ] && echo text > "$a"; b=$a; done'


@posix
@pytest.mark.parametrize("script", [HANGS, FAILS, WRITES_NOTHING, WRITES_TEXT])
def test_what_cannot_be_compiled_is_computed_by_eager(fake, home, monkeypatch, script):
    """With one warning, and never tried again."""
    fake(script)
    monkeypatch.setattr(native_build, "TIME_LIMIT", 0.5)
    monkeypatch.setattr(native, "available", lambda: True)  # it was, so far
    monkeypatch.setattr(backends, "_AUTOMATIC", [backends._OrEager(BACKENDS["native"])])
    native_build.library.cache_clear()
    paths = Paths("0e + 1o", "0e + 1o", "0e + 1o")
    x, y = torch.randn(2, 8, 4, 999)
    weight = torch.randn(paths.num_paths, 8)
    with use_backend("auto"):
        with pytest.warns(UserWarning, match="back-end native cannot be built") as caught:
            found = tensor_product(x, y, weight, paths)
        assert len(caught) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert torch.equal(tensor_product(x, y, weight, paths), found)
        assert select(x) is BACKENDS["eager"]
    with use_backend("eager"):
        assert torch.equal(tensor_product(x, y, weight, paths), found)
    with use_backend("native"), pytest.raises(BuildError):
        tensor_product(x, y, weight, paths)
    assert not list(home.glob("*.sha256")) or script == WRITES_TEXT
    native_build.library.cache_clear()


@needs_compiler
def test_a_full_disk_is_no_end(home, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(native_build, "_compile", full)
    with pytest.raises(BuildError, match="No space left"):
        load(CODE)
    assert os.listdir(home) == []


# --- one choice per thread


def test_a_thread_does_not_see_the_choice_of_another():
    x = torch.zeros(1)
    with use_backend("native"):
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(select, x).result()
            assert found is BACKENDS["eager"]  # auto, and the tensor is small
        with use_backend("eager"):
            assert select(x) is BACKENDS["eager"]
        assert select(x) is BACKENDS["native"]


def test_interleaved_threads_keep_their_choices():
    x = torch.zeros(1)

    def work(name):
        for _ in range(200):
            with use_backend(name):
                if select(x) is not backends.BACKENDS[name]:
                    return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, ["eager", "native"] * 4))


def test_the_backward_pass_takes_the_choice_that_holds_there():
    """Any mix of back-ends gives the same gradients."""
    if not native.available():
        pytest.skip("no C compiler")
    paths = Paths("0e + 1o", "0e + 1o", "0e + 1o")
    x, y = torch.randn(2, 8, 4, 99, dtype=torch.float64).requires_grad_()
    weight = torch.randn(paths.num_paths, 8, dtype=torch.float64, requires_grad=True)
    found = []
    for forward in ("eager", "native"):
        for backward in ("eager", "native"):
            with use_backend(forward):
                value = tensor_product(x, y, weight, paths).sin().sum()
            with use_backend(backward):
                found.append(torch.autograd.grad(value, weight)[0])
    assert all(torch.allclose(gradient, found[0], rtol=1e-12) for gradient in found)
