/* Invariants of tokens, their gradient and its derivative: one pass over the features each.

   Before this text stand definitions: SCALAR, float or double; SQRT, its square root; BLOCK, the
   number of tokens of which three neighbouring channels stay in cache. Strides count numbers. */

#include <math.h>
#include <string.h>
typedef SCALAR T;
#define TOKENS _Pragma("omp simd") for (long t = 0; t < size; t++)
#define BLOCKS \
  _Pragma("omp parallel for collapse(2) schedule(static) num_threads(threads)") \
  for (long start = 0; start < n; start += BLOCK) \
  for (long c = 0; c < channels; c++) { \
    long size = start + BLOCK < n ? start + BLOCK : n; \
    size -= start;
#define X(c) (x_all + (c) * channel + first * row + start)

/* mean of x times y over the components of an irrep */
static void mean(const T *x, const T *y, long width, long row, long size, T *out) {
  TOKENS out[t] = x[t] * y[t];
  for (long i = 1; i < width; i++) TOKENS out[t] += x[i * row + t] * y[i * row + t];
  TOKENS out[t] /= width;
}

/* widths: components of every copy, 0 for an even scalar; copies, then angles of the others */
void scalars(const T *x_all, long channel, long row, const long *widths, long copies, long angles,
    T *out_all, long channels, long n, long threads) {
  BLOCKS
    T *out = out_all + c * (copies + angles) * n + start, *angle = out + copies * n;
    for (long k = 0, first = 0; k < copies; first += widths[k] + !widths[k], k++, out += n) {
      const T *x = X(c), *y = X((c + 1) % channels);
      long width = widths[k];
      T p[BLOCK], s[BLOCK], after[BLOCK];
      if (!width) { memcpy(out, x, size * sizeof(T)); continue; }
      mean(x, x, width, row, size, s);
      TOKENS out[t] = s[t] / SQRT(1 + s[t]);
      if (!angles) continue;
      mean(y, y, width, row, size, after);
      mean(x, y, width, row, size, p);
      TOKENS angle[t] = p[t] / SQRT(1 + s[t] + after[t]);
      angle += n;
    }
  }
}

void scalars_back(const T *by_all, const T *x_all, long channel, long row, const long *widths,
    long copies, long angles, T *out_all, long channels, long n, long threads) {
  long dim = 0;
  for (long k = 0; k < copies; k++) dim += widths[k] + !widths[k];
  BLOCKS
    long b = (c + channels - 1) % channels, a = (c + 1) % channels, outputs = copies + angles;
    T *out = out_all + c * dim * n + start;
    const T *by = by_all + c * outputs * n + start, *by_angle = by + copies * n;
    const T *by_before = by_all + (b * outputs + copies) * n + start;
    for (long k = 0, first = 0; k < copies; first += widths[k] + !widths[k], k++, by += n) {
      const T *x = X(c), *before = X(b), *after = X(a);
      long width = widths[k];
      T s[BLOCK], s_before[BLOCK], s_after[BLOCK], p[BLOCK], p_before[BLOCK];
      if (!width) { memcpy(out, by, size * sizeof(T)); out += n; continue; }
      mean(x, x, width, row, size, s);
      if (!angles) {
        TOKENS s[t] = by[t] * (2 + s[t]) / ((1 + s[t]) * SQRT(1 + s[t])) / width;
        for (long i = 0; i < width; i++, out += n) TOKENS out[t] = s[t] * x[i * row + t];
        continue;
      }
      mean(before, before, width, row, size, s_before);
      mean(after, after, width, row, size, s_after);
      mean(before, x, width, row, size, p_before);
      mean(x, after, width, row, size, p);
      TOKENS {
        T r = 1 / (1 + s[t]), u = 1 / (1 + s[t] + s_after[t]), v = 1 / (1 + s[t] + s_before[t]);
        T by_p = by_angle[t] * SQRT(u), by_p_before = by_before[t] * SQRT(v);
        s[t] = (by[t] * (2 + s[t]) * r * SQRT(r) - by_p * p[t] * u - by_p_before * p_before[t] * v)
            / width;
        p[t] = by_p / width;
        p_before[t] = by_p_before / width;
      }
      for (long i = 0; i < width; i++, out += n)
        TOKENS out[t] = s[t] * x[i * row + t] + p[t] * after[i * row + t]
            + p_before[t] * before[i * row + t];
      by_angle += n;
      by_before += n;
    }
  }
}

/* twice the mean of x times its change dx, or the change of the mean of x times y */
static void mean_change(const T *x, const T *dx, long row, long d_row, const T *y, const T *dy,
    long width, long size, T *out) {
  TOKENS out[t] = 0;
  for (long i = 0; i < width; i++)
    TOKENS out[t] += x[i * row + t] * dy[i * d_row + t] + dx[i * d_row + t] * y[i * row + t];
  TOKENS out[t] /= width;
}

/* changes of scalars, and of their gradient, where x changes by dx */
void scalars_tangent(const T *by_all, const T *x_all, long channel, long row, const T *dx_all,
    long d_channel, long d_row, const long *widths, long copies, long angles, T *change_all,
    T *out_all, long channels, long n, long threads) {
  long dim = 0;
  for (long k = 0; k < copies; k++) dim += widths[k] + !widths[k];
#define DX(c) (dx_all + (c) * d_channel + first * d_row + start)
  BLOCKS
    long b = (c + channels - 1) % channels, a = (c + 1) % channels, outputs = copies + angles;
    T *out = out_all + c * dim * n + start;
    T *change = change_all + c * outputs * n + start, *angle_change = change + copies * n;
    const T *by = by_all + c * outputs * n + start, *by_angle = by + copies * n;
    const T *by_before = by_all + (b * outputs + copies) * n + start;
    for (long k = 0, first = 0; k < copies;
        first += widths[k] + !widths[k], k++, by += n, change += n) {
      const T *x = X(c), *before = X(b), *after = X(a);
      const T *dx = DX(c), *d_before = DX(b), *d_after = DX(a);
      long width = widths[k];
      T s[BLOCK], s_before[BLOCK], s_after[BLOCK], p[BLOCK], p_before[BLOCK];
      T ds[BLOCK], ds_before[BLOCK], ds_after[BLOCK], dp[BLOCK], dp_before[BLOCK];
      if (!width) {
        memcpy(change, dx, size * sizeof(T));
        TOKENS out[t] = 0;
        out += n;
        continue;
      }
      mean(x, x, width, row, size, s);
      mean_change(x, dx, row, d_row, x, dx, width, size, ds);
      TOKENS {
        T r = 1 / (1 + s[t]), root = r * SQRT(r);
        change[t] = ds[t] * (1 + s[t] / 2) * root;
        ds_before[t] = by[t] * ds[t] * root * (1 - (T)1.5 * (2 + s[t]) * r) / width;
        s_before[t] = by[t] * (2 + s[t]) * root / width;
      }
      if (!angles) {
        for (long i = 0; i < width; i++, out += n)
          TOKENS out[t] = ds_before[t] * x[i * row + t] + s_before[t] * dx[i * d_row + t];
        continue;
      }
      T own[BLOCK], d_own[BLOCK];
      memcpy(own, s_before, sizeof own);
      memcpy(d_own, ds_before, sizeof d_own);
      mean(before, before, width, row, size, s_before);
      mean(after, after, width, row, size, s_after);
      mean(before, x, width, row, size, p_before);
      mean(x, after, width, row, size, p);
      mean_change(before, d_before, row, d_row, before, d_before, width, size, ds_before);
      mean_change(after, d_after, row, d_row, after, d_after, width, size, ds_after);
      mean_change(before, d_before, row, d_row, x, dx, width, size, dp_before);
      mean_change(x, dx, row, d_row, after, d_after, width, size, dp);
      TOKENS {
        T u = 1 / (1 + s[t] + s_after[t]), v = 1 / (1 + s[t] + s_before[t]);
        T sum = ds[t] + ds_after[t], sum_before = ds[t] + ds_before[t];
        T by_p = by_angle[t] * SQRT(u) / width, by_p_before = by_before[t] * SQRT(v) / width;
        angle_change[t] = SQRT(u) * (dp[t] - p[t] * u * sum / 2);
        own[t] -= by_p * p[t] * u + by_p_before * p_before[t] * v;
        d_own[t] -= by_p * u * (dp[t] - (T)1.5 * p[t] * u * sum)
            + by_p_before * v * (dp_before[t] - (T)1.5 * p_before[t] * v * sum_before);
        p[t] = by_p;
        dp[t] = -by_p * u * sum / 2;
        p_before[t] = by_p_before;
        dp_before[t] = -by_p_before * v * sum_before / 2;
      }
      for (long i = 0; i < width; i++, out += n)
        TOKENS out[t] = d_own[t] * x[i * row + t] + own[t] * dx[i * d_row + t]
            + dp[t] * after[i * row + t] + p[t] * d_after[i * d_row + t]
            + dp_before[t] * before[i * row + t] + p_before[t] * d_before[i * d_row + t];
      by_angle += n;
      by_before += n;
      angle_change += n;
    }
  }
}
