"""The C that depends on no paths: ``.c`` files beside this one.

The comment that each begins with says what has to be defined before it.
"""

from pathlib import Path


def c_file(name: str, **definitions: str | float) -> str:
    """Text of a file, after definitions of what it leaves open."""
    lines = [f"#define {key} {value}" for key, value in definitions.items()]
    return "\n".join([*lines, Path(__file__).with_name(name).read_text()])
