"""Which kinds of irreps can be anything but zero: parity and the triangle rule decide."""

import warnings
from collections.abc import Callable, Iterable

from e3nn import o3

Kinds = set[o3.Irrep]


def kinds(irreps: o3.Irreps) -> Kinds:
    """Distinct irreps that occur."""
    return {ir for mul, ir in irreps if mul}


def on_the_way(wanted: Iterable[o3.Irrep]) -> Kinds:
    """Kinds through which products of vectors lead to the wanted ones, these included.

    Polar kinds (1o, 2e, ...) are harmonics of one vector, axial ones (1e, 2o, ...) products of a
    harmonic and a vector; ``0o`` takes three vectors, by way of 1o and 1e.
    """
    found = {o3.Irrep("0e")}
    for ir in wanted:
        found.add(ir)
        if ir.p != (-1) ** ir.l:
            found |= {o3.Irrep("1o"), o3.Irrep(max(ir.l, 1), (-1) ** max(ir.l, 1))}
        if str(ir) == "0o":
            found.add(o3.Irrep("1e"))
    return found


def fewest(own: Kinds, more: Kinds, enough: Callable[[Kinds], bool]) -> Kinds | None:
    """The own kinds and as few more as are enough; None where all are not."""
    found = own | more
    if not enough(found):
        return None
    for ir in sorted(more - own, reverse=True):
        if enough(found - {ir}):
            found = found - {ir}
    return found


def with_kinds(irreps: o3.Irreps, found: Kinds) -> o3.Irreps:
    """The irreps, with further kinds of the largest multiplicity among them."""
    largest = max((mul for mul, _ in irreps), default=0) or 1
    new = [(largest, ir) for ir in sorted(found - kinds(irreps))]
    return (irreps + o3.Irreps(new)).sort().irreps.simplify()


def warn_of_zeros(
    irreps_out: o3.Irreps, reached: Kinds, why: str, advice: str, stacklevel: int = 3
) -> None:
    """Warn of the kinds in the output that are always zero."""
    missing = sorted(kinds(irreps_out) - reached)
    if len(missing) == len(kinds(irreps_out)):
        what = "the output is"
    else:
        what = f"{', '.join(map(str, missing))} in irreps_out={irreps_out} is"
    warnings.warn(f"{what} always zero: {why}; {advice}", stacklevel=stacklevel)


def listed(found: Kinds) -> str:
    """Kinds in words."""
    return ", ".join(map(str, sorted(found))) or "nothing"
