"""C source of the contraction and of what is built on it, generated from the paths.

One vector of time steps or frequencies is handled at once in straight-line code: components are
loaded (complex ones split into real and imaginary vectors), every non-zero coupling coefficient is
one or two multiply-adds, and the result is stored. A channel's products of weight and coefficient
are computed once. Tails go through a zero-padded buffer.

``span`` functions handle one stretch of one channel; ``contract`` and ``weight`` share channels and
blocks among threads.
"""

from collections import defaultdict

from e3hyena.ops.backends.native.c_files import c_file
from e3hyena.ops.backends.native.convolution_source import convolutions
from e3hyena.ops.paths import Paths

_HEADER = """
#include <omp.h>
#include <string.h>
typedef {scalar} T;
typedef T V __attribute__((vector_size({bytes}), aligned({align})));
typedef {integer} I __attribute__((vector_size({bytes})));
enum {{ L = {bytes} / sizeof(T) }};
static const I EVEN = {{ {even} }};
static const I ODD = {{ {odd} }};
static const I LOW = {{ {low} }};
static const I HIGH = {{ {high} }};
"""


def source(paths: Paths, double: bool, complex_: bool, width: int) -> str:
    """C functions ``contract0`` to ``2`` and ``weight``; for spectra ``convolve`` and kin too."""
    lanes = width // (8 if double else 4)
    header = _HEADER.format(
        scalar="double" if double else "float",
        integer="long long" if double else "int",
        bytes=width,
        align=8 if double else 4,
        even=", ".join(str(2 * i) for i in range(lanes)),
        odd=", ".join(str(2 * i + 1) for i in range(lanes)),
        low=", ".join(str(i // 2 + lanes * (i % 2)) for i in range(lanes)),
        high=", ".join(str((lanes + i) // 2 + lanes * (i % 2)) for i in range(lanes)),
    )
    functions = [_contract(paths, slot, complex_) for slot in range(3)]
    parts = [header, c_file("vectors.c"), *functions, _weight(paths, complex_)]
    return "\n".join([*parts, convolutions(paths)] if complex_ else parts)


def _load(name: str, pointer: str, dim: int, complex_: bool) -> list[str]:
    lines = []
    for i in range(dim):
        if complex_:
            place = f"{pointer} + {i} * {pointer}_row + 2 * m"
            lines += [
                f"V {name}{i}_0, {name}{i}_1;",
                f"LOAD2({name}{i}_0, {name}{i}_1, {place})",
            ]
        else:
            lines += [f"V {name}{i};", f"LOAD1({name}{i}, {pointer} + {i} * {pointer}_row + m)"]
    return lines


def _contract(paths: Paths, slot: int, complex_: bool) -> str:
    first, second = (i for i in range(3) if i != slot)
    terms: dict[tuple[int, int], list[tuple[int, int, str]]] = defaultdict(list)
    scales = []
    for n, (p, *abc, value) in enumerate(paths.nonzeros()):
        scales.append(f"g[{n}] = (T){value!r} * w[{p} * channels + c];")
        terms[abc[first], abc[second]].append((n, abc[slot], f"g[{n}]"))
    body, started = [], set()
    for (a, b), group in sorted(terms.items()):
        x, y = f"x{a}", f"y{b}"
        if complex_ and slot == 2:
            product = [f"{x}_0 * {y}_0 - {x}_1 * {y}_1", f"{x}_0 * {y}_1 + {x}_1 * {y}_0"]
        elif complex_:
            product = [f"{x}_0 * {y}_0 + {x}_1 * {y}_1", f"{x}_0 * {y}_1 - {x}_1 * {y}_0"]
        else:
            product = [f"{x} * {y}"]
        body.append("{ " + " ".join(f"V t{i} = {code};" for i, code in enumerate(product)))
        for _, out, g in group:
            for i in range(len(product)):
                name = f"o{out}_{i}" if complex_ else f"o{out}"
                sign = "+=" if name in started else "="
                started.add(name)
                body.append(f"{name} {sign} {g} * t{i};")
        body.append("}")
    parts = ("_0", "_1") if complex_ else ("",)
    names = [f"o{o}{part}" for o in range(paths.dims[slot]) for part in parts]
    zeros = "".join(f"{name} = (V){{0}};" for name in names if name not in started)
    stores = []
    for o in range(paths.dims[slot]):
        if complex_:
            stores.append(f"STORE2(out + {o} * out_row + 2 * m, o{o}_0, o{o}_1)")
        else:
            stores.append(f"STORE1(out + {o} * out_row + m, o{o})")
    lines = "\n      ".join(
        [
            *_load("x", "x", paths.dims[first], complex_),
            *_load("y", "y", paths.dims[second], complex_),
            f"V {', '.join(names)}; {zeros}",
            *body,
            *stores,
        ]
    )
    return f"""
enum {{ TERMS{slot} = {max(len(scales), 1)} }};
static void scale{slot}(const T *w, long channels, long c, T *g) {{ {" ".join(scales)} }}
static void span{slot}(const T *g, const T *x, long x_row, const T *y, long y_row, T *out,
    long out_row, long length, long first, long last) {{
  for (long v = first; v < last; v++) {{
    long m = v * L, rest = length - m;
    int full = rest >= L;
      {lines}
  }}
}}
void contract{slot}(const T *x_all, const T *y_all, const T *w, T *out_all, long channels,
    long length, long blocks, long x_channel, long x_row, long y_channel, long y_row,
    long out_channel, long out_row, int threads) {{
  #pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (long c = 0; c < channels; c++)
  for (long block = 0; block < blocks; block++) {{
    T g[TERMS{slot}];
    scale{slot}(w, channels, c, g);
    long vectors = (length + L - 1) / L;
    span{slot}(g, x_all + c * x_channel, x_row, y_all + c * y_channel, y_row,
        out_all + c * out_channel, out_row, length,
        vectors * block / blocks, vectors * (block + 1) / blocks);
  }}
}}
"""


def _weight(paths: Paths, complex_: bool) -> str:
    by_path: dict[int, dict[int, list[tuple[int, int, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for p, a, b, d, value in paths.nonzeros():
        by_path[p][d].append((a, b, value))
    body = []
    for p, outputs in by_path.items():
        body.append("{ V s = (V){0};")
        for d, entries in outputs.items():
            if complex_:
                real = " + ".join(
                    f"(T){v!r} * (x{a}_0 * y{b}_0 - x{a}_1 * y{b}_1)" for a, b, v in entries
                )
                imaginary = " + ".join(
                    f"(T){v!r} * (x{a}_0 * y{b}_1 + x{a}_1 * y{b}_0)" for a, b, v in entries
                )
                body.append(f"s += ({real}) * z{d}_0 + ({imaginary}) * z{d}_1;")
            else:
                total = " + ".join(f"(T){v!r} * (x{a} * y{b})" for a, b, v in entries)
                body.append(f"s += ({total}) * z{d};")
        body.append(f"acc[{p}] += s; }}")
    d1, d2, d3 = paths.dims
    lines = "\n      ".join(
        [
            *_load("x", "x", d1, complex_),
            *_load("y", "y", d2, complex_),
            *_load("z", "z", d3, complex_),
            *body,
        ]
    )
    return f"""
enum {{ PATHS = {max(paths.num_paths, 1)} }};
static void weight_span(const T *x, long x_row, const T *y, long y_row, const T *z, long z_row,
    long length, double *total) {{
  long vectors = (length + L - 1) / L;
  for (long start = 0; start < vectors; start += 64) {{
    V acc[PATHS];
    memset(acc, 0, sizeof acc);
    long stop = start + 64 < vectors ? start + 64 : vectors;
    for (long v = start; v < stop; v++) {{
      long m = v * L, rest = length - m;
      int full = rest >= L;
      {lines}
    }}
    for (int p = 0; p < PATHS; p++)
      for (int i = 0; i < L; i++) total[p] += acc[p][i];
  }}
}}
void weight(const T *x, const T *y, const T *z, T *out, long channels, long length,
    long x_channel, long x_row, long y_channel, long y_row, long z_channel, long z_row,
    int threads) {{
  #pragma omp parallel for schedule(static) num_threads(threads)
  for (long c = 0; c < channels; c++) {{
    double total[PATHS] = {{0}};
    weight_span(x + c * x_channel, x_row, y + c * y_channel, y_row, z + c * z_channel, z_row,
        length, total);
    for (int p = 0; p < PATHS; p++) out[p * channels + c] = (T)total[p];
  }}
}}
"""
