/* The long convolution between coordinates, its gradient and the second derivative.

   Before this text stand definitions: the scalar T, an integer INT as wide, BYTES of a vector, ALIGN,
   M modes, D rows of a head, X features among them (D or 0), the scales MODE and POWER, DOUBLE.

   A task is one head of some graphs that lie one after the other. Operands are transposed on the way
   in and out: a token is a few vectors of rows, or of features: M cosines, M sines (the first of zero
   frequency), X rows of its irreps, each part padded with zeros to whole vectors. So every step is a
   product of small matrices, one of which is read number by number, the other vector by vector.

   Every buffer is there twice, TAN apart: values, and their tangents along a direction. The second
   derivative is the tangent of the gradient: each product becomes three, the code is the same.

   What a task sums over graphs is written to a place of its own, so that neither threads nor their
   number change a result. */

#include <math.h>
#include <omp.h>
#include <string.h>

typedef T V __attribute__((vector_size(BYTES), aligned(ALIGN), may_alias));
typedef INT I __attribute__((vector_size(BYTES)));
#define UP(n, m) (((n) + (m) - 1) / (m) * (m))
enum {
  L = BYTES / sizeof(T), WIDE = BYTES == 64,
  F = 2 * M - 1 + X,                      /* features */
  MV = UP(M, L) / L, DV = UP(D, L) / L,   /* vectors of modes and of rows */
  XV = X ? DV : 0, FV = 2 * MV + XV,      /* of powers, of all features */
  MP = MV * L, DP = DV * L, FP = FV * L,  /* the same in numbers */
  FN = 2 * MP + X,                        /* features up to the last */
  GRAPHS = 16, RUN = 128                    /* graphs of a task, tokens wanted in memory at once */
};
#define INLINE static inline __attribute__((always_inline))
#define EACH(i, n) _Pragma("GCC unroll 12") for (int i = 0; i < (n); i++)
#define TAN(p) ((__typeof__(p))((T *)(p) + plane))

/* ---- vectors ---- */

#if BYTES / (4 + 4 * DOUBLE) == 16
#define LO(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HI(a, b) \
  __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif BYTES / (4 + 4 * DOUBLE) == 8
#define LO(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HI(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif BYTES / (4 + 4 * DOUBLE) == 4
#define LO(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HI(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define LO(a, b) __builtin_shufflevector(a, b, 0, 2)
#define HI(a, b) __builtin_shufflevector(a, b, 1, 3)
#endif

INLINE V load(const T *p, long rest) {
  if (rest >= L) return *(const V *)p;
  T t[L] = {0};
  for (int i = 0; i < rest; i++) t[i] = p[i];
  return *(const V *)t;
}

INLINE void store(T *p, V v, long rest) {
  if (rest >= L) *(V *)p = v;
  else for (int i = 0; i < rest; i++) p[i] = v[i];
}

/* L vectors as rows of a square, turned over: halves are interleaved log L times. */
INLINE void turn(V *x) {
  _Pragma("GCC unroll 4") for (int round = 1; round < L; round *= 2) {
    V y[L];
    _Pragma("GCC unroll 8") for (int i = 0; i < L / 2; i++) {
      y[2 * i] = LO(x[i], x[i + L / 2]);
      y[2 * i + 1] = HI(x[i], x[i + L / 2]);
    }
    _Pragma("GCC unroll 16") for (int i = 0; i < L; i++) x[i] = y[i];
  }
}

/* Sums over the numbers of each of L vectors. */
INLINE V totals(const V *given) {
  V x[L];
  _Pragma("GCC unroll 16") for (int i = 0; i < L; i++) x[i] = given[i];
  _Pragma("GCC unroll 4") for (int half = L / 2; half; half /= 2)
    _Pragma("GCC unroll 8") for (int i = 0; i < half; i++)
      x[i] = LO(x[i], x[i + half]) + HI(x[i], x[i + half]);
  return x[0];
}

static T total(V v) {
  T sum = 0;
  for (int i = 0; i < L; i++) sum += v[i];
  return sum;
}

/* Multiples of a quarter turn are taken off in three parts, the first two without rounding. */
#if DOUBLE
static const T MAGIC = 6755399441055744, TURN = 0.636619772367581343, LIMIT = 1e5;
static const T P1 = 1.57079632673412561417, P2 = 6.07710050630396597660e-11;
static const T P3 = 2.02226624879595063154e-21;
enum { SIGN = 62 };
#define SINE(z) (-1.66666666666666324348e-1 + z * (8.33333333332248946124e-3 + z * ( \
    -1.98412698298579493134e-4 + z * (2.75573137070700676789e-6 + z * ( \
    -2.50507602534068634195e-8 + z * 1.58969099521155010221e-10)))))
#define COSINE(z) (4.16666666666666019037e-2 + z * (-1.38888888888741095749e-3 + z * ( \
    2.48015872894767294178e-5 + z * (-2.75573143513906633035e-7 + z * ( \
    2.08757232129817482790e-9 + z * -1.13596475577881948265e-11)))))
#else
static const T MAGIC = 12582912, TURN = 0.636619772367581343, LIMIT = 8192;
static const T P1 = 1.5703125, P2 = 4.837512969970703125e-4, P3 = 7.54978995489188216e-8;
enum { SIGN = 30 };
#define SINE(z) (-1.6666654611e-1f + z * (8.3321608736e-3f + z * -1.9515295891e-4f))
#define COSINE(z) (4.166664568298827e-2f + z * (-1.388731625493765e-3f + z * 2.443315711809948e-5f))
#endif

INLINE void sincos_near(V x, V *sine, V *cosine) {
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

/* ---- products of small matrices ---- */

/* NAME(plane, rows, terms, a, b, from, out): out_iv = from_iv + sum over k of a_ik b_kv for all vectors v,
   with the number a_ik at a + i AI + k AK, and rows of b, out and from OS vectors apart. A tile of
   rows and vectors is in registers. */
#define TILE(NAME, R, N, AI, AK, OS) \
  static void NAME##_##R##_##N(long terms, const T *a, const V *b, const V *from, V *out) { \
    V acc[R][N]; \
    if (from) EACH(i, R) EACH(v, N) acc[i][v] = from[i * OS + v]; \
    else EACH(i, R) EACH(v, N) acc[i][v] = (V){0}; \
    for (long k = 0; k < terms; k++, a += AK, b += OS) { \
      V right[N]; \
      EACH(v, N) right[v] = b[v]; \
      EACH(i, R) EACH(v, N) acc[i][v] += a[i * AI] * right[v]; \
    } \
    EACH(i, R) EACH(v, N) out[i * OS + v] = acc[i][v]; \
  }
#define TILES(NAME, N, AI, AK, OS) \
  TILE(NAME, 1, N, AI, AK, OS) TILE(NAME, 2, N, AI, AK, OS) TILE(NAME, 3, N, AI, AK, OS) \
  TILE(NAME, 4, N, AI, AK, OS) TILE(NAME, 5, N, AI, AK, OS) TILE(NAME, 6, N, AI, AK, OS) \
  TILE(NAME, 7, N, AI, AK, OS) TILE(NAME, 8, N, AI, AK, OS)
#define CASE(NAME, R, N) case R: NAME##_##R##_##N(terms, x, b + v, y, z); break;
#define CASES(NAME, N) \
  CASE(NAME, 1, N) CASE(NAME, 2, N) CASE(NAME, 3, N) CASE(NAME, 4, N) CASE(NAME, 5, N) \
  CASE(NAME, 6, N) CASE(NAME, 7, N) CASE(NAME, 8, N)
#define PRODUCT(NAME, AI, AK, OS) \
  TILES(NAME, 1, AI, AK, OS) TILES(NAME, 2, AI, AK, OS) TILES(NAME, 3, AI, AK, OS) \
  TILE(NAME, 9, 1, AI, AK, OS) TILE(NAME, 10, 1, AI, AK, OS) \
  TILE(NAME, 11, 1, AI, AK, OS) TILE(NAME, 12, 1, AI, AK, OS) \
  static void NAME##_values(long rows, long terms, const T *a, const V *b, const V *from, V *out) { \
    for (long v = 0, n; v < OS; v += n) { \
      n = OS - v == 4 ? 2 : OS - v > 3 ? 3 : OS - v; \
      long most = n == 1 ? WIDE ? 12 : 8 : WIDE ? 8 : n == 2 ? 4 : 3; \
      for (long i = 0, r, tiles = UP(rows, most) / most; i < rows; i += r, tiles--) { \
        r = UP(rows - i, tiles) / tiles; \
        const T *x = a + i * AI; \
        const V *y = from ? from + i * OS + v : 0; \
        V *z = out + i * OS + v; \
        if ((OS == 3 || OS > 4) && n == 3) switch (r) { CASES(NAME, 3) } \
        else if (OS > 1 && OS % 3 && n == 2) switch (r) { CASES(NAME, 2) } \
        else if (OS == 1) switch (r) { CASES(NAME, 1) CASE(NAME, 9, 1) CASE(NAME, 10, 1) \
            CASE(NAME, 11, 1) CASE(NAME, 12, 1) } \
      } \
    } \
  } \
  /* the same and, where tangents are wanted, its tangent */ \
  static void NAME(long plane, long rows, long terms, const T *a, const V *b, const V *from, V *out) { \
    NAME##_values(rows, terms, a, b, from, out); \
    if (!plane) return; \
    NAME##_values(rows, terms, TAN(a), b, from ? TAN(from) : 0, TAN(out)); \
    NAME##_values(rows, terms, a, TAN(b), TAN(out), TAN(out)); \
  }
PRODUCT(features_rows, FP, 1, DV)        /* features, or a Gram matrix, times rows */
PRODUCT(features_t_rows, 1, FP, DV)      /* transposed features times rows */
PRODUCT(rows_features, DP, 1, FV)
PRODUCT(features_features, FP, 1, FV)
PRODUCT(features_t_features, 1, FP, FV)

/* out_ij = sum over terms of x_i . y_j or, if `both`, of x_i . y_j + y_i . x_j and, for a tangent,
   of the same with x' and y' in place of x and y. Symmetric, row stride FP, whole vectors of columns. */
INLINE void pairs(long m, long terms, const int nv, const V *x, const V *y, const V *x2, const V *y2,
    long step, const int both, T *triangle, T *out) {
  V acc[L];
  long count = 0, done = 0;
  for (long i = 0; i < m; i++)
    for (long j = 0; j <= i; j++) {
      V sum = {0};
      for (long k = 0; k < terms; k++) {
        const V *xi = x + k * step + i * nv, *yj = y + k * step + j * nv;
        const V *xj = x + k * step + j * nv, *yi = y + k * step + i * nv;
        EACH(v, nv) sum += xi[v] * yj[v];
        if (both) EACH(v, nv) sum += xj[v] * yi[v];
        if (!x2) continue;
        xi = x2 + k * step + i * nv, yj = y2 + k * step + j * nv;
        xj = x2 + k * step + j * nv, yi = y2 + k * step + i * nv;
        EACH(v, nv) sum += xi[v] * yj[v] + xj[v] * yi[v];
      }
      acc[count++] = sum;
      if (count == L || i == m - 1 && j == i) {
        *(V *)(triangle + done) = totals(acc);
        done += L;
        count = 0;
      }
    }
  for (long i = 0; i < m; i++, triangle += i) {
    memset(out + i * FP + i, 0, (UP(m, L) - i) * sizeof(T));
    for (long j = 0; j <= i; j++) out[i * FP + j] = out[j * FP + i] = triangle[j];
  }
}

/* Rows of row vectors as rows of feature vectors. */
static void transpose(const V *x, V *out) {
  for (int f = 0; f < FV; f++)
    for (int d = 0; d < DV; d++) {
      V square[L];
      for (int i = 0; i < L; i++) square[i] = x[(f * L + i) * DV + d];
      turn(square);
      for (int i = 0; i < L; i++) out[(d * L + i) * FV + f] = square[i];
    }
}

/* ---- tokens in, tokens out ---- */

/* D rows of the next tokens to vectors `os` apart; row by row first, as lines lie in memory. */
static void rows_in(const T *x, long row, long count, T scale, T *stage, V *out, long os) {
  long width = UP(count, L);
  for (int i = 0; i < D; i++) memcpy(stage + i * width, x + i * row, count * sizeof(T));
  for (long t = 0; t < count; t += L)
    for (int d = 0; d < DV; d++) {
      V square[L];
      for (int i = 0; i < L; i++)
        if (d * L + i < D) square[i] = *(V *)(stage + (d * L + i) * width + t) * scale;
        else square[i] = (V){0};
      turn(square);
      for (int i = 0; i < L; i++) out[(t + i) * os + d] = square[i];
    }
}

static void rows_out(const V *x, long xs, long count, T scale, T *stage, T *out, long row) {
  long width = UP(count, L);
  for (long t = 0; t < count; t += L)
    for (int d = 0; d < DV; d++) {
      V square[L];
      for (int i = 0; i < L; i++) square[i] = x[(t + i) * xs + d] * scale;
      turn(square);
      for (int i = 0; i < L && d * L + i < D; i++) *(V *)(stage + (d * L + i) * width + t) = square[i];
    }
  for (int i = 0; i < D; i++) memcpy(out + i * row, stage + i * width, count * sizeof(T));
}

/* ---- a graph ---- */

typedef struct {
  long plane, back, powers;                        /* tangents too; backward; K + 1 */
  V *omega, *re, *im, *gain;                       /* parameters of the head: (MV,), (M, DV), (DV,) */
  T *c;                                            /* (K + 1,) */
  V *by_omega, *by_re, *by_im, *by_gain, *by_c;    /* their gradients, not yet totals */
  V *sums, *means, *by_sums, *by_means;            /* (FP, DV) */
  V *means_t, *by_sums_t;                          /* (DP, FV) */
  V *states, *adjoints, *y, *by_y;                 /* (K + 1, FP, DV) twice, (FP, DV) twice */
  T *gram, *by_gram, *triangle;                    /* (FP, FP) twice, one half of it */
  V *scratch;                                      /* tokens of a run */
  T *stage;                                        /* (D, tokens) */
  T *share, *root, *by_w, *by_a, *by_b;            /* tokens of a run */
  V *p, *q, *by_p, *by_q, *z, *by_z, *u;           /* (tokens, FV) four times, (tokens, DV) */
} Work;

/* y = sum of c_k (1 - G/|G|)^k applied to the first state; G becomes -G/|G|. Returns 1/|G|. */
static T sharpen(const Work *w, long m, T *slope) {
  long plane = w->plane, step = FP * DV, size = m * DV;
  T *g = w->gram, scale = 0;
  *slope = 0;
  if (w->powers > 1) {
    V square = {0}, mixed = {0};
    for (long i = 0; i < m; i++)
      for (long v = 0; v < UP(m, L) / L; v++) {
        V x = ((V *)(g + i * FP))[v];
        square += x * x;
        if (plane) mixed += x * TAN((V *)(g + i * FP))[v];
      }
    scale = 1 / sqrt(total(square) + (T)1e-12);
    if (plane) *slope = -scale * scale * scale * total(mixed);
    for (long i = 0; i < m; i++)
      for (long v = 0; v < UP(m, L) / L; v++) {
        V *x = (V *)(g + i * FP) + v;
        if (plane) *TAN(x) = -scale * *TAN(x) - *slope * *x;
        *x *= -scale;
      }
  }
  const V *state = w->states;
  for (long i = 0; i < size; i++) {
    if (plane) TAN(w->y)[i] = w->c[0] * TAN(state)[i] + *TAN(w->c) * state[i];
    w->y[i] = w->c[0] * state[i];
  }
  for (long k = 1; k < w->powers; k++) {
    V *next = w->states + k * step;
    features_rows(plane, m, m, g, state, state, next);
    for (long i = 0; i < size; i++) {
      if (plane) TAN(w->y)[i] += w->c[k] * TAN(next)[i] + TAN(w->c)[k] * next[i];
      w->y[i] += w->c[k] * next[i];
    }
    state = next;
  }
  return scale;
}

/* From gradients by y to those by the first state (the first adjoint), c, and G + its transpose. */
static void sharpen_back(const Work *w, long m, const V *by_y, T scale, T slope) {
  long plane = w->plane, step = FP * DV, size = m * DV, last = w->powers - 1;
  for (long k = last; k >= 0; k--) {
    const V *state = w->states + k * step;
    V *adjoint = w->adjoints + k * step, sum = {0}, tangent = {0};
    if (k < last)
      features_rows(plane, m, m, w->gram, adjoint + step, adjoint + step, adjoint);
    else {
      memset(adjoint, 0, size * sizeof(V));
      if (plane) memset(TAN(adjoint), 0, size * sizeof(V));
    }
    for (long i = 0; i < size; i++) {
      adjoint[i] += w->c[k] * by_y[i];
      sum += by_y[i] * state[i];
      if (plane) {
        TAN(adjoint)[i] += w->c[k] * TAN(by_y)[i] + TAN(w->c)[k] * by_y[i];
        tangent += TAN(by_y)[i] * state[i] + by_y[i] * TAN(state)[i];
      }
    }
    w->by_c[k] += sum;
    if (plane) TAN(w->by_c)[k] += tangent;
  }
  if (!last) return;
  T *g = w->gram, *n = w->by_gram, trace, trace_tangent = 0;
  const V *first = w->adjoints + step, *states = w->states;
  pairs(m, last, DV, first, states, 0, 0, step, 1, w->triangle, n);
  if (plane)
    pairs(m, last, DV, TAN(first), states, first, TAN(states), step, 1, w->triangle, TAN(n));
  V sum = {0}, tangent = {0};
#define WHOLE(i, v) for (long i = 0; i < m; i++) for (long v = 0; v < UP(m, L) / L; v++)
#define ROW(g) ((V *)((g) + i * FP))[v]
  WHOLE(i, v) {
    sum += ROW(g) * ROW(n);
    if (plane) tangent += ROW(TAN(g)) * ROW(n) + ROW(g) * ROW(TAN(n));
  }
  trace = total(sum);
  trace_tangent = total(tangent);
  WHOLE(i, v) {
    V rest = ROW(n) - trace * ROW(g);
    if (plane)
      ROW(TAN(n)) = -slope * rest
          - scale * (ROW(TAN(n)) - trace_tangent * ROW(g) - trace * ROW(TAN(g)));
    ROW(n) = -scale * rest;
  }
}

/* Means of features times the filter of every row. */
static void apply_filter(const Work *w) {
  long plane = w->plane;
  const V *s = w->sums;
  V *out = w->means;
  for (int i = 0; i < M * DV; i++) {
    const V *cosine = s + i, *sine = s + MP * DV + i, *re = w->re + i, *im = w->im + i;
    V *c = out + i, *n = out + MP * DV + i;
    *c = *re * *cosine + *im * *sine;
    *n = *re * *sine - *im * *cosine;
    if (plane) {
      *TAN(c) = *TAN(re) * *cosine + *re * *TAN(cosine) + *TAN(im) * *sine + *im * *TAN(sine);
      *TAN(n) = *TAN(re) * *sine + *re * *TAN(sine) - *TAN(im) * *cosine - *im * *TAN(cosine);
    }
  }
  for (int f = 0; f < X; f++)
    for (int v = 0; v < DV; v++) {
      const V *g = w->gain + v, *x = s + (2 * MP + f) * DV + v;
      V *y = out + (2 * MP + f) * DV + v;
      *y = *g * *x;
      if (plane) *TAN(y) = *TAN(g) * *x + *g * *TAN(x);
    }
}

static void apply_filter_back(const Work *w) {
  long plane = w->plane;
  for (int i = 0; i < M * DV; i++) {
    const V *cosine = w->sums + i, *sine = cosine + MP * DV, *re = w->re + i, *im = w->im + i;
    const V *c = w->by_means + i, *n = c + MP * DV;
    V *by_c = w->by_sums + i, *by_n = by_c + MP * DV;
    *by_c = *re * *c - *im * *n;
    *by_n = *im * *c + *re * *n;
    w->by_re[i] += *c * *cosine + *n * *sine;
    w->by_im[i] += *c * *sine - *n * *cosine;
    if (!plane) continue;
    *TAN(by_c) = *TAN(re) * *c + *re * *TAN(c) - *TAN(im) * *n - *im * *TAN(n);
    *TAN(by_n) = *TAN(im) * *c + *im * *TAN(c) + *TAN(re) * *n + *re * *TAN(n);
    TAN(w->by_re)[i] += *TAN(c) * *cosine + *c * *TAN(cosine) + *TAN(n) * *sine + *n * *TAN(sine);
    TAN(w->by_im)[i] += *TAN(c) * *sine + *c * *TAN(sine) - *TAN(n) * *cosine - *n * *TAN(cosine);
  }
  for (int f = 0; f < X; f++)
    for (int v = 0; v < DV; v++) {
      long i = (2 * MP + f) * DV + v;
      const V *g = w->gain + v, *x = w->sums + i, *y = w->by_means + i;
      V *by_x = w->by_sums + i;
      *by_x = *g * *y;
      w->by_gain[v] += *y * *x;
      if (!plane) continue;
      *TAN(by_x) = *TAN(g) * *y + *g * *TAN(y);
      TAN(w->by_gain)[v] += *TAN(y) * *x + *y * *TAN(x);
    }
}

/* Sums over the vectors of every token, at `x`, a group of L tokens at a time. */
static void token_totals(const V *x, long n, T *out) {
  for (long t = 0; t < n; t += L) store(out + t, totals(x + t), n - t);
}

/* Gradients by coordinate and frequencies of features whose scale is in both factors. */
static void modes_back(const Work *w, const V *phi, const V *by_phi, const T *a, const T *a_tangent,
    long n, T *by_a) {
  long plane = w->plane;
  for (long t = 0; t < n; t++) {
    V sum = {0}, tangent = {0};
    for (int m = 0; m < MV; m++) {
      const V *c = phi + t * FV + m, *s = c + MV, *by_c = by_phi + t * FV + m, *by_s = by_c + MV;
      V turned = *c * *by_s - *s * *by_c;
      sum += w->omega[m] * turned;
      w->by_omega[m] += a[t] * turned;
      if (!plane) continue;
      V more = *TAN(c) * *by_s + *c * *TAN(by_s) - *TAN(s) * *by_c - *s * *TAN(by_c);
      tangent += TAN(w->omega)[m] * turned + w->omega[m] * more;
      TAN(w->by_omega)[m] += a_tangent[t] * turned + a[t] * more;
    }
    w->scratch[t] = sum;
    if (plane) TAN(w->scratch)[t] = tangent;
  }
  token_totals(w->scratch, n, by_a);
  if (plane) token_totals(TAN(w->scratch), n, TAN(by_a));
}

/* Tokens o to o + n of a run are one graph. */
static void graph(const Work *w, long o, long n, const T *weight, const T *weight_tangent) {
  long plane = w->plane;
  int dual = w->powers > 1 && n < F;  /* the smaller of the two Gram matrices */
  V *p = w->p + o * FV, *q = w->q + o * FV, *z = w->z + o * DV, *u = w->u + o * DV;
  T *share = w->share + o, *root = w->root + o, sum = 0, sum_tangent = 0, slope, scale;
  for (long t = 0; t < n; t++) sum += weight[t];
  if (plane) for (long t = 0; t < n; t++) sum_tangent += weight_tangent[t];
  for (long t = 0; t < n; t++) {
    share[t] = weight[t] / sum;
    root[t] = sqrt(share[t]);
    if (plane) {
      TAN(share)[t] = (weight_tangent[t] - share[t] * sum_tangent) / sum;
      TAN(root)[t] = TAN(share)[t] / (2 * root[t]);
    }
    for (int v = 0; v < FV + DV; v++) {
      V *x = v < FV ? p + t * FV + v : z + t * DV + v - FV;
      if (plane) *TAN(x) = TAN(root)[t] * *x + root[t] * *TAN(x);
      *x *= root[t];
    }
  }
  if (dual) {
    memcpy(w->states, z, n * DV * sizeof(V));
    pairs(n, 1, FV, p, p, 0, 0, 0, 0, w->triangle, w->gram);
    if (plane) {
      memcpy(TAN(w->states), TAN(z), n * DV * sizeof(V));
      pairs(n, 1, FV, TAN(p), p, 0, 0, 0, 1, w->triangle, TAN(w->gram));
    }
    scale = sharpen(w, n, &slope);
    features_t_rows(plane, FN, n, (T *)p, w->y, 0, w->sums);
  } else {
    features_t_rows(plane, FN, n, (T *)p, z, 0, w->states);
    if (w->powers > 1)
      features_t_features(plane, FN, n, (T *)p, p, 0, (V *)w->gram);
    scale = sharpen(w, FN, &slope);
    memcpy(w->sums, w->y, FN * DV * sizeof(V));
    if (plane) memcpy(TAN(w->sums), TAN(w->y), FN * DV * sizeof(V));
  }
  apply_filter(w);
  if (!w->back) {
    features_rows(plane, n, FN, (T *)q, w->means, 0, u);
    return;
  }
  V *by_p = w->by_p + o * FV, *by_q = w->by_q + o * FV, *by_z = w->by_z + o * DV;
  features_t_rows(plane, FN, n, (T *)q, u, 0, w->by_means);
  transpose(w->means, w->means_t);
  if (plane) transpose(TAN(w->means), TAN(w->means_t));
  rows_features(plane, n, D, (T *)u, w->means_t, 0, by_q);
  if (plane) /* the result's own tangent, where its gradient was */
    features_rows_values(n, FN, TAN((T *)q), w->means, 0, TAN(u)),
    features_rows_values(n, FN, (T *)q, TAN(w->means), TAN(u), TAN(u));
  apply_filter_back(w);
  if (dual) {
    transpose(w->by_sums, w->by_sums_t);
    if (plane) transpose(TAN(w->by_sums), TAN(w->by_sums_t));
    features_rows(plane, n, FN, (T *)p, w->by_sums, 0, w->by_y);
    rows_features(plane, n, D, (T *)w->y, w->by_sums_t, 0, by_p);
    sharpen_back(w, n, w->by_y, scale, slope);
    features_features(plane, n, n, w->by_gram, p, by_p, by_p);
    memcpy(by_z, w->adjoints, n * DV * sizeof(V));
    if (plane) memcpy(TAN(by_z), TAN(w->adjoints), n * DV * sizeof(V));
  } else {
    sharpen_back(w, FN, w->by_sums, scale, slope);
    features_rows(plane, n, FN, (T *)p, w->adjoints, 0, by_z);
    transpose(w->adjoints, w->by_sums_t);
    if (plane) transpose(TAN(w->adjoints), TAN(w->by_sums_t));
    rows_features(plane, n, D, (T *)z, w->by_sums_t, 0, by_p);
    if (w->powers > 1)
      features_features(plane, n, FN, (T *)p, (V *)w->by_gram, by_p, by_p);
  }
  T *by_share = w->by_w + o, mean = 0, mean_tangent = 0;
  for (long t = 0; t < n; t++) {
    V dot = {0}, tangent = {0};
    for (int v = 0; v < FV + DV; v++) {
      V *x = v < FV ? p + t * FV + v : z + t * DV + v - FV;
      V *by_x = v < FV ? by_p + t * FV + v : by_z + t * DV + v - FV;
      dot += *x * *by_x;
      if (plane) tangent += *TAN(x) * *by_x + *x * *TAN(by_x);
    }
    w->scratch[t] = dot;
    if (plane) TAN(w->scratch)[t] = tangent;
  }
  token_totals(w->scratch, n, by_share);
  if (plane) token_totals(TAN(w->scratch), n, TAN(by_share));
  for (long t = 0; t < n; t++) {
    by_share[t] /= 2 * share[t];
    mean += share[t] * by_share[t];
    if (!plane) continue;
    TAN(by_share)[t] = (TAN(by_share)[t] / 2 - by_share[t] * TAN(share)[t]) / share[t];
    mean_tangent += TAN(share)[t] * by_share[t] + share[t] * TAN(by_share)[t];
  }
  for (long t = 0; t < n; t++) {
    by_share[t] = (by_share[t] - mean) / sum;
    if (plane)
      TAN(by_share)[t] = (TAN(by_share)[t] - mean_tangent - by_share[t] * sum_tangent) / sum;
  }
}

/* Gradients by values and keys themselves, from those by their products with the root. */
static void unscale(const Work *w, long n) {
  long plane = w->plane;
  for (long t = 0; t < n; t++)
    for (int v = 0; v < XV + DV; v++) {
      V *x = v < XV ? w->by_p + t * FV + 2 * MV + v : w->by_z + t * DV + v - XV;
      if (plane) *TAN(x) = TAN(w->root)[t] * *x + w->root[t] * *TAN(x);
      *x *= w->root[t];
    }
}

/* ---- all graphs ---- */

/* a, b, weight (heads, tokens); q, k, z, u rows `row` apart; frequencies (heads, M - 1);
   taps (2 M - 1 and a gain, heads, D); powers (K + 1, heads) */
typedef struct {
  const T *a, *b, *weight, *q, *k, *z, *u, *frequencies, *taps, *powers;
  long q_row, k_row, z_row, u_row;
} Given;

/* as above; by parameters one share per chunk of graphs: (chunks, ...) */
typedef struct {
  T *u, *a, *b, *weight, *q, *k, *z, *frequencies, *taps, *powers;
} Results;

static void features(const Work *w, const T *a, const T *a_tangent, long n, V *out) {
  long plane = w->plane;
  V scale[MV];
  T most = 0, fastest = 0;
  for (int i = 0; i < MP; i++) ((T *)scale)[i] = i < M ? MODE : 0;
  for (long t = 0; t < n; t++) if (fabs(a[t]) > most) most = fabs(a[t]);
  for (int i = 0; i < M; i++) if (fabs(((T *)w->omega)[i]) > fastest) fastest = fabs(((T *)w->omega)[i]);
  for (long t = 0; t < n; t++)
    for (int m = 0; m < MV; m++) {
      V angle = a[t] * w->omega[m], *c = out + t * FV + m, *s = c + MV;
      if (most * fastest > LIMIT) sincos_far(angle, s, c);
      else sincos_near(angle, s, c);
      *c *= scale[m];
      *s *= scale[m];
      if (!plane) continue;
      angle = a_tangent[t] * w->omega[m] + a[t] * TAN(w->omega)[m];
      *TAN(c) = -*s * angle;
      *TAN(s) = *c * angle;
    }
}

static void parameters(const Work *w, const Given *x, long head, long heads, long plane) {
  T *c = w->c + plane;
  memset((T *)w->omega + plane, 0, MP * sizeof(T));
  memcpy((T *)w->omega + plane + 1, x->frequencies + head * (M - 1), (M - 1) * sizeof(T));
  for (int m = 0; m < M; m++) {
    memcpy((T *)(w->re + m * DV) + plane, x->taps + (m * heads + head) * D, D * sizeof(T));
    if (m) memcpy((T *)(w->im + m * DV) + plane, x->taps + ((M - 1 + m) * heads + head) * D, D * sizeof(T));
  }
  if (X) memcpy((T *)w->gain + plane, x->taps + ((2 * M - 1) * heads + head) * D, D * sizeof(T));
  for (long k = 0; k < w->powers; k++) c[k] = x->powers[k * heads + head];
}

static void write_parameters(const Work *w, const Results *out, long chunk, long head, long heads,
    long plane) {
  const T *omega = (T *)w->by_omega + plane;
  T *taps = out->taps + chunk * (2 * M - 1 + !!X) * heads * D;
  memcpy(out->frequencies + (chunk * heads + head) * (M - 1), omega + 1, (M - 1) * sizeof(T));
  for (int m = 0; m < M; m++) {
    memcpy(taps + (m * heads + head) * D, (T *)(w->by_re + m * DV) + plane, D * sizeof(T));
    if (m) memcpy(taps + ((M - 1 + m) * heads + head) * D, (T *)(w->by_im + m * DV) + plane, D * sizeof(T));
  }
  if (X) memcpy(taps + ((2 * M - 1) * heads + head) * D, (T *)w->by_gain + plane, D * sizeof(T));
  for (long k = 0; k < w->powers; k++)
    out->powers[(chunk * w->powers + k) * heads + head] = total(((V *)((T *)w->by_c + plane))[k]);
}

/* Tokens of the longest run. */
static long longest(const long *ptr, long graphs) {
  long most = 0;
  for (long g = 0; g < graphs; g++) if (ptr[g + 1] - ptr[g] > most) most = ptr[g + 1] - ptr[g];
  return UP(most + RUN, L) + L;
}

/* Place of every buffer; the size in vectors when nothing is given. */
static long arrange(Work *w, V *at, long tokens) {
  V *start = at;
  long k = w->powers;
#define PLACE(name, size) w->name = (__typeof__(w->name))at; at += (size);
  PLACE(by_omega, MV) PLACE(by_re, M * DV) PLACE(by_im, M * DV) PLACE(by_gain, DV) PLACE(by_c, k)
  PLACE(omega, MV) PLACE(re, M * DV) PLACE(im, M * DV) PLACE(gain, DV) PLACE(c, k)
  PLACE(sums, FP * DV) PLACE(means, FP * DV) PLACE(by_sums, FP * DV) PLACE(by_means, FP * DV)
  PLACE(means_t, DP * FV) PLACE(by_sums_t, DP * FV)
  PLACE(states, k * FP * DV) PLACE(adjoints, k * FP * DV) PLACE(y, FP * DV) PLACE(by_y, FP * DV)
  PLACE(gram, FP * FV) PLACE(by_gram, FP * FV) PLACE(triangle, FP * FV / 2 + FP)
  PLACE(share, tokens / L) PLACE(root, tokens / L) PLACE(by_w, tokens / L)
  PLACE(by_a, tokens / L) PLACE(by_b, tokens / L) PLACE(scratch, tokens)
  PLACE(stage, D * tokens / L)
  PLACE(p, tokens * FV) PLACE(q, tokens * FV) PLACE(z, tokens * DV) PLACE(u, tokens * DV)
  PLACE(by_p, tokens * FV) PLACE(by_q, tokens * FV) PLACE(by_z, tokens * DV)
  return at - start;
}

long work_size(const long *ptr, long graphs, long powers, long order) {
  Work w = {.powers = powers};
  return (order == 2 ? 2 : 1) * arrange(&w, 0, longest(ptr, graphs)) * L;
}

long num_chunks(long graphs) { return UP(graphs, GRAPHS) / GRAPHS; }

/* order 0: u; 1: gradients given that by u; 2: tangents of u and of the gradients */
void set_conv(long order, const Given *x, const Given *dx, const Results *out, const long *ptr,
    long graphs, long heads, long powers, long threads, T *memory) {
  long tokens = ptr[graphs], chunks = num_chunks(graphs), most = longest(ptr, graphs);
  long size = work_size(ptr, graphs, powers, order);
  #pragma omp parallel num_threads(threads)
  {
    Work work = {.powers = powers, .back = order > 0}, *w = &work;
    V *own = (V *)(memory + omp_get_thread_num() * size);
    long half = arrange(w, own, most) * L, plane = w->plane = order == 2 ? half : 0;
    memset(own, 0, size * sizeof(T));
    #pragma omp for schedule(dynamic)
    for (long task = 0; task < chunks * heads; task++) {
      long head = task % heads, chunk = task / heads, first = chunk * GRAPHS;
      long stop = first + GRAPHS < graphs ? first + GRAPHS : graphs;
      for (int tangent = 0; tangent <= (plane > 0); tangent++) {
        memset((T *)w->by_omega + tangent * plane, 0, (char *)w->omega - (char *)w->by_omega);
        parameters(w, tangent ? dx : x, head, heads, tangent * plane);
      }
      for (long g = first, next; g < stop; g = next) {
        long t0 = ptr[g], n, at = head * tokens + t0;
        for (next = g + 1; next < stop && ptr[next] - t0 < RUN; next++);
        n = ptr[next] - t0;
        features(w, x->a + at, plane ? dx->a + at : 0, n, w->q);
        features(w, x->b + at, plane ? dx->b + at : 0, n, w->p);
        for (int tangent = 0; tangent <= (plane > 0); tangent++) {
          const Given *from = tangent ? dx : x;
          long shift = tangent * plane / L;
#define IN(name) from->name + head * D * from->name##_row + t0, from->name##_row, n
          if (X) rows_in(IN(q), POWER, w->stage, w->q + 2 * MV + shift, FV);
          if (X) rows_in(IN(k), POWER, w->stage, w->p + 2 * MV + shift, FV);
          rows_in(IN(z), 1, w->stage, w->z + shift, DV);
        }
        if (order) {
          const Given *from = x;
          rows_in(IN(u), 1, w->stage, w->u, DV);
          if (plane) memset(TAN(w->u), 0, n * DV * sizeof(V));
        }
        for (long i = g; i < next; i++)
          if (ptr[i + 1] > ptr[i])
            graph(w, ptr[i] - t0, ptr[i + 1] - ptr[i], x->weight + head * tokens + ptr[i],
                plane ? dx->weight + head * tokens + ptr[i] : 0);
#define OUT(name) out->name + head * D * tokens + t0, tokens
        if (order != 1) rows_out(TAN(w->u), DV, n, 1, w->stage, OUT(u));
        if (!order) continue;
        modes_back(w, w->q, w->by_q, x->a + at, plane ? dx->a + at : 0, n, w->by_a);
        modes_back(w, w->p, w->by_p, x->b + at, plane ? dx->b + at : 0, n, w->by_b);
        unscale(w, n);
        memcpy(out->a + at, TAN(w->by_a), n * sizeof(T));
        memcpy(out->b + at, TAN(w->by_b), n * sizeof(T));
        memcpy(out->weight + at, TAN(w->by_w), n * sizeof(T));
        if (X) rows_out(TAN(w->by_q) + 2 * MV, FV, n, POWER, w->stage, OUT(q));
        if (X) rows_out(TAN(w->by_p) + 2 * MV, FV, n, POWER, w->stage, OUT(k));
        rows_out(TAN(w->by_z), DV, n, 1, w->stage, OUT(z));
      }
      if (order) write_parameters(w, out, chunk, head, heads, plane);
    }
  }
}
