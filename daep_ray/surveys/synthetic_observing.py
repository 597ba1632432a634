"""How the synthetic survey looks at its objects: nights, weather, errors, spectrographs.

In: photospheres, where each object stands in space and time, and random numbers. Out: visits and
spectra as rectangular arrays with a mask of what was really observed, noiseless and noisy.
"""

from dataclasses import dataclass

import numpy as np

from daep_ray.surveys.synthetic_physics import (
    BANDS,
    Photospheres,
    band_fluxes,
    spectra,
)

NUM_NIGHTS = 32
MAX_POINTS = 2 * NUM_NIGHTS  # two exposures per night
MAX_WAVELENGTHS = 200

_FIRST_NIGHT_DAYS, _NIGHT_SPACING_DAYS = -30.0, 4.0  # from maximum, observer frame
_SEASON_DAYS = 220.0  # a field is visible for this long, then it stands behind the sun
_MIN_NIGHTS = 4  # so many nights around maximum are never given up
_AROUND_MAXIMUM_DAYS = 17.0  # the season's edges stay farther from maximum than this
_CLOUDED = 0.8  # of the weather's standard normal: nights above are lost
_WEATHER_MEMORY = 0.6  # correlation from one visit to the next
_LUNAR_DAYS, _FULL_MOON_MJD = 29.53, 58031.8
_SKY_ERROR = np.array([70.0, 75.0, 100.0, 160.0])  # FLUXCAL, dark and clear
_MOON_VARIANCE = np.array([3.0, 1.8, 1.0, 0.5])  # full moon, relative to dark sky
assert len(BANDS) == len(_SKY_ERROR)


@dataclass(frozen=True)
class Place:
    """Where and when each object is seen, each (objects,)."""

    redshift: np.ndarray
    distance_cm: np.ndarray  # luminosity distance
    peak_mjd: np.ndarray  # true maximum, observer frame


@dataclass(frozen=True)
class Observed:
    """`position` is MJD or Angstrom (observer frame); all arrays (objects, points)."""

    position: np.ndarray
    truth: np.ndarray  # noiseless flux
    value: np.ndarray
    error: np.ndarray
    is_observed: np.ndarray
    band: np.ndarray  # index into BANDS; zeros for spectra


def photometry(
    photospheres: Photospheres, place: Place, uniform: np.ndarray, normal: np.ndarray
) -> Observed:
    """Two exposures in different bands per night, as season and weather allow, sorted by time.

    Args:
        uniform: (objects, 4 * NUM_NIGHTS + 1) in [0, 1).
        normal: (objects, 2 * NUM_NIGHTS + MAX_POINTS).
    """
    in_season = uniform[:, 0]
    jitter, delay, first, step = np.split(uniform[:, 1:], 4, axis=1)  # (objects, nights)
    weather, seeing, noise = np.split(normal, [NUM_NIGHTS, 2 * NUM_NIGHTS], axis=1)
    night = _FIRST_NIGHT_DAYS + _NIGHT_SPACING_DAYS * np.arange(NUM_NIGHTS) + 2.4 * (jitter - 0.5)
    cloud = _correlated(weather)
    is_open = _is_open(night, cloud, in_season)

    mjd = _interleave(night, night + 0.01 + 0.04 * delay) + place.peak_mjd[:, None]
    band = (first * len(BANDS)).astype(np.int64)
    band = _interleave(band, (band + 1 + (step * (len(BANDS) - 1)).astype(np.int64)) % len(BANDS))
    is_observed = np.repeat(is_open, 2, axis=1)

    truth = np.zeros(mjd.shape)
    who, point = np.nonzero(is_observed)
    since_peak = (mjd[who, point] - place.peak_mjd[who]) / (1 + place.redshift[who])
    truth[who, point] = band_fluxes(
        photospheres,
        who,
        since_peak + photospheres.peak_days[who],
        band[who, point],
        place.distance_cm[who],
        place.redshift[who],
    )
    transparency = np.repeat(np.exp(-0.4 * np.maximum(cloud, 0.0)), 2, axis=1)
    blur = np.repeat(np.exp(0.15 * seeing), 2, axis=1)
    error = _photometric_error(truth, mjd, band, blur / transparency)
    return Observed(mjd, truth, truth + error * noise, error, is_observed, band)


def _interleave(even: np.ndarray, odd: np.ndarray) -> np.ndarray:
    return np.stack([even, odd], axis=2).reshape(len(even), -1)


def _correlated(normal: np.ndarray) -> np.ndarray:
    """Standard normals that remember the visit before (a first-order autoregression)."""
    series = normal.copy()
    for k in range(1, series.shape[1]):
        fresh = np.sqrt(1 - _WEATHER_MEMORY**2) * normal[:, k]
        series[:, k] = _WEATHER_MEMORY * series[:, k - 1] + fresh
    return series


def _is_open(night: np.ndarray, cloud: np.ndarray, in_season: np.ndarray) -> np.ndarray:
    """(objects, nights): within the season and not clouded, the best around maximum in any case."""
    start = -(0.08 + 0.84 * in_season[:, None]) * _SEASON_DAYS
    is_visible = (night >= start) & (night <= start + _SEASON_DAYS)
    is_near = np.abs(night) < _AROUND_MAXIMUM_DAYS
    best = np.sort(np.where(is_near, cloud, np.inf), axis=1)[:, _MIN_NIGHTS - 1 : _MIN_NIGHTS]
    return is_visible & (cloud <= np.where(is_near, np.maximum(_CLOUDED, best), _CLOUDED))


def _photometric_error(
    flux: np.ndarray, mjd: np.ndarray, band: np.ndarray, loss: np.ndarray
) -> np.ndarray:
    """Sky under the moon and through clouds, photon noise, and 0.8 % of calibration."""
    moon = 0.5 + 0.5 * np.cos(2 * np.pi * (mjd - _FULL_MOON_MJD) / _LUNAR_DAYS)
    sky = (_SKY_ERROR[band] * loss) ** 2 * (1 + _MOON_VARIANCE[band] * moon)
    return np.sqrt(sky + 0.5 * flux * loss + (0.008 * flux) ** 2)


def one_spectrum(
    photospheres: Photospheres, place: Place, uniform: np.ndarray, normal: np.ndarray
) -> tuple[Observed, np.ndarray]:
    """One spectrum per object at a random phase, on a grid of its own; and the phase in days.

    Args:
        uniform: (objects, 7 + MAX_WAVELENGTHS) in [0, 1).
        normal: (objects, MAX_WAVELENGTHS).
    """
    when, count, low, high, gap, width, quality = uniform[:, :7, None].swapaxes(0, 1)
    earliest = -0.7 * photospheres.peak_days
    phase = np.maximum(-10.0 + 60.0 * when[:, 0] ** 1.3, earliest)

    # logarithmic steps, each point displaced, a gap between the two arms
    num_points = 100 + (count * (MAX_WAVELENGTHS - 99)).astype(np.int64)
    k = np.arange(MAX_WAVELENGTHS)
    low, high = 3600.0 + 500.0 * low, 8400.0 + 1400.0 * high
    wavelength = low * (high / low) ** ((k + 0.1 + 0.8 * uniform[:, 7:]) / num_points)
    gap, width = 5300.0 + 600.0 * gap, 150.0 * width
    is_observed = (k < num_points) & ((wavelength < gap) | (wavelength > gap + width))

    rest = wavelength / (1 + place.redshift)[:, None]
    who = np.arange(len(phase))
    days = phase + photospheres.peak_days
    truth = spectra(photospheres, who, days, rest, place.distance_cm, place.redshift)
    typical = (truth * is_observed).sum(1, keepdims=True) / is_observed.sum(1, keepdims=True)
    throughput = np.maximum(0.25, 1 - ((wavelength - 6300.0) / 3600.0) ** 2)
    signal_to_noise = 8.0 * 5.0**quality
    error = typical * np.sqrt(0.3 + 0.7 * truth / typical) / (signal_to_noise * throughput)
    band = np.zeros(truth.shape, np.int64)
    return Observed(wavelength, truth, truth + error * normal, error, is_observed, band), phase
