"""Prints the C that is generated for some paths: ``python -m e3hyena.ops.backends.native``."""

import sys

from e3hyena.ops.backends.native.build import vector_bytes
from e3hyena.ops.backends.native.contraction_source import source
from e3hyena.ops.paths import Paths

USAGE = """python -m e3hyena.ops.backends.native IRREPS1 IRREPS2 IRREPS_OUT [float|double]
for example: python -m e3hyena.ops.backends.native "0e + 1o" "0e + 1o" "0e + 1o" """


def main(arguments: list[str]) -> None:
    """Print the source for per-channel irreps, of complex numbers, long convolution included."""
    *irreps, scalar = arguments if len(arguments) == 4 else [*arguments, "float"]
    if len(irreps) != 3 or scalar not in ("float", "double"):
        sys.exit(f"usage: {USAGE}")
    try:
        paths = Paths(*irreps)
    except ValueError as error:
        sys.exit(str(error))
    print(source(paths, scalar == "double", True, vector_bytes()))


if __name__ == "__main__":
    main(sys.argv[1:])
