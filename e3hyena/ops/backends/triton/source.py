"""Python source of the Triton kernels, generated from the paths.

One program handles one channel and one block of frequencies in straight-line code: every component
is loaded once, every non-zero coupling coefficient is one multiply-add (two for complex numbers),
every result is stored once. Sums start in the order of the paths, so two runs agree bit by bit.
"""

from collections import defaultdict

from e3hyena.ops.backends.triton.kernels import HEADER, text
from e3hyena.ops.paths import Paths

_NAMES = "xyz"


def source(paths: Paths, complex_: bool) -> str:
    """Kernels ``contract0``, ``contract1``, ``contract2`` and ``weight`` for some paths."""
    kernels = [_contract(paths, slot, complex_) for slot in range(3)]
    return "\n\n".join([HEADER, *kernels, _weight(paths, complex_)])


def _head(name: str, names: str, last: str) -> list[str]:
    strides = ", ".join(f"{n}_channel, {n}_row" for n in names)
    pointers = ", ".join(f"{n}_all" for n in names)
    return [
        "@triton.jit",
        f"def {name}({pointers}, {last}, channels, length, {strides}, BLOCK: tl.constexpr):",
        "m = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)",
        "c = tl.program_id(1).to(tl.int64)",
        "inside = m < length",
        f"T = {last}.dtype.element_ty",  # constants in the precision of the operands
        *(f"{n} = {n}_all + c * {n}_channel" for n in names),
    ]


def _load(name: str, dim: int, complex_: bool) -> list[str]:
    lines = []
    for i in range(dim):
        place = f"{name} + {i} * {name}_row"
        if complex_:
            lines.append(f"{name}{i}_0 = tl.load({place} + 2 * m, mask=inside, other=0.0)")
            lines.append(f"{name}{i}_1 = tl.load({place} + 2 * m + 1, mask=inside, other=0.0)")
        else:
            lines.append(f"{name}{i} = tl.load({place} + m, mask=inside, other=0.0)")
    return lines


def _product(x: str, y: str, complex_: bool, conjugate: bool) -> list[str]:
    """Real and imaginary part of ``x y``, or of ``conj(x) y``."""
    if not complex_:
        return [f"{x} * {y}"]
    if conjugate:
        return [f"{x}_0 * {y}_0 + {x}_1 * {y}_1", f"{x}_0 * {y}_1 - {x}_1 * {y}_0"]
    return [f"{x}_0 * {y}_0 - {x}_1 * {y}_1", f"{x}_0 * {y}_1 + {x}_1 * {y}_0"]


def _contract(paths: Paths, slot: int, complex_: bool) -> str:
    first, second = (i for i in range(3) if i != slot)
    lines = _head(f"contract{slot}", "xyz", "w")
    lines += _load("x", paths.dims[first], complex_) + _load("y", paths.dims[second], complex_)
    parts = ("_0", "_1") if complex_ else ("",)
    terms: dict[tuple[int, int], list[tuple[int, int, float]]] = defaultdict(list)
    for p, *abc, value in paths.nonzeros():
        terms[abc[first], abc[second]].append((p, abc[slot], value))
    lines += [f"w{p} = tl.load(w + {p} * channels + c)" for p in range(paths.num_paths)]
    started: set[str] = set()
    for (a, b), group in sorted(terms.items()):
        product = _product(f"x{a}", f"y{b}", complex_, conjugate=slot != 2)
        lines += [f"t{part} = {code}" for part, code in zip(parts, product, strict=True)]
        for p, out, value in group:
            for part in parts:
                name = f"o{out}{part}"
                before = f"{name} + " if name in started else ""
                lines.append(f"{name} = {before}(tl.full((), {value!r}, T) * w{p}) * t{part}")
                started.add(name)
    for out in range(paths.dims[slot]):
        for i, part in enumerate(parts):
            name = f"o{out}{part}"
            result = name if name in started else f"tl.zeros_like(x0{parts[0]})"
            place = f"z + {out} * z_row + " + (f"2 * m + {i}" if complex_ else "m")
            lines.append(f"tl.store({place}, {result}, mask=inside)")
    return text(lines)


def _weight(paths: Paths, complex_: bool) -> str:
    lines = _head("weight", "xyz", "out")
    for name, dim in zip(_NAMES, paths.dims, strict=True):
        lines += _load(name, dim, complex_)
    by_path: dict[int, list[tuple[int, int, int, float]]] = defaultdict(list)
    for p, a, b, d, value in paths.nonzeros():
        by_path[p].append((a, b, d, value))
    lines.append("programs = tl.num_programs(0)")
    for p, entries in by_path.items():
        for i, (a, b, d, value) in enumerate(entries):
            product = _product(f"x{a}", f"y{b}", complex_, conjugate=False)
            parts = ("_0", "_1") if complex_ else ("",)
            term = " + ".join(
                f"({code}) * z{d}{part}" for part, code in zip(parts, product, strict=True)
            )
            before = "s + " if i else ""
            lines.append(f"s = {before}tl.full((), {value!r}, T) * ({term})")
        place = f"out + ({p} * channels + c) * programs + tl.program_id(0)"
        lines.append(f"tl.store({place}, tl.sum(s, axis=0))")
    return text(lines)
