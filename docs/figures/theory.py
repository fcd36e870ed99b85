"""Draw cost.png and kernel.png of the theory page. Run: python docs/figures/theory.py [FOLDER]"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent


def draw_cost() -> None:
    """Multiplications per channel `0e + 1o` (4 components), against the number of tokens."""
    n = 2.0 ** np.arange(5, 21)
    products, transforms, features = 10, 12, 47  # of 4 x 4 components; of q, k, u; of a head of 4
    curves = {
        "attention: all pairs": 2 * 4 * n**2,
        "long convolution, double sum": products * n**2,
        "long convolution, FFT": transforms * 2.5 * n * np.log2(n) + 4 * products * n / 2,
        "coordinate: moments and readout": (2 * 4 * features + features**2 / 4) * n,
    }
    figure, axes = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
    for label, count in curves.items():
        axes.loglog(n, count, label=label)
    axes.set(xlabel="tokens", ylabel="multiplications per channel 0e + 1o")
    axes.legend(fontsize="small")
    figure.savefig(FOLDER / "cost.png", dpi=130)


def draw_kernel() -> None:
    """The filter of `coordinate` over coordinate differences, and the sharpening polynomial."""
    rng = np.random.default_rng(3)
    difference = np.linspace(-12, 12, 600)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for modes in (1, 4, 16):
        frequency = np.concatenate([[0], np.geomspace(0.25, 2.0, max(modes - 1, 1))[: modes - 1]])
        order = np.maximum(np.arange(modes), 1)
        phase = np.multiply.outer(difference, frequency)
        taps = rng.standard_normal((2, modes)) / order
        kernel = (taps[0] * np.cos(phase) + taps[1] * np.sin(phase)).sum(axis=1) / modes
        left.plot(difference, kernel / np.abs(kernel).max(), label=f"M = {modes}")
    left.set(xlabel="difference of coordinates, $a_i - b_j$", ylabel="filter (its largest = 1)")
    left.legend()
    t = np.linspace(0.02, 1, 300)
    for power in (0, 4, 16):
        right.plot(t, sum((1 - t) ** k for k in range(power + 1)), label=f"K = {power}")
    right.plot(t, 1 / t, "k:", label="1/t")
    right.set(xlabel="eigenvalue of the Gram matrix, t", ylabel="p(t)", ylim=(0, 20))
    right.legend()
    figure.savefig(FOLDER / "kernel.png", dpi=130)


if __name__ == "__main__":
    draw_cost()
    draw_kernel()
