"""Checks for equivariant modules, for users' own layers as much as for the ones in this package.

Every check measures errors relative to the largest absolute output, in float32 and in float64, and
first makes sure that there is something to measure: outputs are finite, not all zero, and depend on
the input. Failures are :class:`AssertionError`, wrong use is :class:`ValueError`.
"""

from e3hyena.testing.batches import BATCH_TOLERANCE, assert_batch_independent
from e3hyena.testing.elements import Element, random_element, wigner_matrix
from e3hyena.testing.equivariance import assert_equivariant
from e3hyena.testing.measure import NETWORK_TOLERANCE, OPERATOR_TOLERANCE, Errors, Tolerance
from e3hyena.testing.parameters import perturb_parameters, train_steps
from e3hyena.testing.permutation import assert_permutation_equivariant

__all__ = [
    "BATCH_TOLERANCE", "NETWORK_TOLERANCE", "OPERATOR_TOLERANCE", "Element", "Errors",
    "Tolerance", "assert_batch_independent", "assert_equivariant",
    "assert_permutation_equivariant", "perturb_parameters", "random_element", "train_steps",
    "wigner_matrix",
]  # fmt: skip
