"""C source of the long convolution: every step of one channel while it is in cache.

For one channel and a few graphs at a time: lay the tokens into rows of P points, transform all rows
in place, contract the spectra, transform back, read the tokens out. The transforms are those of the
library that torch itself is built on; plan and functions come in as pointers. The only temporary is
one work space per thread, whatever the number of channels and graphs.
"""

from e3hyena.ops.backends.native.c_files import c_file
from e3hyena.ops.backends.native.direct_source import direct
from e3hyena.ops.paths import Paths

_CONVOLVE = """
int convolve{slot}(const T *x, const T *y, const T *w, T *out, long channels, long x_channel,
    long x_row, long y_channel, long y_row, long out_channel, long out_row, const Batch *b,
    void *plan, void *back_plan, Transform forward, Transform backward, T *work, long work_size,
    int threads) {{
  int failed = 0;
  long chunks = (b->graphs + b->group - 1) / b->group, component = b->group * b->stride;
  #pragma omp parallel for collapse(2) schedule(static) num_threads(threads) reduction(|:failed)
  for (long c = 0; c < channels; c++)
  for (long chunk = 0; chunk < chunks; chunk++) {{
    T *xs = work + omp_get_thread_num() * work_size;
    T *ys = xs + {d_x} * component, *os = ys + {d_y} * component;
    long first = chunk * b->group;
    T g[TERMS{slot}];
    scale{slot}(w, channels, c, g);
    embed(x + c * x_channel, x_row, {d_x}, b, first, PLAIN, xs);
    embed(y + c * y_channel, y_row, {d_y}, b, first, {y_place}, ys);
    failed |= forward(plan, xs) != 0;
    span{slot}(g, xs, component, ys, component, os, component, component / 2, 0,
        (component / 2 + L - 1) / L);
    failed |= backward(back_plan, os) != 0;
    extract(out + c * out_channel, out_row, {d_out}, b, first, {out_place}, os);
  }}
  return failed;
}}
"""

_WEIGHT = """
/* Parts of the gradient by the weights, [chunk][path][channel]; times 2/P they add up to it. */
int convolve_weight(const T *x, const T *y, const T *z, double *out, long channels, long x_channel,
    long x_row, long y_channel, long y_row, long z_channel, long z_row, const Batch *b,
    void *plan, Transform forward, T *work, long work_size, int threads) {{
  int failed = 0;
  long chunks = (b->graphs + b->group - 1) / b->group, component = b->group * b->stride;
  #pragma omp parallel for collapse(2) schedule(static) num_threads(threads) reduction(|:failed)
  for (long c = 0; c < channels; c++)
  for (long chunk = 0; chunk < chunks; chunk++) {{
    T *xs = work + omp_get_thread_num() * work_size;
    T *ys = xs + {d0} * component, *zs = ys + {d1} * component;
    long first = chunk * b->group;
    embed(x + c * x_channel, x_row, {d0}, b, first, PLAIN, xs);
    embed(y + c * y_channel, y_row, {d1}, b, first, PLAIN, ys);
    embed(z + c * z_channel, z_row, {d2}, b, first, b->place, zs);
    failed |= forward(plan, xs) != 0;
    for (long r = 0; r < {d2} * b->group; r++) {{  /* frequencies that stand for one, not two */
      T *row = zs + r * b->stride;
      row[0] *= (T)0.5, row[1] *= (T)0.5;
      if (b->points % 2 == 0) row[b->stride - 2] *= (T)0.5, row[b->stride - 1] *= (T)0.5;
    }}
    double total[PATHS] = {{0}};
    weight_span(xs, component, ys, component, zs, component, component / 2, total);
    for (int p = 0; p < PATHS; p++) out[(chunk * PATHS + p) * channels + c] = total[p];
  }}
  return failed;
}}
"""


def convolutions(paths: Paths) -> str:
    """C functions ``convolve`` and ``direct`` of three slots, and ``convolve_weight``."""
    dims = paths.dims
    parts = [c_file("embedding.c")]
    for slot in range(3):
        first, second = (i for i in range(3) if i != slot)
        parts.append(
            _CONVOLVE.format(
                slot=slot,
                d_x=dims[first],
                d_y=dims[second],
                d_out=dims[slot],
                y_place="b->place" if second == 2 else "PLAIN",
                out_place="b->place" if slot == 2 else "PLAIN",
            )
        )
        parts.append(direct(paths, slot))
    parts.append(_WEIGHT.format(d0=dims[0], d1=dims[1], d2=dims[2]))
    return "".join(parts)
