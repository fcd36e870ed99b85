"""Relative errors in two dtypes, and what makes a measurement meaningful."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from e3nn import o3
from torch import Tensor

from e3hyena.testing.arguments import POINTS, Spec, Subject, jitter, name_of

Tolerance = tuple[float, float]
"""Largest error relative to the largest absolute output, in float32 and in float64."""

OPERATOR_TOLERANCE: Tolerance = (5e-6, 1e-12)
NETWORK_TOLERANCE: Tolerance = (1e-4, 1e-10)

MIN_RATIO = 1e4  # round-off shrinks by 5e8 from float32 to float64, a broken symmetry does not
MIN_CHANGE = 1e-6  # of the output, when the input changes by a tenth
ROUND_OFF = 16 * torch.finfo(torch.float64).eps  # below this a ratio says nothing


@dataclass(frozen=True)
class Errors:
    """Largest relative errors measured.

    Parameters
    ----------
    float32, float64 : float
        Error relative to the largest absolute output, in each dtype.
    """

    float32: float
    float64: float

    @property
    def ratio(self) -> float:
        """float32 over float64 error: above 1e4 for round-off, about 1 for a broken symmetry."""
        return self.float32 / self.float64 if self.float64 > 0 else float("inf")


def relative_error(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest over outputs of ``max |actual - expected| / max |expected|``."""
    errors = [0.0]
    for a, e in zip(actual, expected, strict=True):
        if a.shape != e.shape:
            raise AssertionError(f"output shapes differ: {tuple(a.shape)} and {tuple(e.shape)}")
        if e.numel() > 0:
            scale = e.abs().max().item()
            errors.append((a - e).abs().max().item() / (scale if scale > 0 else 1.0))
    return float("nan") if any(e != e for e in errors) else max(errors)


def require_small(error: float, limit: float, subject: Subject, what: str) -> float:
    """Raise when an error is above its limit or not a number."""
    __tracebackhide__ = True
    if not error <= limit:
        raise AssertionError(
            f"{subject.name}: {what}: relative error {error:.2e} in "
            f"{subject.dtype}, tolerance {limit:.0e}"
        )
    return error


def require_ratio(errors: Errors, module: object) -> Errors:
    """Raise when the error does not shrink with the precision, as round-off does."""
    __tracebackhide__ = True
    if errors.float64 > ROUND_OFF and errors.ratio < MIN_RATIO:
        raise AssertionError(
            f"{name_of(module)}: the error hardly shrinks from float32 ({errors.float32:.2e}) to "
            f"float64 ({errors.float64:.2e}): not round-off. Coefficients rounded to float32? "
            "Build the module under torch.set_default_dtype(torch.float64)"
        )
    return errors


def require_meaningful(
    subject: Subject,
    arguments: Sequence[Any],
    specs_in: Sequence[Spec],
    outputs: Sequence[Tensor],
    limit: float,
    seed: int,
) -> None:
    """Raise unless outputs are finite, reproducible, not all zero and depend on the input."""
    __tracebackhide__ = True
    where = f"in {subject.dtype}, seed {seed}"
    if not all(tensor.isfinite().all() for tensor in outputs):
        raise AssertionError(f"{subject.name}: output is not finite {where}")
    require_small(
        relative_error(subject(arguments), outputs),
        limit,
        subject,
        "two calls differ (random? call .eval() first)",
    )
    if all(tensor.numel() == 0 for tensor in outputs):
        return
    if not any(tensor.any() for tensor in outputs):
        raise AssertionError(f"{subject.name}: output is all zero {where}: nothing to check")
    if relative_error(subject(jitter(arguments, specs_in, seed)), outputs) < MIN_CHANGE:
        raise AssertionError(f"{subject.name}: output does not depend on the input {where}")


def require_non_scalar(
    subject: Subject, outputs: Sequence[Tensor], specs_out: Sequence[Spec]
) -> None:
    """Raise when all components that a rotation or reflection would change are zero."""
    __tracebackhide__ = True
    moving = []
    for tensor, spec in zip(outputs, specs_out, strict=True):
        if spec is None or spec == POINTS:
            moving += [tensor] if spec == POINTS else []
            continue
        irreps = o3.Irreps(spec)
        parts = zip(irreps, irreps.slices(), strict=True)
        moving += [tensor[..., part] for (_, ir), part in parts if not ir.is_scalar()]
    moving = [tensor for tensor in moving if tensor.numel() > 0]
    if moving and not any(tensor.any() for tensor in moving):
        raise AssertionError(
            f"{subject.name}: all components other than 0e are zero in {subject.dtype}: "
            "nothing to check"
        )
