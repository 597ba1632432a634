"""Known factors on raw values: the Milky Way's dust, flux per frequency instead of wavelength.

In: raw values of a spectrum (wavelengths in Angstrom as observed or at rest, as declared) and
metadata. Out: one positive factor per measurement, that values and errors are multiplied by, and
that the inverse divides by. A measurement without a factor (E(B-V) or redshift unknown, a
wavelength where the extinction law ends) gets NaN, and so is left out and counted.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from daep_ray.errors import ConfigError
from daep_ray.sample import Modality
from daep_ray.settings import Settings
from daep_ray.stream.flat import FlatSequence, spread

LIGHT_ANGSTROM_PER_SECOND = 2.99792458e18
ANGSTROM_PER_MICRON = 1e4


class MilkyWayExtinction(Settings):
    """Undo the Milky Way's dust: x 10^(0.4 A), A = E(B-V) R_V A(wavelength)/A(V).

    Dust acts on wavelengths as observed: ones that are at rest are moved back by `redshift` first.
    Laws as in the package `dust-extinction`: Fitzpatrick (1999), Cardelli et al. (1989), Gordon et
    al. (2023).
    """

    kind: Literal["milky_way_extinction"] = "milky_way_extinction"
    column: str = "ebv"  # metadata: E(B-V) in magnitudes
    redshift: str = "redshift"  # metadata; read only where wavelengths are declared at rest
    law: Literal["F99", "CCM89", "G23"] = "F99"
    r_v: float = Field(3.1, ge=2.0, le=6.0)

    def columns(self, modality: Modality) -> tuple[str, ...]:
        """The metadata that the step reads."""
        at_rest = modality.positions[0].frame == "rest"
        return (self.column, self.redshift) if at_rest else (self.column,)

    def factor(self, flat: FlatSequence, modality: Modality) -> np.ndarray:
        wavelength = flat.position[:, 0]
        if modality.positions[0].frame == "rest":
            wavelength = wavelength * spread(1.0 + flat.metadata[self.redshift], flat.offsets)
        extinction = spread(flat.metadata[self.column], flat.offsets) * self.r_v
        return 10.0 ** (0.4 * extinction * self._relative(wavelength))

    def _relative(self, wavelength: np.ndarray) -> np.ndarray:
        """(N,) A(wavelength) / A(V); NaN where the law says nothing."""
        curve = extinction_law(self.law)(Rv=self.r_v)
        with np.errstate(divide="ignore", invalid="ignore"):
            wavenumber = ANGSTROM_PER_MICRON / wavelength
        low, high = curve.x_range
        inside = (wavenumber >= low) & (wavenumber <= high)
        found = np.full(len(wavelength), np.nan)
        if inside.any():
            found[inside] = curve(_per_micron(wavenumber[inside]))
        return found


class PerFrequency(Settings):
    """Flux per wavelength to flux per frequency: x wavelength^2 / c (Angstrom, seconds)."""

    kind: Literal["per_frequency"] = "per_frequency"

    def columns(self, modality: Modality) -> tuple[str, ...]:
        return ()

    def factor(self, flat: FlatSequence, modality: Modality) -> np.ndarray:
        return flat.position[:, 0] ** 2 / LIGHT_ANGSTROM_PER_SECOND


Factor = Annotated[MilkyWayExtinction | PerFrequency, Field(discriminator="kind")]


def factors(steps: tuple[Factor, ...], flat: FlatSequence, modality: Modality) -> np.ndarray:
    """(N,) the product of all steps' factors at raw positions."""
    product = np.ones(len(flat.value))
    for step in steps:
        product = product * step.factor(flat, modality)
    return product


def extinction_law(name: str):
    """The law's class in `dust-extinction`.

    Raises:
        ConfigError: the package is not installed.
    """
    try:
        from dust_extinction import parameter_averages
    except ImportError:
        raise ConfigError(
            "the step 'milky_way_extinction' needs the package dust-extinction, which is not "
            "installed: pip install 'daep-ray[sn]', or remove the step"
        ) from None
    return getattr(parameter_averages, name)


def _per_micron(wavenumber: np.ndarray):
    from astropy import units

    return wavenumber / units.micron
