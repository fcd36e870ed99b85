"""Hyena behind the call signatures of other packages' attention layers.

Attention in e3nn models reads the geometry from edges. An operator sees features only, so an
adapter first writes the geometry into the features: :class:`EdgeMoments` of the edges that the
layer is called with, or positions relative to the centroid. Call it with the edges of a radius
graph, not with all pairs: what reaches further is the operator's.
"""

from e3hyena.nn.adapters.e3tools import E3toolsTransformerBlock
from e3hyena.nn.adapters.edge_moments import EdgeMoments
from e3hyena.nn.adapters.equiformer import EquiformerAttention
from e3hyena.nn.adapters.guide import GuideTransformer

__all__ = ["E3toolsTransformerBlock", "EdgeMoments", "EquiformerAttention", "GuideTransformer"]
