"""Named lines of spectra: what a reconstruction makes of their equivalent widths and places.

In: spectra in physical wavelengths and flux with their reconstruction. Out: per sample and line the
error of the equivalent width and of the centroid against the data's own, Angstrom in the rest
frame. A modality without a wavelength whose rest frame is known has none, without fuss.

The equivalent width of a flux F over a pseudo-continuum C, a straight line between the flux at both
sides, is W = integral of (1 - F / C) from side to side, positive for absorption; the centroid is
the mean wavelength weighted by 1 - F / C where that has the sign of the data's W. Integrals are
trapezoids through the spectrum's own measurements. The sides are found in the data and kept for the
reconstruction, so that both are asked the same question.

Spectra that have a phase are taken for supernovae: broad lines, blueshifted by some 10,000 km/s,
whose sides are the highest points of two ranges (J. M. Silverman et al. 2012, MNRAS 425, 1819;
H-alpha, which is in emission too, has fixed sides). Others are taken for stars or galaxies: fixed
bands, of G. Worthey et al. 1994, ApJS 94, 687 (H-beta, Mg b, Na D), Worthey and D. L. Ottaviani
1997, ApJS 111, 377 (H-gamma A, H-delta A), J. E. Nelan et al. 2005, ApJ 632, 137 (H-alpha F) and
J. Serven et al. 2005, ApJ 627, 754 (Ca H&K), in air; what air and vacuum differ by, 1 to 2
Angstrom, is no matter for the difference of two such widths.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from daep_ray.evaluate.over_objects import OverObjects
from daep_ray.evaluate.phases import PHASE
from daep_ray.evaluate.reconstruction import COPIED, DRAWS_FROM
from daep_ray.sample import Modality
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import FlatSequence

WIDTH, BIAS, CENTROID = "line_width_error", "line_width_bias", "line_centroid_error"
AXIS = "line"  # in the table `groups`
REDSHIFT = "redshift"
HALF_SIDE = 25.0  # Angstrom: flux at a found side is the mean this far about it
FEWEST = 8  # measurements within a line
LARGEST_GAP = 0.25  # of a line's extent, without a measurement
LEAST_DEPTH = 0.02  # mean |1 - F / C| of the data, below which a line has no place
LEAST_CONTINUUM = 0.1  # of the data's: a reconstruction's is taken for no less

_ANGSTROM = {"Angstrom": 1.0, "nm": 10.0, "micron": 1e4, "um": 1e4}
_OFFSETS = {"continuum-divided minus 1": 1.0}  # what is missing to a flux over its continuum


@dataclass(frozen=True)
class Line:
    """Ranges of both sides; `inside` None: from the highest point of one to that of the other."""

    name: str
    blue: tuple[float, float]
    red: tuple[float, float]
    inside: tuple[float, float] | None = None


SUPERNOVA = (
    Line("Ca II H&K", (3400, 3800), (3800, 4100)),
    Line("S II W", (5100, 5300), (5450, 5700)),
    Line("Si II 5972", (5550, 5700), (5750, 6000)),
    Line("Si II 6355", (5750, 6060), (6150, 6600)),
    Line("H-alpha", (6150, 6250), (6900, 7000), (6250, 6900)),
    Line("O I 7774", (6800, 7450), (7600, 8000)),
    Line("Ca II triplet", (7500, 8100), (8200, 8900)),
)
STAR = (
    Line("Ca II H&K", (3806.5, 3833.8), (4020.7, 4052.4), (3899.5, 4003.5)),
    Line("H-delta", (4041.6, 4079.75), (4128.5, 4161.0), (4083.5, 4122.25)),
    Line("H-gamma", (4283.5, 4319.75), (4367.25, 4419.75), (4319.75, 4363.5)),
    Line("H-beta", (4827.875, 4847.875), (4876.625, 4891.625), (4847.875, 4876.625)),
    Line("Mg b", (5142.625, 5161.375), (5191.375, 5206.375), (5160.125, 5192.625)),
    Line("Na D", (5860.625, 5875.675), (5922.125, 5948.125), (5876.875, 5909.375)),
    Line("H-alpha", (6515.0, 6540.0), (6575.0, 6585.0), (6554.0, 6575.0)),
)


@dataclass(frozen=True)
class Window:
    """Where one line of one spectrum is measured: bands of the sides, and the ends between."""

    blue: tuple[float, float]
    red: tuple[float, float]
    low: float
    high: float


def lines_of(modality: Modality) -> tuple[Line, ...]:
    """The lines that are looked for; none where no rest-frame wavelength is to be had."""
    axis, names = modality.positions[0], [m.name for m in modality.metadata]
    is_rest = axis.frame == "rest" or (axis.frame == "observer" and REDSHIFT in names)
    if axis.unit not in _ANGSTROM or not is_rest or modality.value.unit.startswith("mag"):
        return ()
    return SUPERNOVA if PHASE in names else STAR


def line_errors(
    fitted: FittedRecipe, modality: str, flat: FlatSequence, estimates: Mapping[str, np.ndarray]
) -> dict[tuple[str, str], np.ndarray]:
    """(B,) by (estimate, metric), NaN where a line is not there to be measured: mean over draws.

    Metrics are `line_width_error`, `line_width_bias` (with its sign) and `line_centroid_error`, the
    mean over the lines of a spectrum, and each with a line's name behind a colon for it alone.
    """
    wanted = lines_of(fitted.modalities[modality])
    told = {e: v for e, v in estimates.items() if e != COPIED and not e.startswith(DRAWS_FROM)}
    if not wanted or not told:
        return {}
    wavelength = rest_wavelengths(fitted, modality, flat)
    offset = _OFFSETS.get(fitted.modalities[modality].value.unit, 0.0)
    truth = fitted.invert_value(modality, flat.value, flat) + offset
    fluxes = {e: fitted.invert_value(modality, v, flat) + offset for e, v in told.items()}
    shape = (flat.num_samples, len(wanted))
    names = [(estimate, metric) for estimate in told for metric in (WIDTH, BIAS, CENTROID)]
    found = {key: np.full(shape, np.nan) for key in names}
    for i, (low, high) in enumerate(zip(flat.offsets[:-1], flat.offsets[1:], strict=True)):
        order = low + np.argsort(wavelength[low:high], kind="stable")
        own = {e: flux[:, order] for e, flux in fluxes.items()}
        for place, line in enumerate(wanted):
            for key, value in _errors(line, wavelength[order], truth[order], own):
                found[key][i, place] = value
    return {key: column for k, v in found.items() for key, column in _columns(k, v, wanted)}


def _columns(
    key: tuple[str, str], values: np.ndarray, wanted: tuple[Line, ...]
) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    """The mean over lines, and each line; (B, lines) in, (B,) out."""
    estimate, metric = key
    count = np.isfinite(values).sum(1)
    total = np.nansum(values, axis=1)
    yield key, np.where(count, total / np.maximum(count, 1), np.nan)
    for place, line in enumerate(wanted):
        yield (estimate, f"{metric}:{line.name}"), values[:, place]


def over_lines(errors: OverObjects) -> OverObjects:
    """Of what `line_errors` found, the means over lines that anything was measured of."""
    kept = {k: m for k, m in errors.columns.items() if ":" not in k[1] and m.count}
    return OverObjects(errors.num_objects, kept)


def line_rows(errors: OverObjects, modality: Modality) -> Iterator[dict[str, Any]]:
    """Rows of the table `groups`, line by line: Angstrom; `low` and `high` are about its place."""
    places = {line.name: line for line in lines_of(modality)}
    for (estimate, metric), moments in errors.columns.items():
        what, _, name = metric.partition(":")
        if name and moments.count:
            yield {
                "estimate": estimate,
                "metric": what,
                "axis": AXIS,
                "name": name,
                "low": places[name].blue[0],
                "high": places[name].red[1],
                "value": moments.mean,
                "sd": moments.sd,
                "count": moments.count,
            }


def rest_wavelengths(fitted: FittedRecipe, modality: str, flat: FlatSequence) -> np.ndarray:
    """(N,) Angstrom; NaN where a redshift is needed and unknown."""
    axis = fitted.modalities[modality].positions[0]
    wavelength = fitted.invert_position(modality, flat.position, flat)[:, 0] * _ANGSTROM[axis.unit]
    if axis.frame == "rest":
        return wavelength
    redshift = flat.metadata[REDSHIFT]
    if REDSHIFT in fitted.continuous_metadata(modality):
        scale = fitted.statistics[modality].metadata[REDSHIFT]
        redshift = redshift * scale.sd + scale.mean
    return wavelength / np.repeat(1.0 + redshift, flat.lengths)


def _errors(
    line: Line, wavelength: np.ndarray, truth: np.ndarray, told: Mapping[str, np.ndarray]
) -> Iterator[tuple[tuple[str, str], float]]:
    """((estimate, metric), mean over draws) of one line of one spectrum, sorted by wavelength."""
    window = find(line, wavelength, truth)
    if window is None:
        return
    floor = continuum(window, wavelength, truth[None])
    if not (floor > 0).all():
        return
    (width,), (centroid,), (depth,) = measure(window, wavelength, truth[None])
    sign, least = 1.0 if width >= 0 else -1.0, LEAST_CONTINUUM * floor
    widths, centroids, _ = measure(
        window, wavelength, np.concatenate([*told.values()]), sign, least
    )
    ends = np.cumsum([len(flux) for flux in told.values()])[:-1]
    pairs = zip(np.split(widths - width, ends), np.split(centroids - centroid, ends), strict=True)
    for estimate, (wider, moved) in zip(told, pairs, strict=True):
        yield (estimate, WIDTH), float(np.abs(wider).mean())
        yield (estimate, BIAS), float(wider.mean())
        if depth >= LEAST_DEPTH:
            yield (estimate, CENTROID), float(np.abs(moved).mean())


def find(line: Line, wavelength: np.ndarray, flux: np.ndarray) -> Window | None:
    """Where a line is measured in a spectrum (n,), None where it does not cover the line."""
    if len(wavelength) < FEWEST or not np.isfinite(wavelength).all():
        return None
    if line.inside is None:
        reach = wavelength[0] <= line.blue[0] + HALF_SIDE, wavelength[-1] >= line.red[1] - HALF_SIDE
        blue, red = (_highest(side, wavelength, flux) for side in (line.blue, line.red))
        if not all(reach) or blue is None or red is None:
            return None
        sides = [(at - HALF_SIDE, at + HALF_SIDE) for at in (blue, red)]
        window = Window(sides[0], sides[1], blue, red)
    else:
        window = Window(line.blue, line.red, *line.inside)
    return window if _is_covered(window, wavelength) else None


def _is_covered(window: Window, wavelength: np.ndarray) -> bool:
    sides = (_within(wavelength, *side) for side in (window.blue, window.red))
    inside = wavelength[_within(wavelength, window.low, window.high)]
    gaps = np.diff([window.low, *inside, window.high])
    extent = window.high - window.low
    return (
        all(side.any() for side in sides)
        and len(inside) >= FEWEST
        and bool(gaps.max() <= LARGEST_GAP * extent)
    )


def _highest(side: tuple[float, float], wavelength: np.ndarray, flux: np.ndarray) -> float | None:
    """The wavelength in a range where the mean flux HALF_SIDE about it is largest."""
    some = wavelength[_within(wavelength, *side)]
    if not len(some):
        return None
    sums = np.concatenate([[0.0], np.cumsum(flux)])
    first = np.searchsorted(wavelength, some - HALF_SIDE, "left")
    last = np.searchsorted(wavelength, some + HALF_SIDE, "right")
    return float(some[np.argmax((sums[last] - sums[first]) / (last - first))])


def continuum(window: Window, wavelength: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """(K, 2) the pseudo-continuum of fluxes (K, n) at both ends of the window."""
    bands = [_within(wavelength, *side) for side in (window.blue, window.red)]
    places = [wavelength[band].mean() for band in bands]
    levels = [flux[:, band].mean(1) for band in bands]
    slope = (levels[1] - levels[0]) / (places[1] - places[0])
    ends = np.array([window.low, window.high])
    return levels[0][:, None] + slope[:, None] * (ends - places[0])


def measure(
    window: Window,
    wavelength: np.ndarray,
    flux: np.ndarray,
    sign: float | None = None,
    least: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Equivalent width (K,), centroid (K,) and mean |1 - F / C| (K,) of fluxes (K, n).

    `sign` of what the centroid is of: 1 absorption, -1 emission, None the width's own. Without any
    of it the centroid is the window's middle. The continuum's ends are taken for `least` if less.
    """
    inside = _within(wavelength, window.low, window.high)
    at = np.concatenate([[window.low], wavelength[inside], [window.high]])
    values = _at(wavelength, flux, at)
    ends = np.maximum(continuum(window, wavelength, flux), least)  # (K, 2)
    share = (at - window.low) / (window.high - window.low)
    depth = 1.0 - values / (ends[:, :1] + share * (ends[:, 1:] - ends[:, :1]))  # (K, n')
    width = np.trapezoid(depth, at, axis=1)
    signs = np.where(width >= 0, 1.0, -1.0) if sign is None else np.full(len(width), sign)
    weight = np.maximum(signs[:, None] * depth, 0.0)
    total = np.trapezoid(weight, at, axis=1)
    middle = (window.low + window.high) / 2
    moment = np.trapezoid(weight * (at - middle), at, axis=1)
    centroid = middle + np.where(total > 0, moment / np.where(total > 0, total, 1.0), 0.0)
    mean_depth = np.trapezoid(np.abs(depth), at, axis=1) / (window.high - window.low)
    return width, centroid, mean_depth


def _at(wavelength: np.ndarray, flux: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(K, n') fluxes (K, n) between their measurements, on a straight line."""
    return np.stack([np.interp(at, wavelength, row) for row in flux])


def _within(wavelength: np.ndarray, low: float, high: float) -> np.ndarray:
    return (wavelength >= low) & (wavelength <= high)
