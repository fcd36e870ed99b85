"""One layer of a network of atoms."""

from typing import Any

from e3nn import o3
from torch import Tensor

from e3hyena.nn.interaction import Interaction
from e3hyena.nn.local_global import LocalGlobalBlock
from e3hyena.nn.reach import Kinds
from e3hyena.ops.segments import Segments


class HyenaLayer(LocalGlobalBlock):
    """:class:`LocalGlobalBlock` around an :class:`Interaction`."""

    def __init__(
        self, irreps: o3.Irreps, *, cutoff: float | None, mixer: str | None, **options: Any
    ) -> None:
        interaction = None if cutoff is None else Interaction(irreps, cutoff=cutoff)
        super().__init__(irreps, interaction, mixer=mixer, **options)

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        pos: Tensor,
        edge_index: Tensor | None,
        segments: Segments,
        geometry: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """``(T, irreps.dim)`` -> the same."""
        return super().forward(x, edge_index, segments, pos=pos, geometry=geometry)

    def geometry(
        self, pos: Tensor, edge_index: Tensor, offset: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What depends on the edges only, see :meth:`Interaction.geometry`."""
        assert isinstance(self.interaction, Interaction)
        return self.interaction.geometry(pos, edge_index, offset)

    def reached(self, given: Kinds) -> Kinds:
        """Kinds of irreps that are not zero after the layer, for atoms of the given kinds."""
        if self.norm is not None:
            assert isinstance(self.interaction, Interaction)
            given = given | self.interaction.reached(given)
        return self.block.reached(given)
