"""Ways to exchange information between tokens, one file each."""

import inspect
from collections.abc import Mapping
from typing import Any

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.base import Mixer
from e3hyena.registry import MIXERS

__all__ = ["MIXERS", "Mixer", "build_mixer", "mixer_table"]


def build_mixer(
    name: str,
    hidden: ChannelIrreps,
    boundary: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Mixer:
    """Build a mixer by name.

    Raises
    ------
    ValueError
        If the name is unknown, if a boundary is given to a mixer of sets, or a range to one of
        sequences.
    TypeError
        If the mixer has no such option.

    Examples
    --------
    >>> build_mixer("attention", ChannelIrreps("8x0e + 8x1o"), options={"heads": 2})
    Attention(heads=2, tensor_product_gating=False)
    """
    if name not in MIXERS:
        raise ValueError(f"mixer={name!r} is unknown; use one of {', '.join(MIXERS)}")
    options = dict(options or {})
    if boundary is not None:
        if not MIXERS[name].ordered:
            ordered = ", ".join(n for n, mixer in MIXERS.items() if mixer.ordered)
            raise ValueError(
                f"mixer={name!r} treats tokens as a set and has no boundary, but "
                f"boundary={boundary!r} was given; leave it out, or use {ordered}"
            )
        options["boundary"] = boundary
    if "range" in options and not MIXERS[name].ranged:
        ranged = ", ".join(n for n, mixer in MIXERS.items() if mixer.ranged)
        raise ValueError(
            f"mixer={name!r} convolves along the listing and has no range in space, but "
            f"range={options['range']!r} was given; leave it out, or use {ranged}"
        )
    known = [p for p in inspect.signature(MIXERS[name]).parameters if p != "hidden"]
    if unknown := sorted(options.keys() - set(known)):
        raise TypeError(f"mixer={name!r} has no option {unknown[0]!r}; it has {', '.join(known)}")
    return MIXERS[name](hidden, **options)


def mixer_table() -> str:
    """All mixers with cost, order, symmetry and purpose, as Markdown."""
    rows = [
        f"| `{name}` | {mixer.cost} | {'matters' if mixer.ordered else 'none'} "
        f"| {mixer.symmetry()} | {mixer.purpose} |"
        for name, mixer in MIXERS.items()
    ]
    head = ["| mixer | cost | order of the tokens | symmetry | for |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])
