"""The C of the native back-end: files that are shipped, and source that can be printed."""

from importlib.resources import files

import pytest

from e3hyena.ops.backends import native
from e3hyena.ops.backends.native.__main__ import main
from e3hyena.ops.backends.native.build import load
from e3hyena.ops.backends.native.c_files import c_file

FILES = sorted(f.name for f in files(native).iterdir() if f.name.endswith(".c"))


@pytest.mark.parametrize("name", FILES)
def test_every_file_begins_with_what_it_is_and_wants(name):
    head, _, _ = c_file(name).partition("*/")
    assert head.lstrip().startswith("/*")
    assert "Before this text stand" in head


def test_definitions_stand_before_the_text():
    assert c_file("rows.c", BLOCK=3, SCALAR="float").startswith(
        "#define BLOCK 3\n#define SCALAR float\n"
    )


@pytest.mark.skipif(not native.available(), reason="no C compiler")
@pytest.mark.parametrize("scalar", [[], ["double"]])
def test_the_printed_source_compiles(capsys, scalar):
    main(["0e + 1o", "0e + 1o", "0e + 1o", *scalar])
    source = capsys.readouterr().out
    assert f"typedef {(scalar or ['float'])[0]} T;" in source
    assert load(source).convolve2


@pytest.mark.parametrize("arguments", [[], ["0e"], ["0e", "0e", "0e", "half"]])
def test_wrong_arguments_say_how(arguments):
    with pytest.raises(SystemExit, match="usage"):
        main(arguments)


def test_irreps_that_do_not_parse():
    with pytest.raises(SystemExit, match="irreps2='x'"):
        main(["0e", "x", "0e"])
