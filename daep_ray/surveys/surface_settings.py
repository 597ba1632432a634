"""Settings of the simulated supernovae: population, place, cadence, noise, spectra, files.

In: plain JSON. Out: `SurfaceSettings`, whose defaults make the set of the paper's Table 4.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from daep_ray.sample import UNKNOWN
from daep_ray.settings import Settings

# LSST, one visit: Ivezic et al. 2019, ApJ 873, 111, tables 1 and 2
LSST_DEPTHS = {"u": 23.9, "g": 25.0, "r": 24.7, "i": 24.0, "z": 23.3, "y": 22.1}


class Skewed(Settings):
    """A Gaussian with a width on each side of its mode, cut off at `low` and `high`."""

    mode: float
    sd_below: float = Field(ge=0)
    sd_above: float = Field(ge=0)
    low: float
    high: float

    def draw(self, uniform: np.ndarray, normal: np.ndarray) -> np.ndarray:
        both = self.sd_below + self.sd_above
        is_below = uniform * both < self.sd_below
        size = np.where(is_below, -self.sd_below, self.sd_above) * np.abs(normal)
        return np.clip(self.mode + size, self.low, self.high)


class Population(Settings):
    """x1 and c as in Scolnic & Kessler 2016 (ApJL 822, L35), brightness as in Tripp 1998.

    M_B = absolute_magnitude - alpha x1 + beta c + scatter. Velocities shift the surface's
    wavelengths by a factor 1 - v/c per event; positive is bluer.
    """

    x1: Skewed = Skewed(mode=0.973, sd_below=1.472, sd_above=0.222, low=-3.0, high=2.0)
    c: Skewed = Skewed(mode=-0.054, sd_below=0.043, sd_above=0.101, low=-0.3, high=0.5)
    absolute_magnitude: float = -19.36  # for H0 = 70 km/s/Mpc
    alpha: float = 0.14
    beta: float = 3.1
    intrinsic_scatter_mag: float = Field(0.1, ge=0)
    velocity_scatter_km_s: float = Field(800.0, ge=0, le=5000)


class TenParsec(Settings):
    """Every event at 10 pc, redshift 0, as in the paper."""

    kind: Literal["ten_parsec"] = "ten_parsec"


class Redshifts(Settings):
    """Redshifts by comoving volume and the rate (1 + z)^1.5 of Dilday et al. 2008."""

    kind: Literal["redshift"] = "redshift"
    low: float = Field(0.01, gt=0)
    high: float = Field(0.3, le=2)

    @model_validator(mode="after")
    def _is_interval(self) -> "Redshifts":
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low:g} and {self.high:g}")
        return self


class Cadence(Settings):
    """Each band is seen on `points_per_band` nights of `first_day` to `last_day` from maximum.

    Observer frame. A night is clear for all bands with `clear_share`; clouded nights are used only
    where clear ones do not suffice.
    """

    points_per_band: int = Field(10, ge=1)
    first_day: float = -14.0
    last_day: float = 46.0
    clear_share: float = Field(0.6, gt=0, le=1)

    @property
    def num_nights(self) -> int:
        return int(self.last_day - self.first_day)

    @model_validator(mode="after")
    def _has_nights(self) -> "Cadence":
        if self.num_nights < self.points_per_band:
            raise ValueError(
                f"{self.points_per_band} points per band need as many nights between first_day "
                f"and last_day, {self.first_day:g} to {self.last_day:g} has {self.num_nights}"
            )
        return self


class Noise(Settings):
    """LSST's photometric error, with visits that vary; photon noise in the spectra.

    Photometry (Ivezic et al. 2019, equations 4 and 5, as flux): with F5 the flux at the visit's
    five-sigma depth, error^2 = gamma F5^2 + (0.04 - gamma) F5 F + (calibration F)^2. Depths vary
    by `depth_scatter` magnitudes from visit to visit. An event that is put at 10 pc has the
    relative errors it would have at `seen_at_mpc`.

    Spectra: error^2 = (mean / spectrum_snr)^2 (0.1 + 0.9 F / mean), per point.
    """

    five_sigma_depth: dict[str, float] = LSST_DEPTHS
    depth_scatter: float = Field(0.3, ge=0)
    calibration: float = Field(0.005, ge=0)
    seen_at_mpc: float = Field(400.0, gt=0)
    spectrum_snr: float = Field(100.0, gt=0)


class Spectra(Settings):
    """`phases` in days from maximum, rest frame; a logarithmic grid of wavelengths in Angstrom."""

    phases: tuple[float, ...] = Field((-10.0, 0.0, 10.0, 20.0, 30.0), min_length=1)
    low: float = Field(3000.0, gt=0)
    high: float = 8000.0
    num_points: int = Field(982, ge=2)
    flux: Literal["nu", "lambda"] = "nu"


class SurfaceSettings(Settings):
    """`filter_files` and `filter_unit` say how a band's curve is called and written."""

    num_objects: int = Field(5000, ge=1)
    seed: int = Field(0, ge=0, le=2**63 - 1)
    model: str = "salt3"  # the first word of the model's file names
    bands: tuple[str, ...] = Field(("u", "g", "r", "i", "z", "y"), min_length=1)
    filter_files: str = "total_{band}.dat"
    filter_unit: Literal["nm", "Angstrom"] = "nm"
    population: Population = Population()
    place: Annotated[TenParsec | Redshifts, Field(discriminator="kind")] = TenParsec()
    cadence: Cadence = Cadence()
    noise: Noise = Noise()
    spectra: Spectra = Spectra()

    @model_validator(mode="after")
    def _is_whole(self) -> "SurfaceSettings":
        missing = [b for b in self.bands if b not in self.noise.five_sigma_depth]
        if missing:
            raise ValueError(f"noise.five_sigma_depth has no entry for the band {missing[0]!r}")
        if len(set(self.bands)) < len(self.bands) or UNKNOWN in self.bands:
            raise ValueError(f"bands must differ, and none be called {UNKNOWN!r}")
        if "{band}" not in self.filter_files:
            raise ValueError(f"filter_files needs '{{band}}' in it, got {self.filter_files!r}")
        if not self.spectra.low < self.spectra.high:
            raise ValueError("spectra.low must be below spectra.high")
        return self
