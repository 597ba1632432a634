"""A supernova as an expanding photosphere: luminosity -> radius and temperature -> spectrum.

In: the physical parameters of many objects (arrays of shape (objects,)). Out: their photospheres
in time, and observed fluxes at any time and wavelength, without noise.

- Heating: 56Ni and 56Co decay with leaking gamma rays, diffused out as in Arnett 1982 (ApJ 253,
  785), integrated as dL/dt = 2t/tau^2 (P - L); in type II a recombination plateau comes first.
- Photosphere: it expands with the ejecta, sinking slowly into them (R ~ t^0.8, as the velocities of
  lines show), until it has cooled to a final temperature, then recedes at that temperature
  (after Nicholl, Guillochon & Berger 2017, ApJ 850, 55, eq. 8 and 9).
- Spectrum: Planck continuum, blanketed by iron below 3900 Angstrom, reddened by the host's dust,
  with P-Cygni lines whose absorption is blueshifted by the photosphere's velocity R(t)/t: lines
  slow down and change depth with phase. The profiles are schematic: a Gaussian in absorption and
  one in emission at rest.

Units: day, Angstrom, km/s, Kelvin, erg/s, cm; spectra in 1e-16 erg/s/cm2/Angstrom.
"""

from dataclasses import dataclass

import numpy as np

SUBTYPES = ("Ia", "Ib", "Ic", "IIP", "IIL")
CLASSES = ("Ia", "Ibc", "Ibc", "II", "II")  # of each subtype
BANDS = ("g", "r", "i", "z")
SPECTRUM_UNIT = 1e-16  # erg/s/cm2/Angstrom
TEN_PARSEC_CM = 3.0857e19

_TIMES = np.arange(0.0, 180.5, 0.5)  # days since explosion, rest frame
_PEAK_WAVELENGTH = 4800.0  # Angstrom, rest frame: maximum light is meant here
_LATEST_PEAK_DAYS = 60.0

_LIGHT_KM_S, _LIGHT_ANGSTROM_S = 299_792.458, 2.99792458e18
_DAY_SECONDS, _KM_CM = 86_400.0, 1e5
_STEFAN_BOLTZMANN = 5.670374e-5  # erg/s/cm2/K^4
_HC_PER_K = 1.438777e8  # Angstrom Kelvin
_TWO_HC2 = 1.191043e27  # erg/s/cm2/Angstrom/sr times Angstrom^5
_NICKEL_DAYS, _COBALT_DAYS = 8.77, 111.4
_NICKEL_POWER, _COBALT_POWER = 6.45e43, 1.45e43  # erg/s per solar mass (Nadyozhin 1994)
_MAX_TEMPERATURE = 25_000.0
_SINKING, _VELOCITY_DAYS = 0.2, 15.0  # v ~ t^-0.2; the parameter is the velocity at 15 days
_MIN_LINE_VELOCITY = 1_500.0

# top hats: low and high edge in Angstrom, observer frame; 16 wavelengths in each
_BAND_EDGES = np.array([[4000.0, 5500.0], [5600.0, 7000.0], [7000.0, 8200.0], [8300.0, 9500.0]])
_NODES = _BAND_EDGES[:, :1] + np.diff(_BAND_EDGES) * (np.arange(16) + 0.5) / 16  # (bands, 16)
_ZERO_POINT_FLUX = 10 ** (-0.4 * (27.5 + 48.6))  # erg/s/cm2/Hz of FLUXCAL 1

# fmt: off
_LINES = np.array([
    # rest  | absorption at maximum        | emission at maximum          | growth of both
    # Angstr| Ia    Ib    Ic    IIP   IIL  | Ia    Ib    Ic    IIP   IIL  | per 30 days
    [3945., 0.75, 0.70, 0.70, 0.40, 0.30,   0.30, 0.30, 0.30, 0.20, 0.20,   0.3],  # Ca II H, K
    [4340., 0.25, 0.05, 0.05, 0.35, 0.25,   0.10, 0.00, 0.00, 0.20, 0.20,   0.3],  # H gamma, Mg II
    [4861., 0.35, 0.30, 0.35, 0.45, 0.30,   0.15, 0.15, 0.20, 0.35, 0.35,   0.4],  # H beta, Fe II
    [5169., 0.25, 0.30, 0.30, 0.15, 0.10,   0.10, 0.10, 0.10, 0.05, 0.05,   0.9],  # Fe II
    [5640., 0.35, 0.00, 0.00, 0.00, 0.00,   0.10, 0.00, 0.00, 0.00, 0.00,  -0.9],  # S II
    [5876., 0.05, 0.60, 0.20, 0.25, 0.15,   0.00, 0.35, 0.15, 0.15, 0.10,   0.5],  # He I, Na I
    [6355., 0.65, 0.05, 0.25, 0.00, 0.00,   0.25, 0.00, 0.10, 0.00, 0.00,  -0.6],  # Si II
    [6563., 0.00, 0.00, 0.00, 0.45, 0.15,   0.00, 0.00, 0.00, 0.90, 1.20,   0.6],  # H alpha
    [7065., 0.00, 0.40, 0.00, 0.00, 0.00,   0.00, 0.25, 0.00, 0.00, 0.00,   0.5],  # He I
    [7774., 0.25, 0.20, 0.50, 0.05, 0.00,   0.10, 0.10, 0.20, 0.00, 0.00,   0.2],  # O I
    [8567., 0.40, 0.40, 0.40, 0.30, 0.20,   0.30, 0.35, 0.40, 0.40, 0.30,   0.8],  # Ca II triplet
])
# fmt: on
_BLANKETING = np.array([0.6, 0.5, 0.5, 0.25, 0.15])  # share of the light that iron takes


@dataclass(frozen=True)
class Parameters:
    """The true parameters, each (objects,). The plateau is zero in types Ia and Ibc."""

    subtype: np.ndarray  # index into SUBTYPES
    nickel_mass: np.ndarray  # solar masses of 56Ni
    diffusion_days: np.ndarray
    trapping_days: np.ndarray  # gamma rays begin to leak
    velocity: np.ndarray  # km/s at the photosphere 15 days after explosion
    final_temperature: np.ndarray  # K
    plateau_luminosity: np.ndarray  # erg/s
    plateau_days: np.ndarray  # length
    plateau_decline_days: np.ndarray  # e-folding time
    extinction: np.ndarray  # A_V of the host, mag
    line_strength: np.ndarray  # factor on every line


@dataclass(frozen=True)
class Photospheres:
    """Radius and temperature in time, and what follows from them about maximum light."""

    parameters: Parameters
    radius: np.ndarray  # (objects, times) cm
    temperature: np.ndarray  # (objects, times) K
    peak_days: np.ndarray  # (objects,) from explosion to maximum, rest frame
    decline_days: np.ndarray  # (objects,) from maximum to half of it

    def at(self, who: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Radius and temperature of object `who` at `days` since its explosion, linear in time."""
        place = np.clip(days / _TIMES[1], 0.0, len(_TIMES) - 1.001)
        k = place.astype(np.int64)
        share = place - k
        radius = self.radius[who, k] * (1 - share) + self.radius[who, k + 1] * share
        temperature = self.temperature[who, k] * (1 - share) + self.temperature[who, k + 1] * share
        return radius * (days > 0), temperature

    def velocity(self, who: np.ndarray, days: np.ndarray) -> np.ndarray:
        """km/s of the layer at the photosphere: R(t)/t."""
        radius, _ = self.at(who, days)
        return radius / np.maximum(days, _TIMES[1]) / _DAY_SECONDS / _KM_CM


def evolve(parameters: Parameters) -> Photospheres:
    """Photospheres of all objects on the time grid."""
    luminosity = _plateau(parameters) + _decay_powered(parameters)  # (objects, times)
    days = np.maximum(_TIMES, 1e-3)
    speed = parameters.velocity[:, None] * (days / _VELOCITY_DAYS) ** -_SINKING
    expanding = speed * _KM_CM * _DAY_SECONDS * days
    heat = luminosity / (4 * np.pi * _STEFAN_BOLTZMANN)
    hot = (heat / expanding**2) ** 0.25
    final = parameters.final_temperature[:, None]
    radius = np.where(hot > final, expanding, np.sqrt(heat) / final**2)
    temperature = np.clip(hot, final, _MAX_TEMPERATURE)
    light = radius**2 / np.expm1(_HC_PER_K / (_PEAK_WAVELENGTH * temperature))
    peak = np.argmax(light * (_TIMES <= _LATEST_PEAK_DAYS), axis=1)
    is_faded = (light < np.take_along_axis(light, peak[:, None], 1) / 2) & (
        np.arange(len(_TIMES)) > peak[:, None]
    )
    half = np.where(is_faded.any(1), np.argmax(is_faded, axis=1), len(_TIMES) - 1)
    return Photospheres(parameters, radius, temperature, _TIMES[peak], _TIMES[half] - _TIMES[peak])


def _decay_powered(p: Parameters) -> np.ndarray:
    """Luminosity of the decay heat once diffused out; exact for constant heat per step."""
    middle = (_TIMES[1:] + _TIMES[:-1]) / 2
    nickel, cobalt = np.exp(-middle / _NICKEL_DAYS), np.exp(-middle / _COBALT_DAYS)
    decay = _NICKEL_POWER * nickel + _COBALT_POWER * (cobalt - nickel)
    trapped = -np.expm1(-((p.trapping_days[:, None] / middle) ** 2))
    heat = p.nickel_mass[:, None] * decay * trapped
    kept = np.exp(-np.diff(_TIMES**2) / p.diffusion_days[:, None] ** 2)
    luminosity = np.zeros((len(p.velocity), len(_TIMES)))
    for k in range(len(middle)):
        luminosity[:, k + 1] = luminosity[:, k] * kept[:, k] + heat[:, k] * (1 - kept[:, k])
    return luminosity


def _plateau(p: Parameters) -> np.ndarray:
    """Cooling and recombination of a hydrogen envelope, ended by a drop that lasts days."""
    drop = 1 / (1 + np.exp((_TIMES - p.plateau_days[:, None]) / 3.5))
    shape = -np.expm1(-_TIMES / 1.5) * (1 + 1.5 * np.exp(-_TIMES / 8.0))
    decline = np.exp(-_TIMES / p.plateau_decline_days[:, None])
    return p.plateau_luminosity[:, None] * shape * decline * drop


def spectra(
    photospheres: Photospheres,
    who: np.ndarray,
    days: np.ndarray,
    wavelength: np.ndarray,
    distance_cm: np.ndarray,
    redshift: np.ndarray,
) -> np.ndarray:
    """Observed flux in SPECTRUM_UNIT, shape (X, W): X spectra at W wavelengths each.

    Args:
        who: (X,) the object of each spectrum.
        days: (X,) since explosion, rest frame; zero flux before.
        wavelength: (X, W) Angstrom, rest frame.
        distance_cm: (X,) luminosity distance.
        redshift: (X,).
    """
    p = photospheres.parameters
    radius, temperature = photospheres.at(who, days)
    scale = np.pi * (radius / distance_cm) ** 2 / (1 + redshift) * _TWO_HC2 / SPECTRUM_UNIT
    planck = 1 / (wavelength**5 * np.expm1(_HC_PER_K / (wavelength * temperature[:, None])))
    dust = np.exp(-0.921 * p.extinction[who, None] * (wavelength / 5500.0) ** -1.3)
    iron = 1 - _BLANKETING[p.subtype[who], None] / (1 + np.exp((wavelength - 3900.0) / 150.0))
    return scale[:, None] * planck * dust * iron * _lines(photospheres, who, days, wavelength)


def _lines(
    photospheres: Photospheres, who: np.ndarray, days: np.ndarray, wavelength: np.ndarray
) -> np.ndarray:
    """(X, W) factor on the continuum: every absorption multiplies, emission is added."""
    p = photospheres.parameters
    speed = np.maximum(photospheres.velocity(who, days), _MIN_LINE_VELOCITY) / _LIGHT_KM_S  # (X,)
    phase = days - photospheres.peak_days[who]
    absorbed, emitted = np.ones_like(wavelength), np.zeros_like(wavelength)
    for rest, *strengths, growth in _LINES:
        change = p.line_strength[who] * np.clip(1 + growth * phase / 30.0, 0.1, 2.0)
        absorption, emission = np.reshape(strengths, (2, -1))[:, p.subtype[who]] * change
        # in units of the line's velocity: absorption around -1, emission around 0
        shift = (wavelength / rest - 1) / speed[:, None]
        absorbed *= 1 - np.minimum(absorption, 0.9)[:, None] * np.exp(-(((shift + 1) / 0.5) ** 2))
        emitted += emission[:, None] * np.exp(-((shift / 0.8) ** 2))
    return absorbed + emitted


def band_fluxes(
    photospheres: Photospheres,
    who: np.ndarray,
    days: np.ndarray,
    band: np.ndarray,
    distance_cm: np.ndarray,
    redshift: np.ndarray,
) -> np.ndarray:
    """(X,) AB flux through a top hat, FLUXCAL (zero point 27.5); `band` indexes BANDS."""
    nodes = _NODES[band]  # (X, 16)
    rest = nodes / (1 + redshift)[:, None]
    flux = spectra(photospheres, who, days, rest, distance_cm, redshift) * SPECTRUM_UNIT
    # photons: integral of f_lambda lambda over integral of c/lambda
    mean = (flux * nodes).sum(1) / (_LIGHT_ANGSTROM_S / nodes).sum(1)
    return mean / _ZERO_POINT_FLUX
