"""Decimal numbers as byte planes, which compress well and read back exactly."""

import numpy as np


def encode(values: np.ndarray, decimals: int) -> np.ndarray:
    """Round to `decimals` digits after the point and store as 32-bit integers, plane by plane."""
    scaled = np.rint(np.asarray(values, np.float64) * 10**decimals)
    if not (np.abs(scaled) < 2**31).all():
        raise ValueError(
            f"values up to {np.abs(values).max()} do not fit 32 bits with {decimals} decimals"
        )
    integers = scaled.astype("<i4")
    # Signed numbers near zero differ in every byte: fold the sign into the lowest bit.
    folded = ((integers << 1) ^ (integers >> 31)).view("<u4")
    return np.ascontiguousarray(np.moveaxis(folded[..., None].view(np.uint8), -1, 0))


def decode(planes: np.ndarray, decimals: int) -> np.ndarray:
    """The numbers that `encode` stored, as float64 of shape ``planes.shape[1:]``."""
    folded = np.ascontiguousarray(np.moveaxis(planes, 0, -1)).view("<u4")[..., 0]
    integers = (folded >> 1).astype(np.int32) ^ -(folded & 1).astype(np.int32)
    return integers / 10**decimals
