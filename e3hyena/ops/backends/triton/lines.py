"""Formulas that write themselves down as lines of a kernel."""

from __future__ import annotations

from typing import Any


class Line:
    """A value of a kernel; arithmetic writes another line of it.

    Examples
    --------
    >>> x = Line([], "tl.load(x_all + m)")
    >>> y = x * x + x
    >>> y.lines
    ['v0 = tl.load(x_all + m)', 'v1 = v0 * v0', 'v2 = v1 + v0']
    """

    def __init__(self, lines: list[str], value: str) -> None:
        self.lines, self.name = lines, f"v{len(lines)}"
        lines.append(f"{self.name} = {value}")

    def put(self, form: str) -> Line:
        """An expression of it, such as ``tl.trans({})``."""
        return Line(self.lines, form.format(self.name))

    def __add__(self, other: Any) -> Line:
        return self.put(f"{{}} + {_text(other)}")

    def __mul__(self, other: Any) -> Line:
        return self.put(f"{{}} * {_text(other)}")

    def __truediv__(self, other: Any) -> Line:
        return self.put(f"{{}} / {_text(other)}")

    def __matmul__(self, other: Line) -> Line:
        return self.put(f"dot({{}}, {other.name})")

    def __lt__(self, other: Any) -> Line:
        return self.put(f"{{}} < {_text(other)}")

    __radd__, __rmul__ = __add__, __mul__

    @staticmethod
    def sin(x: Line) -> Line:
        """As of torch."""
        return x.put("tl.sin({})")

    @staticmethod
    def cos(x: Line) -> Line:
        """As of torch."""
        return x.put("tl.cos({})")

    @staticmethod
    def where(condition: Line, yes: Any, no: Any) -> Line:
        """As of torch."""
        return condition.put(f"tl.where({{}}, {_text(yes)}, {_text(no)})")


def _text(number: Any) -> str:
    return number.name if isinstance(number, Line) else f"tl.full((), {float(number)!r}, T)"
