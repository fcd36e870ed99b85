"""Networks."""

from e3hyena.models.exported import export_potential, save_package
from e3hyena.models.forces import energy_and_forces, energy_forces_stress
from e3hyena.models.hyena_net import HyenaNet
from e3hyena.models.se3_hyena import SE3Hyena

__all__ = [
    "HyenaNet",
    "SE3Hyena",
    "energy_and_forces",
    "energy_forces_stress",
    "export_potential",
    "save_package",
]
