"""What a mixer is: the only part of an operator that knows about other tokens."""

from typing import ClassVar

from e3nn import o3
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps
from e3hyena.ops.segments import Segments


class Mixer(nn.Module):
    """Base of all mixers.

    Parameters
    ----------
    hidden : ChannelIrreps
        Channels and per-channel irreps of q, k and v.

    Attributes
    ----------
    context : ChannelIrreps
        Channels and per-channel irreps of the result.
    companion : {"q", "v", None}
        Which operand the operator combines the result with by a tensor product.
    ordered : bool
        Whether the result depends on the order of the tokens.
    ranged : bool
        Whether there is an option ``range``.
    cost, purpose : str
        For tables: time and memory, and what the mixer is for.
    """

    companion: str | None = None
    ordered: ClassVar[bool] = False
    ranged: ClassVar[bool] = False
    cost: ClassVar[str] = ""
    purpose: ClassVar[str] = ""

    def __init__(self, hidden: ChannelIrreps) -> None:
        super().__init__()
        self.hidden = hidden
        self.context = hidden

    def reached(self, given: set[o3.Irrep]) -> set[o3.Irrep]:
        """Kinds of irreps in the result that are not zero, for operands of the given kinds."""
        return {ir for _, ir in self.context.per_channel} & given

    @classmethod
    def symmetry(cls) -> str:
        """Under what the mixer is equivariant."""
        return "E(3)" if cls.ordered else "E(3) and permutations, exactly"

    def forward(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """Mix ``(C, d, T)`` operands within every graph; the result is ``(C, d_context, T)``."""
        raise NotImplementedError
