"""Factors on rows of features in C: one pass over them, and one for the gradients.

Loops are plain; a block of tokens stays in cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from e3hyena.ops.backends.native.build import call, rows

_BLOCK = 512
_SOURCE = r"""
#include <math.h>
typedef SCALAR T;
enum { BLOCK = 512 };
#define TOKENS _Pragma("omp simd") for (long t = 0; t < size; t++)
#define SIZE long size = start + BLOCK < n ? BLOCK : n - start;

void scale(const T *x_all, long channel, long row, const T *by_all, long by_channel, long by_row,
    const long *widths, long copies, T *out_all, long channels, long dim, long n, double gain,
    long threads) {
  #pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (long c = 0; c < channels; c++)
  for (long start = 0; start < n; start += BLOCK) {
    SIZE
    const T *x = x_all + c * channel + start, *by = by_all + c * by_channel + start;
    T *out = out_all + c * dim * n + start, g = gain;
    for (long k = 0; k < copies; k++, by += by_row)
      for (long i = 0; i < widths[k]; i++, x += row, out += n)
        TOKENS out[t] = x[t] * (g * by[t]);
  }
}

void scale_back(const T *grad_all, const T *x_all, long channel, long row, const T *by_all,
    long by_channel, long by_row, const long *widths, long copies, T *out_all, T *factors_all,
    long channels, long dim, long n, double gain, long threads) {
  #pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (long c = 0; c < channels; c++)
  for (long start = 0; start < n; start += BLOCK) {
    SIZE
    const T *x = x_all + c * channel + start, *by = by_all + c * by_channel + start;
    const T *grad = grad_all + c * dim * n + start;
    T *out = out_all + c * dim * n + start, *factors = factors_all + c * copies * n + start;
    T g = gain, sum[BLOCK];
    for (long k = 0; k < copies; k++, by += by_row, factors += n) {
      TOKENS sum[t] = 0;
      for (long i = 0; i < widths[k]; i++, x += row, grad += n, out += n) TOKENS {
        sum[t] += x[t] * grad[t];
        out[t] = grad[t] * (g * by[t]);
      }
      TOKENS factors[t] = g * sum[t];
    }
  }
}

void norm(const T *x_all, long x_row, const T *weight, const T *scale, double eps, T *out,
    long rows, long n, long threads) {
  #pragma omp parallel for schedule(static) num_threads(threads)
  for (long start = 0; start < n; start += BLOCK) {
    SIZE
    T factor[BLOCK];
    TOKENS factor[t] = eps;
    for (long r = 0; r < rows; r++) {
      const T *x = x_all + r * x_row + start, w = weight[r];
      TOKENS factor[t] += w * x[t] * x[t];
    }
    TOKENS factor[t] = 1 / SQRT(factor[t]);
    for (long r = 0; r < rows; r++) {
      const T *x = x_all + r * x_row + start, s = scale[r];
      TOKENS out[r * n + start + t] = s * factor[t] * x[t];
    }
  }
}

/* by_scale: one share per block of tokens */
void norm_back(const T *grad_all, const T *x_all, long x_row, const T *weight, const T *scale,
    double eps, T *out, T *by_scale, long rows, long n, long threads) {
  #pragma omp parallel for schedule(static) num_threads(threads)
  for (long start = 0; start < n; start += BLOCK) {
    SIZE
    T factor[BLOCK], by_factor[BLOCK], *share = by_scale + start / BLOCK * rows;
    TOKENS factor[t] = eps;
    TOKENS by_factor[t] = 0;
    for (long r = 0; r < rows; r++) {
      const T *x = x_all + r * x_row + start, *grad = grad_all + r * n + start;
      T w = weight[r], s = scale[r];
      TOKENS {
        factor[t] += w * x[t] * x[t];
        by_factor[t] += s * x[t] * grad[t];
      }
    }
    TOKENS factor[t] = 1 / SQRT(factor[t]);
    TOKENS by_factor[t] *= factor[t] * factor[t] * factor[t];
    for (long r = 0; r < rows; r++) {
      const T *x = x_all + r * x_row + start, *grad = grad_all + r * n + start;
      T w = weight[r], s = scale[r], sum = 0;
      _Pragma("omp simd reduction(+:sum)")
      for (long t = 0; t < size; t++) {
        out[r * n + start + t] = s * factor[t] * grad[t] - w * by_factor[t] * x[t];
        sum += factor[t] * x[t] * grad[t];
      }
      share[r] = sum;
    }
  }
}
"""


def scale(x: Tensor, factors: Tensor, widths: Sequence[int], gain: float) -> Tensor:
    """See :meth:`e3hyena.ops.backends.base.Backend.scale`."""
    out = x.new_empty(x.shape)
    call(_SOURCE, "scale", *rows(x), *rows(factors), *_copies(widths), out, *x.shape, gain)
    return out


def scale_backward(
    grad: Tensor, x: Tensor, factors: Tensor, widths: Sequence[int], gain: float
) -> tuple[Tensor, Tensor]:
    """See :meth:`e3hyena.ops.backends.base.Backend.scale_backward`."""
    by_x, by_factors = x.new_empty(x.shape), factors.new_empty(factors.shape)
    operands = grad.contiguous(), *rows(x), *rows(factors), *_copies(widths), by_x, by_factors
    call(_SOURCE, "scale_back", *operands, *x.shape, gain)
    return by_x, by_factors


def norm(x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> Tensor:
    """See :meth:`e3hyena.ops.backends.base.Backend.norm`."""
    out = x.new_empty(x.shape)
    call(_SOURCE, "norm", *_rows(x), weight, scale.contiguous(), eps, out, *x.shape)
    return out


def norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """See :meth:`e3hyena.ops.backends.base.Backend.norm_backward`."""
    by_x = x.new_empty(x.shape)
    by_scale = x.new_empty(-(-x.shape[1] // _BLOCK), x.shape[0])
    operands = grad.contiguous(), *_rows(x), weight, scale.contiguous(), eps, by_x, by_scale
    call(_SOURCE, "norm_back", *operands, *x.shape)
    return by_x, by_scale.sum(dim=0)


def _copies(widths: Sequence[int]) -> tuple[Tensor, int]:
    return torch.tensor(widths), len(widths)


def _rows(x: Tensor) -> tuple[Tensor, int]:
    """``(R, T)`` with contiguous tokens, and the stride of a row."""
    x = x if x.stride(-1) == 1 else x.contiguous()
    return x, x.stride(0)
