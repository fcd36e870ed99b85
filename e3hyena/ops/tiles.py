"""Graphs whose number and sizes are known to the program that runs, not to who exports it."""

from __future__ import annotations

import torch
from torch import Tensor

from e3hyena.ops.places import Drop, Spread
from e3hyena.ops.segments import Segments

WIDTH = 32  # tokens of a tile


class TiledSegments(Segments):
    r"""Graphs cut into tiles of 32 tokens, the last of each padded; for ``torch.export``.

    .. math:: \text{tile of token } t \text{ of graph } g = \lfloor s_g/32 \rfloor + g +
              \lfloor (t - s_g)/32 \rfloor

    with :math:`s_g` the first token of the graph: no two graphs share a tile, and T tokens of B
    graphs have at most :math:`T/32 + B` tiles, whatever the sizes. Sums over graphs are sums over
    tiles, then over the tiles of a graph.

    Parameters
    ----------
    num_tokens : int
        T; a symbol while torch exports.
    batch : Tensor, optional
        Graph of every token, sorted; their number is read from the last one.
    ptr : Tensor, optional
        Offsets of the graphs, ``(B + 1,)``. Without both all tokens are one graph.

    Examples
    --------
    >>> segments = TiledSegments(5, ptr=torch.tensor([0, 2, 2, 5]))
    >>> segments.index.tolist(), segments.sizes.tolist(), segments.tile.tolist()
    ([0, 0, 2, 2, 2], [2, 0, 3], [0, 0, 2])
    """

    def __init__(
        self,
        num_tokens: int,
        batch: Tensor | None = None,
        ptr: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        tokens = torch.arange(num_tokens, device=device)
        if ptr is not None:
            # a number that is read, not a shape: then one graph is no case of its own
            self.num_graphs = _read(ptr.new_full((), ptr.shape[0] - 1))
            self.index = torch.searchsorted(ptr, tokens, right=True) - 1
        elif batch is not None:
            self.num_graphs = count_graphs(batch)
            self.index = batch.long()
        else:
            self.num_graphs, self.index = 1, torch.zeros_like(tokens)
        self.sizes = tokens.new_zeros(self.num_graphs).index_add(
            0, self.index, torch.ones_like(tokens)
        )
        self.position = tokens - self.starts.index_select(0, self.index)
        graphs = torch.arange(self.num_graphs, device=device)
        first = (self.starts // WIDTH + graphs).index_select(0, self.index)
        tile = first + self.position // WIDTH
        # read as well: of a number that follows from T, compilers keep what holds for small T
        self._number = _read(tile[-1]) + 1
        place = tile * WIDTH + self.position % WIDTH
        token = tokens.new_full((self._number * WIDTH,), -1).scatter(0, place, tokens)
        self._indices = token.clamp(min=0), token < 0, place
        self.tile = tokens.new_zeros(self._number).scatter(0, tile, self.index)  # its graph

    @property
    def lengths(self) -> tuple[int, ...]:  # type: ignore[override]
        """Unknown here."""
        raise ValueError(
            "while torch exports, sizes of graphs are not known: mixers that follow the order of "
            "the tokens (query_key, filter), whose transforms have the length of a graph, and "
            "attention on several graphs cannot be exported for any size; take 'coordinate' or "
            "'linear_attention', or export one graph of a fixed length without batch and ptr"
        )

    def gather(self, x: Tensor) -> Tensor:
        """``(..., T)`` -> ``(..., tiles, 32)``, zeros at padding."""
        tiled: Tensor = Spread.apply(x, *self._indices)
        return tiled.unflatten(-1, (self._number, WIDTH))

    def scatter(self, x: Tensor) -> Tensor:
        """The reverse of :meth:`gather`; padding is dropped."""
        tokens: Tensor = Drop.apply(x.flatten(-2), *self._indices)
        return tokens

    def sum(self, x: Tensor, dim: int) -> Tensor:
        """Sums over the tiles of every graph, along the axis of the tiles."""
        shape = list(x.shape)
        shape[dim] = self.num_graphs
        return x.new_zeros(shape).index_add(dim, self.tile, x)

    def spread(self, x: Tensor, dim: int) -> Tensor:
        """What a graph has, for each of its tiles."""
        return x.index_select(dim, self.tile)


def count_graphs(batch: Tensor) -> int:
    """One more than the last graph; a symbol while torch exports."""
    return _read(batch[-1]) + 1


def _read(number: Tensor) -> int:
    """A number that nobody knows yet, as a symbol that is not negative."""
    found: int = number.item()  # type: ignore[assignment]
    torch.sym_constrain_range_for_size(found, min=0)
    return found
