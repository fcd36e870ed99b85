"""Numbers that carry their derivatives along one variable."""

from __future__ import annotations

import operator
from collections.abc import Callable
from itertools import zip_longest
from typing import Any


class Jet:
    r"""Taylor coefficients :math:`f^{(k)}/k!` of a function up to some order; zeros are left out.

    Coefficients may be tensors, floats, or anything else that can be added and multiplied.

    Examples
    --------
    >>> x = Jet([3.0, 1.0], order=2)
    >>> (x * x * x + 1).parts
    [28.0, 27.0, 9.0]
    """

    def __init__(self, parts: list[Any], order: int) -> None:
        self.parts, self.order = parts[: order + 1], order

    def __add__(self, other: Any) -> Jet:
        others = other.parts if isinstance(other, Jet) else [other]
        pairs = zip_longest(self.parts, others)
        return Jet([b if a is None else a if b is None else a + b for a, b in pairs], self.order)

    def __sub__(self, other: Jet) -> Jet:
        return self + other * -1.0

    def __mul__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return self.map(lambda part: part * other)
        return self._product(other, operator.mul)

    def __matmul__(self, other: Jet) -> Jet:
        return self._product(other, operator.matmul)

    def map(self, linear: Callable[[Any], Any]) -> Jet:
        """A linear function of it."""
        return Jet([linear(part) for part in self.parts], self.order)

    def _product(self, other: Jet, times: Callable[[Any, Any], Any]) -> Jet:
        found: list[Any] = []
        for i, a in enumerate(self.parts):
            for k, b in enumerate(other.parts[: self.order + 1 - i], start=i):
                if k == len(found):
                    found.append(times(a, b))
                else:
                    found[k] = found[k] + times(a, b)
        return Jet(found, self.order)
