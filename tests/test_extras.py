import sys

import pytest

from e3hyena._extras import require


def test_returns_the_submodule_named():
    import importlib.util

    assert require("importlib.util", "dev") is importlib.util


def test_missing_package_names_the_extra():
    with pytest.raises(ImportError, match=r"no_such_package.*pip install 'e3hyena\[chem\]'"):
        require("no_such_package.io", "chem")


def test_error_inside_an_installed_package_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import its_missing_dependency\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="its_missing_dependency") as caught:
        require("broken_package", "chem")
    assert "e3hyena" not in str(caught.value)
    assert "broken_package" not in sys.modules
