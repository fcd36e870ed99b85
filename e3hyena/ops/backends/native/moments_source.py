"""C of the sums over features of tokens, for one shape of heads."""

from e3hyena.ops.backends.native.c_files import c_file

CHUNK = 4096  # tokens whose sums one task makes


def moments_source(modes: int, rows: int, degree: int, double: bool, width: int) -> str:
    """C functions ``moments``, ``read``, their gradients, and ``work_size`` in numbers."""
    return c_file(
        "moments.c",
        SCALAR="double" if double else "float",
        INTEGER="long long" if double else "int",
        DOUBLE=int(double),
        BYTES=width,
        CHUNK=CHUNK,
        MODES=modes,
        ROWS=rows,
        POWERS=rows * degree,
        MODE_SCALE=modes**-0.5,
        POWER_SCALE=rows**-0.5,
    )
