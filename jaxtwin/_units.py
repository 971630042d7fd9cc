"""Conversions at the door. Inside, everything is mm, ms, mV, uA, mS and uF.

S/m is numerically mS/mm and mm/ms is m/s. The diffusivity of the monodomain equation is
D = sigma / (chi C_m) in mm2/ms.
"""

MICROMETRE = 1e-3  # mm
SURFACE_TO_VOLUME = 140.0  # chi, 1/mm (Niederer et al. 2011, doi 10.1098/rsta.2011.0139)
MEMBRANE_CAPACITANCE = 0.01  # C_m, uF/mm2 (same source)


def diffusivity_from_conductivity(sigma, chi=SURFACE_TO_VOLUME, capacitance=MEMBRANE_CAPACITANCE):
    """D in mm2/ms from a monodomain conductivity in S/m (numerically mS/mm)."""
    return sigma / (chi * capacitance)


def conductivity_from_diffusivity(diffusivity, chi=SURFACE_TO_VOLUME, capacitance=MEMBRANE_CAPACITANCE):
    """Monodomain conductivity in S/m from D in mm2/ms."""
    return diffusivity * (chi * capacitance)
