r"""C source of the long convolution without transforms, for graphs of few tokens.

With :math:`M_{ro,t} = \sum_p G_{pro}\, x_{p,t}` an output is

.. math:: y_{o,i} = \sum_{t,r} M_{ro,t}\, e_{r,i-t}

(``i+t`` for the gradients by q and k), ``e`` the second operand between zeros, or thrice in a row
where it is circular. Lanes of a vector are neighbouring outputs.
"""

import functools
from collections import defaultdict

from e3hyena.ops.paths import Paths, paths_from_key

_DIRECT = """
void direct{slot}(const T *x_all, const T *y_all, const T *w, T *out_all, long channels,
    long x_channel, long x_row, long y_channel, long y_row, long out_channel, long out_row,
    const Batch *b, T *work, long work_size, int threads) {{
  long parts = (b->graphs + 63) / 64;
  #pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (long c = 0; c < channels; c++)
  for (long part = 0; part < parts; part++) {{
    T g[TERMS{slot}];
    scale{slot}(w, channels, c, g);
    for (long graph = part * 64; graph < b->graphs && graph < part * 64 + 64; graph++) {{
      long n = b->sizes[graph], start = b->starts[graph], width = (n + L - 1) / L * L;
      long extent = 3 * n + 2 * L, shift = b->place == SHIFT ? (n - 1) / 2 : 0;
      T *xs = work + omp_get_thread_num() * work_size, *m = xs + {d_x} * width;
      T *e = m + {pairs} * width;
      for (long a = 0; a < {d_x}; a++) {{
        memcpy(xs + a * width, x_all + c * x_channel + a * x_row + start, n * sizeof(T));
        memset(xs + a * width + n, 0, (width - n) * sizeof(T));
      }}
      memset(e, 0, {d_y} * extent * sizeof(T));
      for (long a = 0; a < {d_y}; a++)
      for (int copy = b->place == WRAP ? 0 : 1; copy < (b->place == WRAP ? 3 : 2); copy++)
        memcpy(e + a * extent + copy * n, y_all + c * y_channel + a * y_row + start,
            n * sizeof(T));
      for (long v = 0; v < width; v += L) {{
        {matrix}
      }}
      for (long v = 0; v < width; v += L) {{
        V {outputs};
        for (long t = 0; t < n; t++) {{
          const T *at = e + n + v {sign};
          {sums}
        }}
        T *out = out_all + c * out_channel + start + v;
        long rest = n - v;
        int full = rest >= L;
        {stores}
      }}
    }}
  }}
}}
"""


def direct(paths: Paths, slot: int) -> str:
    """C function ``direct0``, ``direct1`` or ``direct2``."""
    first, second = (i for i in range(3) if i != slot)
    terms: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for n, (_, *abc, _) in enumerate(paths.nonzeros()):
        terms[abc[second], abc[slot]].append((n, abc[first]))
    matrix = [f"V x{a} = *(const V *)(xs + {a} * width + v);" for a in range(paths.dims[first])]
    sums, row = [], -1
    for pair, ((r, o), group) in enumerate(sorted(terms.items())):
        total = " + ".join(f"g[{n}] * x{a}" for n, a in group)
        matrix.append(f"*(V *)(m + {pair} * width + v) = {total};")
        if r != row:
            sums.append(f"V y{r} = *(const V *)(at + {r} * extent);")
            row = r
        sums.append(f"o{o} += m[{pair} * width + t] * y{r};")
    outs = range(paths.dims[slot])
    return _DIRECT.format(
        slot=slot,
        d_x=paths.dims[first],
        d_y=paths.dims[second],
        pairs=len(terms),
        sign="- t + shift" if slot == 2 else "+ t - shift",
        matrix="\n        ".join(matrix),
        outputs=", ".join(f"o{o} = (V){{0}}" for o in outs),
        sums="\n          ".join(sums),
        stores=" ".join(f"STORE1(out + {o} * out_row, o{o})" for o in outs),
    )


@functools.lru_cache(maxsize=256)
def num_pairs(key: str, slot: int) -> int:
    """Pairs of components of the second operand and the result that a coefficient joins."""
    second = max(i for i in range(3) if i != slot)
    return len({(abc[second], abc[slot]) for _, *abc, _ in paths_from_key(key).nonzeros()})
