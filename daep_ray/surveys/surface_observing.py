"""How the events of a spectral surface are seen: nights and bands, errors, spectra.

In: a surface, filters, events (arrays over a chunk) and random numbers. Out: light curves as
(events, bands, points) and spectra as (events, phases, wavelengths), noiseless and noisy, with
masks of what was observed.
"""

from dataclasses import dataclass

import numpy as np

from daep_ray.surveys.surface_model import Filter, Surface, cubic_taps
from daep_ray.surveys.surface_settings import Cadence, Noise

_LIGHT_ANGSTROM_S = 2.99792458e18
_REFINEMENT = 10  # of the surface's wavelengths where spectra are read off
_FLUXCAL_ZERO_POINT = 27.5
_NIGHT_DAYS = 0.35  # the dark part of a night
_VISIT_DAYS = 0.02  # from one band to the next within a night

_GAMMA = 0.039  # LSST: Ivezic et al. 2019, ApJ 873, 111, equation 5


@dataclass(frozen=True)
class Events:
    """A chunk of events, each array (X,)."""

    x0: np.ndarray  # as observed: distance included
    x1: np.ndarray
    c: np.ndarray
    stretch: np.ndarray  # rest wavelengths are multiplied by this; below 1 = bluer lines
    redshift: np.ndarray
    peak_mjd: np.ndarray

    def observed(self, rest: np.ndarray) -> np.ndarray:
        """(X, W) wavelengths at which the surface's (W,) are observed."""
        return (self.stretch * (1 + self.redshift))[:, None] * rest


@dataclass(frozen=True)
class Observed:
    """`value` = `truth` + noise of standard deviation `error`, all of one shape."""

    truth: np.ndarray
    value: np.ndarray
    error: np.ndarray

    @classmethod
    def noisy(cls, truth: np.ndarray, error: np.ndarray, normal: np.ndarray) -> "Observed":
        return cls(truth, truth + error * normal, error)


# ---------------------------------------------------------------- photometry


def times(cadence: Cadence, num_bands: int, uniform: np.ndarray) -> np.ndarray:
    """(X, bands, points) days from maximum, observer frame, rising in each band.

    Args:
        uniform: (X, 2 + bands, nights) in [0, 1): weather, hour of the night, choice per band.
    """
    weather, hour, choice = uniform[:, :1], uniform[:, 1], uniform[:, 2:]
    num_points = cadence.points_per_band
    # the smallest keys are taken: clear nights at random, then clouded ones
    keys = choice + (weather > cadence.clear_share)
    night = np.sort(np.argpartition(keys, num_points - 1, axis=2)[..., :num_points], axis=2)
    start = np.take_along_axis(hour[:, None].repeat(num_bands, 1), night, axis=2)
    dark = _NIGHT_DAYS - num_bands * _VISIT_DAYS
    visit = _VISIT_DAYS * np.arange(num_bands)[None, :, None]
    return cadence.first_day + night + start * max(dark, 0.0) + visit


def band_fluxes(
    surface: Surface, filters: tuple[Filter, ...], events: Events, days: np.ndarray
) -> np.ndarray:
    """FLUXCAL (AB, zero point 27.5) at (X, bands, points) days from maximum, observer frame."""
    nodes = events.observed(surface.wavelengths)  # (X, W)
    dust = _dust(surface, events, events.stretch[:, None] * surface.wavelengths)
    index, weight = cubic_taps(days / (1 + events.redshift)[:, None, None], surface.phases)
    flux = np.empty(days.shape)
    for k, band in enumerate(filters):
        near, weights = band.node_weights(nodes)
        weights = weights * dust[:, near]
        m0, m1 = (weights @ m[:, near].T for m in surface.components)  # (X, P)
        curve = (m0 + events.x1[:, None] * m1) * band.fluxcal_per_photons
        taps = np.take_along_axis(curve[:, None], index[:, k], axis=2)
        flux[:, k] = (taps * weight[:, k]).sum(-1)
    return flux * _scale(events)[:, None, None]


def is_covered(surface: Surface, filters: tuple[Filter, ...], events: Events) -> np.ndarray:
    """(X, bands): whether the surface, where it is observed, spans the filter."""
    low, high = events.observed(surface.wavelengths[[0, -1]]).T
    return np.stack([f.is_covered(low, high) for f in filters], axis=1)


def photometry(
    truth: np.ndarray, depths: np.ndarray, noise: Noise, dimming: float, normal: np.ndarray
) -> Observed:
    """Light curves with errors.

    Args:
        truth: (X, bands, points) FLUXCAL.
        depths: (bands,) five-sigma depth of one visit, AB magnitudes.
        dimming: observed flux over the flux given: below 1 for events put at 10 pc.
        normal: (X, 2, bands, points): the visits' depths, the noise.
    """
    depth = depths[:, None] + noise.depth_scatter * normal[:, 0]
    faintest = 10 ** (0.4 * (_FLUXCAL_ZERO_POINT - depth)) / dimming
    bright = np.maximum(truth, 0.0)
    variance = faintest * (_GAMMA * faintest + (0.04 - _GAMMA) * bright)
    return Observed.noisy(truth, np.sqrt(variance + (noise.calibration * truth) ** 2), normal[:, 1])


# ---------------------------------------------------------------- spectra


@dataclass(frozen=True)
class Spectrograph:
    """The surface at some phases, ready to be read off on one grid of observed wavelengths."""

    surface: Surface
    wavelengths: np.ndarray  # (N,) Angstrom, observer frame
    fine: np.ndarray  # (V,) the surface's wavelengths, refined
    components: np.ndarray  # (V, phases, 2)

    @classmethod
    def of(
        cls, surface: Surface, phases: tuple[float, ...], wavelengths: np.ndarray
    ) -> "Spectrograph":
        fine, components = surface.refined(np.array(phases), _REFINEMENT)
        return cls(surface, wavelengths, fine, components)

    def spectra(self, events: Events) -> tuple[np.ndarray, np.ndarray]:
        """(X, phases, N) F_lambda, erg/s/cm2/Angstrom, and (X, N) where the surface is known."""
        rest = self.wavelengths / (1 + events.redshift)[:, None]
        place = rest / events.stretch[:, None] - self.fine[0]
        place /= self.fine[1] - self.fine[0]
        is_known = (place >= 0) & (place <= len(self.fine) - 1)
        cell = np.clip(place.astype(np.int64), 0, len(self.fine) - 2)
        part = (place - cell)[..., None]
        combined = [
            m0 + events.x1[:, None, None] * m1
            for m0, m1 in (np.moveaxis(self.components[k], -1, 0) for k in (cell, cell + 1))
        ]
        flux = combined[0] + part * (combined[1] - combined[0])  # (X, N, phases)
        flux *= (_dust(self.surface, events, rest) * _scale(events)[:, None])[..., None]
        return np.ascontiguousarray(np.swapaxes(flux, 1, 2)), is_known


def microjansky(flux: np.ndarray, wavelengths: np.ndarray) -> np.ndarray:
    """F_nu in microjansky of F_lambda in erg/s/cm2/Angstrom: lambda^2 / c, 1e-29 cgs."""
    return flux * (wavelengths**2 * (1e29 / _LIGHT_ANGSTROM_S))


def noisy_spectra(
    truth: np.ndarray, is_known: np.ndarray, noise: Noise, normal: np.ndarray
) -> Observed:
    """(X, phases, N) spectra with errors; `is_known` (X, N) says which points count."""
    known = is_known[:, None]
    mean = (truth * known).sum(2, keepdims=True) / np.maximum(known.sum(2, keepdims=True), 1)
    mean = np.maximum(mean, np.finfo(np.float32).tiny)
    share = 0.1 + 0.9 * np.maximum(truth, 0.0) / mean
    return Observed.noisy(truth, mean / noise.spectrum_snr * np.sqrt(share), normal)


def _dust(surface: Surface, events: Events, rest: np.ndarray) -> np.ndarray:
    """(X, W) factor of the colour law; it belongs to the rest frame, not to moving lines."""
    law: np.ndarray = 10 ** (-0.4 * events.c[:, None] * surface.colour_law(rest))
    return law


def _scale(events: Events) -> np.ndarray:
    return events.x0 / (1 + events.redshift)
