"""Ragged batches: which tokens belong to which graph, and how graphs are laid side by side.

Features are packed as ``(C, d, num_tokens)``, the tokens of a graph in order. Mixers that need a
dense axis gather graphs of equal length (or of similar length, padded) into ``(C, d, B, N)``.
"""

from __future__ import annotations

import copy
import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from e3hyena.ops.backends import launches
from e3hyena.ops.exporting import exporting
from e3hyena.ops.places import Drop, Spread

if TYPE_CHECKING:
    from e3hyena.ops.window import Window

_FINE = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256]
_COARSE = [32, 64, 128, 256, 512]
Value = TypeVar("Value")


class computed_once(Generic[Value]):
    """``functools.cached_property`` without the lock of Python 3.11, which dynamo cannot trace."""

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self.compute = compute
        self.name, self.__doc__ = compute.__name__, compute.__doc__

    def __get__(self, instance: Any, owner: type) -> Value:
        if instance is None:
            return self  # type: ignore[return-value]
        value = self.compute(instance)
        setattr(instance, self.name, value)
        return value


@dataclass(frozen=True)
class DenseGroup:
    """Graphs of these B true lengths, together as one dense ``(C, d, B, N)`` tensor of `size` N."""

    lengths: tuple[int, ...]
    size: int
    graphs: tuple[int, ...]

    @property
    def padded(self) -> bool:
        """Whether any graph is shorter than N."""
        return any(length != self.size for length in self.lengths)


class Segments:
    """The graphs of a packed batch.

    What a token needs to know of others goes through :meth:`across`, :meth:`around`,
    :meth:`pool` and :meth:`mean`, which :mod:`e3hyena.parallel` overrides where they are elsewhere.
    """

    window: Window | None = None  # whom a token hears, for the mixers that have a range

    def __init__(self, lengths: tuple[int, ...], device: torch.device | str = "cpu") -> None:
        self.lengths = lengths
        self.num_graphs = len(lengths)
        self.device = torch.device(device)

    @classmethod
    def described(cls, ptr: Tensor, index: Tensor | None, num_tokens: int) -> Segments:
        """Graphs given by tensors alone, unchecked; lengths are read if somebody asks for them."""
        segments = cls.__new__(cls)
        segments.num_graphs, segments.device = len(ptr) - 1, ptr.device
        segments.ptr, segments.sizes = ptr, ptr.diff()
        if index is None:
            graphs = torch.arange(segments.num_graphs, device=ptr.device)
            index = torch.repeat_interleave(graphs, segments.sizes, output_size=num_tokens)
        segments.index = index
        return segments

    def within(self, window: Window) -> Segments:
        """The same graphs, in which a mixer that has a range hears these pairs."""
        segments = copy.copy(self)
        segments.window = window
        return segments

    def across(self, module: Callable[..., Any]) -> Callable[..., Any]:
        """A module in which tokens hear of each other, as it is to be called."""
        return module

    def around(self, x: Tensor) -> Tensor:
        """Rows of the tokens, and of those elsewhere to which there are edges."""
        return x

    def pool(self, x: Tensor, reduce: str) -> Tensor:
        """Sum or mean of every graph, ``(T, n)`` -> ``(num_graphs, n)``."""
        return scatter(x, self.index, dim=0, dim_size=self.num_graphs, reduce=reduce)

    def mean(self, x: Tensor) -> Tensor:
        """Mean over the graph, for every token, ``(T, n)``."""
        return self.pool(x, "mean").index_select(0, self.index)

    @classmethod
    def build(
        cls,
        num_tokens: int,
        batch: Tensor | Segments | None = None,
        ptr: Tensor | None = None,
        device: torch.device | str = "cpu",
        num_graphs: int | None = None,
    ) -> Segments:
        """Read PyG's ``batch`` (sorted graph index per token) or ``ptr`` (offsets); check both.

        The last of ``num_graphs`` may be empty.
        """
        if (
            exporting()
            and not isinstance(batch, Segments)
            and (batch is not None or ptr is not None or isinstance(num_tokens, torch.SymInt))
        ):
            from e3hyena.ops.tiles import TiledSegments  # a kind of Segments itself

            return TiledSegments(num_tokens, batch, ptr, device)
        if torch.compiler.is_compiling() and ptr is not None:
            return cls.described(ptr, batch if isinstance(batch, Tensor) else None, num_tokens)
        if isinstance(batch, Segments):
            if "lengths" not in vars(batch):
                return batch
            if sum(batch.lengths) != num_tokens:
                raise ValueError(f"segments of {sum(batch.lengths)} tokens for {num_tokens} tokens")
            return batch
        if batch is None and ptr is None:
            return cls((num_tokens,), device)
        if ptr is not None:
            lengths = _lengths_from_ptr(ptr, num_tokens)
            if batch is not None and lengths != _pad(
                _lengths_from_batch(batch, num_tokens), len(lengths)
            ):
                raise ValueError("batch and ptr name different graphs; pass one of them")
            return cls(lengths, device)
        assert batch is not None
        lengths = _lengths_from_batch(batch, num_tokens)
        if num_graphs is not None and num_graphs < len(lengths):
            raise ValueError(f"batch names graph {len(lengths) - 1}, of {num_graphs}")
        return cls(_pad(lengths, num_graphs or 0), device)

    @computed_once
    def lengths(self) -> tuple[int, ...]:
        """Tokens per graph, on the host."""
        return tuple(self.sizes.tolist())

    @computed_once
    def longest(self) -> int:
        """Most tokens of a graph."""
        return max(self.lengths, default=0)

    @computed_once
    def sizes(self) -> Tensor:
        """Tokens per graph, ``(num_graphs,)``."""
        return torch.tensor(self.lengths, device=self.device, dtype=torch.long)

    @computed_once
    def starts(self) -> Tensor:
        """First token of every graph, ``(num_graphs,)``."""
        return self.ptr[:-1]

    @computed_once
    def ptr(self) -> Tensor:
        """Offsets of the graphs, ``(num_graphs + 1,)``."""
        return torch.nn.functional.pad(self.sizes.cumsum(0), (1, 0))

    @computed_once
    def index(self) -> Tensor:
        """Graph of every token, ``(num_tokens,)``."""
        graphs = torch.arange(self.num_graphs, device=self.device)
        return torch.repeat_interleave(graphs, self.sizes, output_size=sum(self.lengths))

    @computed_once
    def position(self) -> Tensor:
        """Position of every token within its graph, ``(num_tokens,)``."""
        tokens = torch.arange(len(self.index), device=self.device)
        return tokens - self.starts[self.index]

    @computed_once
    def exact(self) -> DenseGroups:
        """Graphs grouped by equal length: no padding anywhere."""
        return DenseGroups(self, [0])

    @computed_once
    def similar(self) -> DenseGroups:
        """Graphs grouped by similar length and padded to the longest of their group."""
        few = launches.few_launches(self.device)
        return DenseGroups(self, _COARSE if few else _FINE)


class DenseGroups:
    """A partition of a batch into dense groups, with the gathers there and back."""

    def __init__(self, segments: Segments, ladder: list[int]) -> None:
        by_rung: dict[int, list[int]] = defaultdict(list)
        for graph, length in enumerate(segments.lengths):
            if length:
                rung = next((size for size in ladder if length <= size), length)
                by_rung[rung].append(graph)
        self.segments = segments
        self.groups = []
        for _, graphs in sorted(by_rung.items()):
            lengths = tuple(segments.lengths[graph] for graph in graphs)
            self.groups.append(DenseGroup(lengths, max(lengths), tuple(graphs)))
        self._trivial = len(self.groups) == 1 and not self.groups[0].padded

    @computed_once
    def masks(self) -> list[Tensor | None]:
        """True at real tokens, ``(B, N)`` per group; None without padding."""
        return [self._mask(g).to(self._device) if g.padded else None for g in self.groups]

    @computed_once
    def sizes(self) -> list[Tensor]:
        """True lengths, ``(B,)`` per group."""
        return [torch.tensor(g.lengths, device=self._device) for g in self.groups]

    @computed_once
    def _indices(self) -> tuple[Tensor, Tensor, Tensor]:
        """Token at every dense place, which places are padding, and the place of every token.

        Made on the host, which knows the lengths, and copied once per batch.
        """
        sizes = torch.tensor(self.segments.lengths, device="cpu")
        starts = sizes.cumsum(0) - sizes
        places, masks = [], []
        for group in self.groups:
            place = torch.arange(group.size, device="cpu")
            masks.append(self._mask(group))
            places.append(starts[list(group.graphs), None] + place.where(masks[-1], place[0]))
        index, real = (torch.cat([part.flatten() for part in p]) for p in (places, masks))
        inverse = torch.empty(int(sizes.sum()), dtype=torch.long, device="cpu")
        inverse[index[real]] = real.nonzero().squeeze(1)
        first, second, third = (x.to(self._device) for x in (index, ~real, inverse))
        return first, second, third

    @staticmethod
    def _mask(group: DenseGroup) -> Tensor:
        lengths = torch.tensor(group.lengths, device="cpu")
        return torch.arange(group.size, device="cpu") < lengths[:, None]

    @property
    def _device(self) -> torch.device:
        return self.segments.device

    def gather(self, x: Tensor) -> list[Tensor]:
        """``(C, d, num_tokens)`` -> one ``(C, d, B, N)`` per group, zeros at padding."""
        if not self.groups:
            return []
        if self._trivial:
            return [x.unflatten(-1, (len(self.groups[0].graphs), self.groups[0].size))]
        dense = Spread.apply(x, *self._indices)
        sizes = [len(group.graphs) * group.size for group in self.groups]
        return [
            part.unflatten(-1, (len(group.graphs), group.size))
            for part, group in zip(dense.split(sizes, dim=-1), self.groups, strict=True)
        ]

    def together(self, *xs: Tensor) -> list[tuple[Tensor, ...]]:
        """What ``gather`` makes of several tensors, by group; where it saves launches, at once."""
        if self._trivial or not launches.few_launches(self._device):
            return list(zip(*(self.gather(x) for x in xs), strict=True))
        rows = [x.shape[:-1].numel() for x in xs]
        return [
            tuple(
                part.unflatten(0, x.shape[:-1])
                for part, x in zip(joint.split(rows), xs, strict=True)
            )
            for joint in self.gather(torch.cat([x.flatten(0, -2) for x in xs]))
        ]

    def scatter(self, parts: list[Tensor], like: Tensor) -> Tensor:
        """The reverse of :meth:`gather`; padding is dropped. ``like`` serves when all is empty."""
        if not parts:
            return like.new_zeros(like.shape)
        if self._trivial:
            return parts[0].flatten(-2)
        flat = [part.flatten(-2) for part in parts]
        dense = torch.cat(flat, dim=-1) if len(flat) > 1 else flat[0]
        return Drop.apply(dense, *self._indices)


def _lengths_from_batch(batch: Tensor, num_tokens: int) -> tuple[int, ...]:
    _check_integer("batch", batch)
    if len(batch) != num_tokens:
        raise ValueError(f"batch has {len(batch)} entries for {num_tokens} tokens")
    if not len(batch):
        return ()
    if (batch[1:] < batch[:-1]).any():
        raise ValueError(
            "batch is unsorted; sort the tokens by graph first: "
            "order = torch.argsort(batch, stable=True); x, batch = x[order], batch[order]"
        )
    if batch[0] < 0:
        raise ValueError(f"batch holds the negative graph index {int(batch[0])}")
    return tuple(_host(torch.bincount(batch)))


def _lengths_from_ptr(ptr: Tensor, num_tokens: int) -> tuple[int, ...]:
    _check_integer("ptr", ptr)
    ends = _host(ptr)  # once; nothing is computed on the device, or under torch.func
    lengths = tuple(end - start for start, end in itertools.pairwise(ends))
    if not ends or ends[0] != 0 or ends[-1] != num_tokens or min(lengths, default=0) < 0:
        raise ValueError(
            f"ptr={ends[:8]}... must rise from 0 to the number of tokens, {num_tokens}"
        )
    return lengths


def _host(numbers: Tensor) -> list[int]:
    try:
        return numbers.tolist()
    except RuntimeError:  # torch 2.4 under torch.func reads single numbers only
        return [int(number) for number in numbers]


def _check_integer(name: str, value: Tensor) -> None:
    if not isinstance(value, Tensor) or value.dim() != 1:
        given = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name} must be a one-dimensional integer tensor, not {given}")
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name} has dtype {value.dtype}; use torch.long")


def _pad(lengths: tuple[int, ...], num_graphs: int) -> tuple[int, ...]:
    return lengths + (0,) * (num_graphs - len(lengths))
