"""C source of the sums over features of tokens, and of their gradients.

A block of tokens of one head is laid out as rows: values, then features (see
:mod:`e3hyena.ops.moments`), a vector of tokens at a time, few enough that all stay in cache. Then
there are two matrix products: ``gram``, the products of all pairs of rows summed over tokens, and
``apply``, a matrix times the rows. Both hold a tile of vectors in registers.

A task is one head of one graph and ``CHUNK`` of its tokens; what it sums is written to a place of
its own, so that neither threads nor their number change a result.
"""

from __future__ import annotations

CHUNK = 4096  # tokens whose sums one task makes

_HEADER = """
#include <math.h>
#include <omp.h>
#include <string.h>
typedef {scalar} T;
typedef T V __attribute__((vector_size({bytes}), aligned({align})));
typedef {integer} I __attribute__((vector_size({bytes})));
enum {{ L = {bytes} / sizeof(T), B = 8, W = B * L, CHUNK = {chunk} }};
enum {{ M = {modes}, D = {rows}, X = {powers}, F = 2 * M - 1 + X, R = D + F }};
enum {{ GI = {gram_i}, GJ = {gram_j}, AI = {apply_i}, AV = 2 }};
#define UP(n, m) (((n) + (m) - 1) / (m) * (m))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define TILES(n, m) (UP(n, GI) * UP(m, GJ))
enum {{ PADDED = MAX(UP(R, AI), MAX(UP(R, GI), D + UP(F, GJ))) }};
#define AT(p, row, size) ((p) + head * D * (row) + graph * (size) + t)
#define AT1(p) ((p) + (head * graphs + graph) * n + t)
static const T MODE = {mode_scale!r}, POWER = {power_scale!r};
"""

_SINCOS = {
    False: """
static const T MAGIC = 12582912, TURN = 0.636619772367581343, LIMIT = 8192;
static const T P1 = 1.5703125, P2 = 4.837512969970703125e-4, P3 = 7.54978995489188216e-8;
enum { SIGN = 30 };
#define SINE(z) (-1.6666654611e-1f + z * (8.3321608736e-3f + z * -1.9515295891e-4f))
#define COSINE(z) (4.166664568298827e-2f + z * (-1.388731625493765e-3f + z * 2.443315711809948e-5f))
""",
    True: """
static const T MAGIC = 6755399441055744, TURN = 0.636619772367581343, LIMIT = 1e5;
static const T P1 = 1.57079632673412561417, P2 = 6.07710050630396597660e-11;
static const T P3 = 2.02226624879595063154e-21;
enum { SIGN = 62 };
#define SINE(z) (-1.66666666666666324348e-1 + z * (8.33333333332248946124e-3 + z * ( \\
    -1.98412698298579493134e-4 + z * (2.75573137070700676789e-6 + z * ( \\
    -2.50507602534068634195e-8 + z * 1.58969099521155010221e-10)))))
#define COSINE(z) (4.16666666666666019037e-2 + z * (-1.38888888888741095749e-3 + z * ( \\
    2.48015872894767294178e-5 + z * (-2.75573143513906633035e-7 + z * ( \\
    2.08757232129817482790e-9 + z * -1.13596475577881948265e-11)))))
""",
}

_CODE = r"""
typedef V Rows[B];
#define EACH(i, n) _Pragma("GCC unroll 8") for (int i = 0; i < (n); i++)

static inline V load(const T *p, long rest) {
  if (rest >= L) return *(const V *)p;
  T t[L] = {0};
  if (rest > 0) memcpy(t, p, rest * sizeof(T));
  return *(const V *)t;
}

static inline void store(T *p, V v, long rest) {
  if (rest >= L) *(V *)p = v;
  else if (rest > 0) memcpy(p, &v, rest * sizeof(T));
}

static T total(V v) {
  T t[L];
  memcpy(t, &v, sizeof t);
  for (int n = L / 2; n; n /= 2) for (int i = 0; i < n; i++) t[i] += t[i + n];
  return t[0];
}

/* Multiples of a quarter turn are taken off in three parts, the first two without rounding. */
static inline void sincos_vector(V x, V *sine, V *cosine) {
  V n = x * TURN + MAGIC;
  I q = (I)n;
  n -= MAGIC;
  V r = ((x - n * P1) - n * P2) - n * P3, z = r * r;
  I s = (I)(r + r * z * SINE(z)), c = (I)(1 - z * (T)0.5 + z * z * COSINE(z)), odd = -(q & 1);
  *sine = (V)(((s & ~odd) | (c & odd)) ^ ((q & 2) << SIGN));
  *cosine = (V)(((c & ~odd) | (s & odd)) ^ (((q + 1) & 2) << SIGN));
}

static void sincos_far(V x, V *sine, V *cosine) {
  for (int i = 0; i < L; i++) {
    (*sine)[i] = sin((double)x[i]);
    (*cosine)[i] = cos((double)x[i]);
  }
}

static void features(const T *a, const T *omega, const T *x, long x_row, long n, Rows *phi) {
  V angle[B];
  T most = 0, fastest = 0;
  for (int v = 0; v < B; v++) angle[v] = load(a + v * L, n - v * L);
  for (long t = 0; t < n; t++) if (fabs(a[t]) > most) most = fabs(a[t]);
  for (int m = 0; m < M - 1; m++) if (fabs(omega[m]) > fastest) fastest = fabs(omega[m]);
  for (int v = 0; v < B; v++) phi[0][v] = (V){0} + MODE;
  for (int m = 0; m < M - 1; m++)
    for (int v = 0; v < B; v++) {
      V s, c;
      if (most * fastest > LIMIT) sincos_far(angle[v] * omega[m], &s, &c);
      else sincos_vector(angle[v] * omega[m], &s, &c);
      phi[1 + m][v] = c * MODE;
      phi[M + m][v] = s * MODE;
    }
  for (int i = 0; i < X; i++)
    for (int v = 0; v < B; v++)
      phi[2 * M - 1 + i][v] = load(x + i * x_row + v * L, n - v * L) * POWER;
}

/* Sums over tokens of all products x_i y_j; of pairs (i, j) of features only one half. */
static void gram(Rows *x, int rows, Rows *y, int half, V *sums) {
  for (int i0 = 0; i0 < rows; i0 += GI)
    for (int j0 = 0; j0 < F; j0 += GJ, sums += GI * GJ) {
      if (half && i0 - D > j0 + GJ - 1) continue;
      V acc[GI][GJ];
      EACH(i, GI) EACH(j, GJ) acc[i][j] = sums[i * GJ + j];
      for (int v = 0; v < B; v++) {
        V left[GI], right[GJ];
        EACH(i, GI) left[i] = x[i0 + i][v];
        EACH(j, GJ) right[j] = y[j0 + j][v];
        EACH(i, GI) EACH(j, GJ) acc[i][j] += left[i] * right[j];
      }
      EACH(i, GI) EACH(j, GJ) sums[i * GJ + j] = acc[i][j];
    }
}

static void unpack(const V *sums, int rows, int half, T *out) {
  for (int i0 = 0; i0 < rows; i0 += GI)
    for (int j0 = 0; j0 < F; j0 += GJ, sums += GI * GJ)
      for (int i = i0; i < i0 + GI && i < rows; i++)
        for (int j = j0; j < j0 + GJ && j < F; j++)
          if (!half || i - D <= j) out[i * F + j] = total(sums[(i - i0) * GJ + j - j0]);
  if (half)
    for (int i = 1; i < F; i++)
      for (int j = 0; j < i; j++) out[(D + i) * F + j] = out[(D + j) * F + i];
}

/* out_i = sum over j of matrix_ji x_j, the rows of the matrix padded to whole tiles. */
static void apply(const T *matrix, int terms, int rows, Rows *x, Rows *out) {
  long width = UP(rows, AI);
  for (int v0 = 0; v0 < B; v0 += AV)
    for (int i0 = 0; i0 < rows; i0 += AI) {
      V acc[AI][AV];
      EACH(i, AI) EACH(v, AV) acc[i][v] = (V){0};
      for (int j = 0; j < terms; j++) {
        V right[AV];
        EACH(v, AV) right[v] = x[j][v0 + v];
        EACH(i, AI) EACH(v, AV) acc[i][v] += matrix[j * width + i0 + i] * right[v];
      }
      EACH(i, AI) EACH(v, AV) out[i0 + i][v0 + v] = acc[i][v];
    }
}

static void pad(const T *matrix, int terms, int rows, T *out) {
  for (int j = 0; j < terms; j++)
    memcpy(out + j * UP(rows, AI), matrix + j * rows, rows * sizeof(T));
}

static void read_rows(const T *x, long x_row, long rest, Rows *out) {
  for (int i = 0; i < D; i++)
    for (int v = 0; v < B; v++) out[i][v] = load(x + i * x_row + v * L, rest - v * L);
}

static void write_rows(Rows *x, T *out, long out_row, long rest) {
  for (int i = 0; i < D; i++)
    for (int v = 0; v < B; v++) store(out + i * out_row + v * L, x[i][v], rest - v * L);
}

/* From gradients by the features to those by coordinate, frequencies and powers. */
static void features_back(const T *a, const T *omega, Rows *phi, Rows *by_phi, long rest, T *by_a,
    V *by_omega, T *by_x, long by_x_row) {
  for (int v = 0; v < B; v++) {
    V angle = load(a + v * L, rest - v * L), sum = {0};
    for (int m = 0; m < M - 1; m++) {
      V turn = phi[1 + m][v] * by_phi[M + m][v] - phi[M + m][v] * by_phi[1 + m][v];
      sum += turn * omega[m];
      by_omega[m] += turn * angle;
    }
    store(by_a + v * L, sum, rest - v * L);
  }
  for (int i = 0; i < X; i++)
    for (int v = 0; v < B; v++)
      store(by_x + i * by_x_row + v * L, by_phi[2 * M - 1 + i][v] * POWER, rest - v * L);
}

enum { WORK = 2 * PADDED * W + MAX(TILES(R, F) * L, R * UP(R, AI)) + TILES(D, F) * L + M * L };
long work_size(void) { return WORK; }

/* Rows, their gradients, sums or matrix, more sums, gradients by the frequencies. */
#define TASKS \
  _Pragma("omp parallel for schedule(dynamic) num_threads(threads)") \
  for (long task = 0; task < heads * graphs * chunks; task++) { \
    long head = task / chunks / graphs, graph = task / chunks % graphs; \
    long start = task % chunks * CHUNK, stop = start + CHUNK < n ? start + CHUNK : n; \
    const T *omega = frequencies + head * (M - 1); \
    Rows *x = (Rows *)(work + omp_get_thread_num() * (long)WORK), *phi = x + D; \
    Rows *by_x = x + PADDED, *by_phi = by_x + D; \
    V *sums = (V *)(by_x + PADDED), *more = sums + WORK / L - 2 * PADDED * B - TILES(D, F) - M; \
    V *by_omega = more + TILES(D, F); \
    T *matrix = (T *)sums; \
    memset(x, 0, (long)WORK * sizeof(T));
#define BLOCKS for (long t = start, rest; rest = stop - t, t < stop; t += W)
#define SHAPE long heads, long graphs, long n, long chunks, long threads, T *work

void moments(const T *b, const T *root, const T *k, long k_row, long k_graph, const T *z,
    long z_row, long z_graph, const T *frequencies, long pairs, T *out, SHAPE) {
  int rows = pairs ? R : D;
  TASKS
    BLOCKS {
      read_rows(AT(z, z_row, z_graph), z_row, rest, x);
      features(AT1(b), omega, AT(k, k_row, k_graph), k_row, rest, phi);
      for (int v = 0; v < B; v++) {
        V w = load(AT1(root) + v * L, rest - v * L);
        for (int i = 0; i < R; i++) x[i][v] *= w;
      }
      gram(x, rows, phi, pairs, sums);
    }
    unpack(sums, rows, pairs, out + task * rows * F);
  }
}

/* The matrix is symmetric: gradients by the sums of products of rows of x with rows of x. */
void moments_back(const T *b, const T *weight, const T *k, long k_row, long k_graph, const T *z,
    long z_row, long z_graph, const T *frequencies, const T *symmetric, T *by_b, T *by_weight,
    T *by_k, T *by_z, T *by_frequencies, SHAPE) {
  TASKS
    pad(symmetric + (head * graphs + graph) * R * R, R, R, matrix);
    BLOCKS {
      read_rows(AT(z, z_row, z_graph), z_row, rest, x);
      features(AT1(b), omega, AT(k, k_row, k_graph), k_row, rest, phi);
      apply(matrix, R, R, x, by_x);
      for (int v = 0; v < B; v++) {
        V w = load(AT1(weight) + v * L, rest - v * L), sum = {0};
        for (int i = 0; i < R; i++) {
          sum += x[i][v] * by_x[i][v];
          by_x[i][v] *= w;
        }
        store(AT1(by_weight) + v * L, sum * (T)0.5, rest - v * L);
      }
      write_rows(by_x, AT(by_z, graphs * n, n), graphs * n, rest);
      features_back(AT1(b), omega, phi, by_phi, rest, AT1(by_b), by_omega,
          AT(by_k, graphs * n, n), graphs * n);
    }
    for (int m = 0; m < M - 1; m++) by_frequencies[task * (M - 1) + m] = total(by_omega[m]);
  }
}

void read(const T *transposed, const T *a, const T *q, long q_row, long q_graph,
    const T *frequencies, T *out, SHAPE) {
  TASKS
    pad(transposed + (head * graphs + graph) * F * D, F, D, matrix);
    BLOCKS {
      features(AT1(a), omega, AT(q, q_row, q_graph), q_row, rest, phi);
      apply(matrix, F, D, phi, by_x);
      write_rows(by_x, AT(out, graphs * n, n), graphs * n, rest);
    }
  }
}

void read_back(const T *moments, const T *a, const T *q, long q_row, long q_graph, const T *by_u,
    long u_row, long u_graph, const T *frequencies, T *by_moments, T *by_a, T *by_q,
    T *by_frequencies, SHAPE) {
  TASKS
    pad(moments + (head * graphs + graph) * D * F, D, F, matrix);
    BLOCKS {
      features(AT1(a), omega, AT(q, q_row, q_graph), q_row, rest, phi);
      read_rows(AT(by_u, u_row, u_graph), u_row, rest, x);
      apply(matrix, D, F, x, by_phi);
      gram(x, D, phi, 0, more);
      features_back(AT1(a), omega, phi, by_phi, rest, AT1(by_a), by_omega,
          AT(by_q, graphs * n, n), graphs * n);
    }
    unpack(more, D, 0, by_moments + task * D * F);
    for (int m = 0; m < M - 1; m++) by_frequencies[task * (M - 1) + m] = total(by_omega[m]);
  }
}
"""


def moments_source(modes: int, rows: int, degree: int, double: bool, width: int) -> str:
    """C functions ``moments``, ``read``, their gradients, and ``work_size`` in numbers."""
    wide = width == 64
    header = _HEADER.format(
        scalar="double" if double else "float",
        integer="long long" if double else "int",
        bytes=width,
        align=8 if double else 4,
        chunk=CHUNK,
        modes=modes,
        rows=rows,
        powers=rows * degree,
        gram_i=4 if wide else 2,
        gram_j=4,
        apply_i=8 if wide else 4,
        mode_scale=modes**-0.5,
        power_scale=rows**-0.5,
    )
    return header + _SINCOS[double] + _CODE
