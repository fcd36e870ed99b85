"""Three attention layers and what takes their place, called alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from e3nn import o3
from e3nn.math import soft_one_hot_linspace
from torch import Tensor, nn

from benchmarks.networks.equiformer_attention import EquiformerStyleAttention
from benchmarks.networks.guide_attention import GuideAttention
from e3hyena.nn.adapters import E3toolsTransformerBlock, EquiformerAttention, GuideTransformer
from e3hyena.ops.radius_graph import radius_graph

SH = "0e + 1o + 2e"
SCALARS = 10
WIDE = "32x0e + 32x1o"
GUIDE = "10x0e + 5x1o + 2x2e", "14x0e + 6x1o"  # irreps of input and output in e3nn's guide


@dataclass(frozen=True)
class Edges:
    """A radius graph: sources and targets, harmonics, and a radial basis."""

    index: Tensor
    harmonics: Tensor
    scalars: Tensor

    @classmethod
    def build(cls, pos: Tensor, radius: float) -> Edges:
        """All pairs within the radius."""
        index = radius_graph(pos.detach(), radius)
        vector = pos[index[0]] - pos[index[1]]
        basis = soft_one_hot_linspace(
            vector.norm(dim=1), 0.0, radius, SCALARS, basis="smooth_finite", cutoff=True
        )
        harmonics = o3.spherical_harmonics(SH, vector, True, normalization="component")
        return cls(index, harmonics, SCALARS**0.5 * basis)


@dataclass(frozen=True)
class Case:
    """An attention layer, from the radius of its edges, and the layer that takes its place.

    Both are called with `arguments` (features, positions, edges), the latter with `extra` besides.
    """

    irreps_in: str
    irreps_out: str
    attention: Callable[[float], nn.Module]
    swapped: Callable[[], nn.Module]
    arguments: Callable[[Tensor, Tensor, Edges], tuple[Any, ...]]
    extra: tuple[Any, ...] = ()


class OnPoints(nn.Module):
    """A layer of a case as a function of features and positions, edges included."""

    def __init__(self, case: Case, radius: float, *, swapped: bool) -> None:
        super().__init__()
        self.irreps_in = (case.irreps_in, "cartesian_points")
        self.irreps_out = (case.irreps_out,)
        self.arguments, self.extra = case.arguments, case.extra if swapped else ()
        self.radius = radius
        self.layer = case.swapped() if swapped else case.attention(radius)

    def forward(self, x: Tensor, pos: Tensor, edges: Edges | None = None) -> Tensor:
        """``(T, irreps_in.dim)`` and ``(T, 3)`` -> ``(T, irreps_out.dim)``."""
        edges = Edges.build(pos, self.radius) if edges is None else edges
        return self.layer(*self.arguments(x, pos, edges), *self.extra)


def draw_points(length: int) -> Tensor:
    """Positions in a cube, one per unit volume."""
    return length ** (1 / 3) * torch.rand(length, 3)


def radius_for(neighbours: float) -> float:
    """Radius of a sphere with so many points, at one per unit volume."""
    return (3 * (neighbours + 1) / (4 * math.pi)) ** (1 / 3)


def radius_of_all_pairs(length: int) -> float:
    """A little more than the diagonal of the cube."""
    return 1.01 * 3**0.5 * length ** (1 / 3)


def _e3tools(conv: str | None) -> Case:
    def attention(radius: float) -> nn.Module:
        e3tools = import_module("e3tools.nn")
        irreps = o3.Irreps(WIDE)
        kind = conv and getattr(e3tools, conv)
        return e3tools.TransformerBlock(
            irreps, irreps, o3.Irreps(SH), SCALARS, num_heads=4, conv=kind
        )

    return Case(
        WIDE,
        WIDE,
        attention,
        lambda: E3toolsTransformerBlock(WIDE, WIDE, SH, SCALARS),
        lambda x, pos, edges: (x, edges.index, edges.scalars, edges.harmonics),
        extra=(None,),  # batch
    )


CASES: dict[str, Case] = {
    "transformer of e3nn's guide": Case(
        *GUIDE,
        lambda radius: GuideAttention(
            *GUIDE,
            irreps_query="11x0e + 4x1o",
            irreps_key="12x0e + 3x1o",
            irreps_sh="0e + 1o + 2e + 3o",
            max_radius=radius,
        ),
        lambda: GuideTransformer(*GUIDE),
        lambda x, pos, edges: (x, pos),
    ),
    "e3tools TransformerBlock": _e3tools(None),
    "the same with SeparableConv": _e3tools("SeparableConv"),
    "Equiformer-style attention": Case(
        WIDE,
        WIDE,
        lambda radius: EquiformerStyleAttention(WIDE, SH, WIDE, num_edge_scalars=SCALARS),
        lambda: EquiformerAttention(WIDE, SH, WIDE, num_edge_scalars=SCALARS),
        lambda x, pos, edges: (x, None, *edges.index, edges.harmonics, edges.scalars, None),
    ),
}
