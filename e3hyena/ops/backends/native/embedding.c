/* How the tokens of graphs become the points of transforms, and back.

   Before this text stand the scalar T and <string.h>. A batch are graphs that share a number of
   points; `group` of them are handled at once, in rows `stride` numbers apart, in place: a row of
   `points` reals becomes half as many complex numbers plus one. The struct is filled in from Python
   (`_CBatch` in convolution.py). */

typedef long (*Transform)(void *plan, void *data, ...);
enum { PLAIN, WRAP, SHIFT };  /* how a graph of n tokens sits among P points */
typedef struct {
  const long *starts, *sizes;
  long graphs, group, points, stride;
  int place;
} Batch;

/* E: tokens of a few graphs into rows of points, zero elsewhere; rows past the last graph too. */
static void embed(const T *x, long row, long dim, const Batch *b, long first, int place, T *s) {
  for (long a = 0; a < dim; a++)
  for (long i = 0; i < b->group; i++, s += b->stride) {
    long graph = first + i, n = graph < b->graphs ? b->sizes[graph] : 0, end = 0;
    if (n) {
      const T *from = x + a * row + b->starts[graph];
      if (place == SHIFT) { end = (n - 1) / 2; memset(s, 0, end * sizeof(T)); }
      memcpy(s + end, from, n * sizeof(T));
      end += n;
      if (place == WRAP && n < b->points) {
        memcpy(s + end, from, (n - 1) * sizeof(T));
        end += n - 1;
      }
    }
    memset(s + end, 0, (b->stride - end) * sizeof(T));
  }
}

/* E^T: rows of points back to tokens. */
static void extract(T *y, long row, long dim, const Batch *b, long first, int place, const T *s) {
  for (long a = 0; a < dim; a++)
  for (long i = 0; i < b->group && first + i < b->graphs; i++) {
    const T *from = s + (a * b->group + i) * b->stride;
    long n = b->sizes[first + i];
    T *to = y + a * row + b->starts[first + i];
    memcpy(to, from + (place == SHIFT ? (n - 1) / 2 : 0), n * sizeof(T));
    if (place == WRAP && n < b->points)
      for (long t = 0; t < n - 1; t++) to[t] += from[n + t];
  }
}
