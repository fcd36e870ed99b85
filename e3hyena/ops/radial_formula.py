"""Bessel functions times an envelope, and their derivatives, of anything that can be multiplied."""

import math
from typing import Any

from e3hyena.ops.jets import Jet

_ROOT_MEAN_SQUARE = 0.9345  # sqrt(3/2 * integral of the squared envelope)
_SMALL = 0.1  # of the cutoff, below which a series takes the place of a quotient


def radial_formula(distance: Any, number: int, cutoff: float, order: int, lib: Any) -> list[Any]:
    """Of every function the derivative of some order; see :func:`e3hyena.ops.radial.radial`.

    ``lib`` has ``sin``, ``cos`` and ``where``, as ``torch`` has.
    """
    inside = distance < cutoff
    start = lib.where(inside, distance, cutoff) / cutoff
    x, angle = Jet([start, 1 / cutoff], order), Jet([math.pi * start, math.pi / cutoff], order)
    waves = lib.sin(angle.parts[0]), lib.cos(angle.parts[0])
    sine, cosine = _wave(waves, (1, 1, -1, -1), angle), _wave(waves[::-1], (1, -1, -1, 1), angle)
    base = _envelope(x) * _sinc(angle, sine, start < _SMALL, lib) * (math.pi / _ROOT_MEAN_SQUARE)
    # sin(n t) = sin(t) U_(n-1)(cos t): one sine, and nothing to divide at zero. With signs
    # + + - - every step of the recurrence is one sum of a product.
    functions, twice = [base], (cosine * 2, cosine * -2)
    for n in range(1, number):
        step = twice[(n - 1) % 2] * functions[-1]
        functions.append(step if n == 1 else functions[-2] + step)
    parts = []
    for n, function in enumerate(functions):
        factor = math.factorial(order) * (1, 1, -1, -1)[n % 4]
        part = function.parts[order] if factor == 1 else function.parts[order] * factor
        parts.append(part if order < 3 else lib.where(inside, part, 0.0))
    return parts


def _wave(waves: tuple[Any, Any], signs: tuple[int, ...], angle: Jet) -> Jet:
    """Sine or cosine of an angle that is linear."""
    slope = angle.parts[1] if angle.order else 0.0
    factors = [signs[k % 4] * slope**k / math.factorial(k) for k in range(angle.order + 1)]
    return Jet([waves[k % 2] * factor for k, factor in enumerate(factors)], angle.order)


def _envelope(x: Jet) -> Jet:
    """1 - 28 x^6 + 48 x^7 - 21 x^8, written so that it cannot turn negative by rounding."""
    rest = x * 21 + 15
    for coefficient in (10, 6, 3, 1):
        rest = rest * x + coefficient
    left = x * -1 + 1
    return left * left * left * rest


def _sinc(angle: Jet, sine: Jet, small: Any, lib: Any) -> Jet:
    """sin(t) / t, right at zero in every order."""
    divisor = lib.where(small, 1.0, angle.parts[0])
    quotients = [sine.parts[0] / divisor]
    for part in sine.parts[1:]:
        quotients.append((part + quotients[-1] * -angle.parts[1]) / divisor)
    square = angle * angle
    coefficients = [(-1) ** k / math.factorial(2 * k + 1) for k in range(8)]
    series = square * coefficients[-1] + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        series = series * square + coefficient
    pairs = zip(series.parts, quotients, strict=True)
    return Jet([lib.where(small, a, b) for a, b in pairs], angle.order)
