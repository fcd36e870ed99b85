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

if TYPE_CHECKING:
    from e3hyena.ops.window import Window

Value = TypeVar("Value")


class _computed_once(Generic[Value]):
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

    def mask(self, device: torch.device) -> Tensor:
        """``(B, N)``, true at real tokens."""
        lengths = torch.tensor(self.lengths, device=device)
        return torch.arange(self.size, device=device) < lengths[:, None]


class Segments:
    """The graphs of a packed batch."""

    window: Window | None = None  # whom a token hears, for the mixers that have a range

    def __init__(self, lengths: tuple[int, ...], device: torch.device | str = "cpu") -> None:
        self.lengths = lengths
        self.device = torch.device(device)

    def within(self, window: Window) -> Segments:
        """The same graphs, in which a mixer that has a range hears these pairs."""
        segments = copy.copy(self)
        segments.window = window
        return segments

    @classmethod
    def build(
        cls,
        num_tokens: int,
        batch: Tensor | Segments | None = None,
        ptr: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> Segments:
        """Read PyG's ``batch`` (sorted graph index per token) or ``ptr`` (offsets); check both."""
        if isinstance(batch, Segments):
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
        return cls(_lengths_from_batch(batch, num_tokens), device)

    @property
    def num_graphs(self) -> int:
        """Number of graphs, empty ones included."""
        return len(self.lengths)

    @_computed_once
    def sizes(self) -> Tensor:
        """Tokens per graph, ``(num_graphs,)``."""
        return torch.tensor(self.lengths, device=self.device, dtype=torch.long)

    @_computed_once
    def starts(self) -> Tensor:
        """First token of every graph, ``(num_graphs,)``."""
        return self.sizes.cumsum(0) - self.sizes

    @_computed_once
    def ptr(self) -> Tensor:
        """Offsets of the graphs, ``(num_graphs + 1,)``."""
        return torch.nn.functional.pad(self.sizes.cumsum(0), (1, 0))

    @_computed_once
    def index(self) -> Tensor:
        """Graph of every token, ``(num_tokens,)``."""
        graphs = torch.arange(self.num_graphs, device=self.device)
        return torch.repeat_interleave(graphs, self.sizes, output_size=sum(self.lengths))

    @_computed_once
    def position(self) -> Tensor:
        """Position of every token within its graph, ``(num_tokens,)``."""
        tokens = torch.arange(sum(self.lengths), device=self.device)
        return tokens - self.starts[self.index]

    @_computed_once
    def exact(self) -> DenseGroups:
        """Graphs grouped by equal length: no padding anywhere."""
        return DenseGroups(self, [0])

    @_computed_once
    def similar(self) -> DenseGroups:
        """Graphs grouped by similar length and padded to the longest of their group."""
        return DenseGroups(self, [8, 16, 24, 32, 48, 64, 96, 128, 192, 256])


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

    @_computed_once
    def _forward_index(self) -> Tensor:
        """Token at every dense place, -1 at padding."""
        parts = []
        for group in self.groups:
            start = self.segments.starts[torch.tensor(group.graphs, device=self.segments.device)]
            offsets = torch.arange(group.size, device=start.device)
            mask = group.mask(start.device)
            parts.append(torch.where(mask, start[:, None] + offsets, -1).flatten())
        return torch.cat(parts)

    @_computed_once
    def _inverse_index(self) -> Tensor:
        """Dense place of every token."""
        forward = self._forward_index
        inverse = torch.full((sum(self.segments.lengths),), -1, device=forward.device)
        valid = forward >= 0
        inverse[forward[valid]] = valid.nonzero().squeeze(1)
        return inverse

    def gather(self, x: Tensor) -> list[Tensor]:
        """``(C, d, num_tokens)`` -> one ``(C, d, B, N)`` per group, zeros at padding."""
        if not self.groups:
            return []
        if self._trivial:
            return [x.unflatten(-1, (len(self.groups[0].graphs), self.groups[0].size))]
        dense = _Regroup.apply(x, self._forward_index, self._inverse_index)
        sizes = [len(group.graphs) * group.size for group in self.groups]
        return [
            part.unflatten(-1, (len(group.graphs), group.size))
            for part, group in zip(dense.split(sizes, dim=-1), self.groups, strict=True)
        ]

    def scatter(self, parts: list[Tensor], like: Tensor) -> Tensor:
        """The reverse of :meth:`gather`; padding is dropped. ``like`` serves when all is empty."""
        if not parts:
            return like.new_zeros(like.shape)
        if self._trivial:
            return parts[0].flatten(-2)
        dense = torch.cat([part.flatten(-2) for part in parts], dim=-1)
        return _Regroup.apply(dense, self._inverse_index, self._forward_index)


class _Regroup(torch.autograd.Function):
    """Gather along the last axis by an injective index (-1: zero); its adjoint is its inverse."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        gathered = x.index_select(-1, index.clamp(min=0))
        return torch.where(index >= 0, gathered, 0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors
        return _Regroup.apply(grad, inverse, index), None, None


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
    return tuple(torch.bincount(batch).tolist())


def _lengths_from_ptr(ptr: Tensor, num_tokens: int) -> tuple[int, ...]:
    _check_integer("ptr", ptr)
    ends = ptr.tolist()  # once; nothing is computed on the device, or under torch.func
    lengths = tuple(end - start for start, end in itertools.pairwise(ends))
    if not ends or ends[0] != 0 or ends[-1] != num_tokens or min(lengths, default=0) < 0:
        raise ValueError(
            f"ptr={ends[:8]}... must rise from 0 to the number of tokens, {num_tokens}"
        )
    return lengths


def _check_integer(name: str, value: Tensor) -> None:
    if not isinstance(value, Tensor) or value.dim() != 1:
        raise TypeError(f"{name} must be a one-dimensional integer tensor, not {value!r:.60}")
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name} has dtype {value.dtype}; use torch.long")


def _pad(lengths: tuple[int, ...], num_graphs: int) -> tuple[int, ...]:
    return lengths + (0,) * (num_graphs - len(lengths))
