"""The C library is told once to keep freed pages, unless the user has decided."""

import ctypes

import pytest

from e3hyena.ops.backends import heap


@pytest.fixture
def calls(monkeypatch):
    """What the C library is told, by a library that takes notes."""
    told = {}

    class Library:
        def __init__(self, name):
            self.mallopt = told.__setitem__

    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    heap.keep_freed_pages.cache_clear()
    yield told
    heap.keep_freed_pages.cache_clear()


def test_both_thresholds_are_raised(calls):
    heap.keep_freed_pages()
    assert calls == {-1: heap.KEPT_BYTES, -3: 32 * 2**20}


def test_the_environment_decides(calls, monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    heap.keep_freed_pages()
    assert not calls


def test_other_c_libraries_are_left_alone(monkeypatch, calls):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    heap.keep_freed_pages()
    assert not calls
