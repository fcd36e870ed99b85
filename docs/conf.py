"""The documentation site: `make docs`."""

import shutil
from pathlib import Path

import e3hyena
from e3hyena.cli import COMMANDS
from e3hyena.cli.command import build_parser

HERE = Path(__file__).parent
ROOT = HERE.parent

# The notebooks live beside docs/; Sphinx reads copies, with the outputs that are stored in them.
shutil.rmtree(HERE / "notebooks", ignore_errors=True)
(HERE / "notebooks").mkdir()
for notebook in (ROOT / "notebooks").glob("*.ipynb"):
    text = notebook.read_text(encoding="utf-8").replace("](../docs/", "](../")
    (HERE / "notebooks" / notebook.name).write_text(text, encoding="utf-8")
shutil.copy(ROOT / "CHANGELOG.md", HERE / "changelog.md")

# The reference of the command line is what every command says of itself.
lines = ["# Command line", ""]
for path, (command, parser) in build_parser(["--print_completion"], COMMANDS, "e3hyena", "")[
    1
].items():
    lines += [f"## e3hyena {' '.join(path)}", "", command.help, ""]
    for group in parser._action_groups:
        said = [one for one in group._group_actions if one.help and not isinstance(one.help, bool)]
        said = [one for one in said if one.dest not in ("help", "print_config")]
        if group.title not in ("options", "positional arguments") and len(said) > 1:
            lines += [f"**{group.title}**", ""]
        for action in said:
            names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.dest}`"
            unset = action.default in (None, False, "==SUPPRESS==")
            known = "" if unset else f" = `{action.default}`"
            lines += [f"{names}{known}", f": {' '.join(action.help.split())}", ""]
(HERE / "command-line.md").write_text("\n".join(lines), encoding="utf-8")

project = "e3hyena"
author = "The e3hyena developers"
copyright = "2026, the e3hyena developers, MIT licence"
version = release = e3hyena.__version__
extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
extensions += ["sphinx.ext.mathjax", "sphinx-mathjax-offline"]  # no other server is asked
exclude_patterns = [
    "_build",
    "benchmarks",
    "examples",
    "figures",
    "results",
    "notebooks/.ipynb_checkpoints",
]

html_theme = "furo"
html_title = f"e3hyena {version}"
html_show_sourcelink = False

nb_execution_mode = "off"  # the slow tests run them
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository, such as ../LICENSE

autodoc_typehints = "none"  # the docstrings tell types
autodoc_member_order = "bysource"
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
