"""Simulated type Ia supernovae from a SALT-like spectral surface and filter curves.

In: a folder or an archive with a SALT2 or SALT3 model's templates and colour law and one text file
per filter; settings of the population, the cadence and the noise. Out: per event one sample per
spectrum, `surface-<seed>-<k>/<j>`, all with the same light curve; true parameters as labels;
noiseless values in the extra column `truth`.

The defaults make the set of the paper's Table 4 from what is public: 5,000 events at 10 pc, ten
points in each of six LSST bands on an irregular cadence, spectra at -10, 0, 10, 20 and 30 days on
3,000 to 8,000 Angstrom (982 points). The paper's own events are radiative transfer (Goldstein &
Kasen 2018); these vary in x1, colour, the velocity of the lines and a grey scatter.

`photometry`: FLUXCAL (AB, zero point 27.5), so that the recipe's `magnitude` gives AB magnitudes,
absolute ones at 10 pc. `spectrum`: F_nu in microjansky, whose `log10` is the paper's plus 29, or
F_lambda. Times are MJD with `peak` beside them, wavelengths observer frame; at 10 pc the redshift
is 0. Points beyond the surface's range are left out.

Event k is drawn from a generator keyed by (seed, k) and computed in a chunk of fixed size: it is
the same to the last bit however many events are asked for. Memory does not grow with the number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from daep_ray.errors import ConfigError, DataError
from daep_ray.sample import (
    UNKNOWN,
    Axis,
    Category,
    Ignored,
    Modality,
    Quarantined,
    Record,
    Sample,
    Sequence,
)
from daep_ray.surveys.source import RawFile, check_source, walk
from daep_ray.surveys.surface_model import Filter, Surface, read_filter, read_surface
from daep_ray.surveys.surface_observing import (
    Events,
    Observed,
    Spectrograph,
    band_fluxes,
    is_covered,
    microjansky,
    noisy_spectra,
    photometry,
    times,
)
from daep_ray.surveys.surface_settings import Redshifts, SurfaceSettings, TenParsec
from daep_ray.surveys.survey import Reader, Survey

_CHUNK = 32  # events computed at once
_X0_MAGNITUDE = 10.635  # m_B of x0 = 1 (Guy et al. 2007; Mosher et al. 2014)
_TEN_PARSEC_MPC = 1e-5
_LIGHT_KM_S = 299_792.458
_SURVEY_MJD, _SURVEY_DAYS = 60_000.0, 3652.0
_FLUXCAL = "FLUXCAL, zero point 27.5"
_SPECTRUM_UNITS = {"nu": "microjansky", "lambda": "1e-16 erg/s/cm2/Angstrom"}


@dataclass(frozen=True)
class _Simulator:
    """What every chunk needs, made once."""

    settings: SurfaceSettings
    surface: Surface
    filters: tuple[Filter, ...]
    spectrograph: Spectrograph
    share: np.ndarray  # (G,) of events that are nearer than `redshift`, rising from 0 to 1
    redshift: np.ndarray  # (G,)
    distance_mpc: np.ndarray  # (G,) luminosity distance


def open_surface(source: Path | None, settings: SurfaceSettings) -> Survey:
    """The survey; the model is read here, events are computed while records are read.

    Raises:
        DataError: a file is missing, twice there or wrong, or a filter lies off the surface.
        ConfigError: a phase lies off the surface.
    """
    assert source is not None
    check_source(source)
    files, others = _needed_files(source, settings)
    surface = read_surface(files, settings.model)
    scale = 10.0 if settings.filter_unit == "nm" else 1.0
    names = [(settings.filter_files.format(band=b), b) for b in settings.bands]
    filters = tuple(read_filter(name, band, files[name], scale) for name, band in names)
    _check_ranges(surface, filters, settings)
    simulator = _simulator(surface, filters, settings)
    return Survey(
        format="surface",
        modalities=_modalities(settings),
        records=lambda: _records(simulator, others),
        source={
            "format": "surface",
            "options": settings.model_dump(mode="json"),
            "name": source.name,
        },
    )


def _needed_files(
    source: Path, settings: SurfaceSettings
) -> tuple[dict[str, bytes], tuple[Record, ...]]:
    """The model's files and the filters' by their last names; what else was found, as records."""
    model = [f"{settings.model}_{end}.dat" for end in ("template_0", "template_1")]
    model.append(f"{settings.model}_color_correction.dat")
    needed = [*model, *(settings.filter_files.format(band=b) for b in settings.bands)]
    files: dict[str, bytes] = {}
    others: list[Record] = []
    for found in walk(source):
        if not isinstance(found, RawFile):
            others.append(found)
            continue
        name = found.name.rpartition("/")[2]
        if name not in needed:
            others.append(Ignored(found.name))
        elif name in files:
            raise DataError(f"{name!r} is twice in {str(source)!r}: give a source with one model")
        else:
            files[name] = found.content
    missing = [name for name in needed if name not in files]
    if missing:
        raise DataError(
            f"no file {missing[0]!r} in {str(source)!r}: needed are {', '.join(needed)} (settings "
            "model, bands and filter_files say which)"
        )
    return files, tuple(others)


def _check_ranges(surface: Surface, filters: tuple[Filter, ...], settings: SurfaceSettings) -> None:
    low, high = surface.wavelengths[[0, -1]]
    stretch = 1 + (settings.place.low if isinstance(settings.place, Redshifts) else 0.0)
    for band in filters:
        if not band.is_covered(low * stretch, high * stretch):
            raise DataError(
                f"the filter {band.name!r} ({band.wavelengths[0]:.0f} to "
                f"{band.wavelengths[-1]:.0f} A) is not within the surface ({low * stretch:.0f} to "
                f"{high * stretch:.0f} A at the lowest redshift): leave it out of bands, or set "
                "filter_unit"
            )
    first, last = surface.phases[[0, -1]]
    cadence = settings.cadence
    for days in (*settings.spectra.phases, cadence.first_day, cadence.last_day):
        if not first <= days <= last:
            raise ConfigError(
                f"phase {days:g} d of spectra.phases or cadence lies outside the surface: "
                f"{first:g} to {last:g} d are allowed"
            )


def _simulator(
    surface: Surface, filters: tuple[Filter, ...], settings: SurfaceSettings
) -> _Simulator:
    s = settings.spectra
    spectrograph = Spectrograph.of(surface, s.phases, np.geomspace(s.low, s.high, s.num_points))
    if isinstance(settings.place, TenParsec):
        share, redshift, distance = np.array([0.0, 1.0]), np.zeros(2), np.full(2, _TEN_PARSEC_MPC)
    else:
        share, redshift, distance = _redshift_distribution(settings.place)
    return _Simulator(settings, surface, filters, spectrograph, share, redshift, distance)


def _redshift_distribution(place: Redshifts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """On a grid of redshifts: the share of events below, the redshift, the distance in Mpc."""
    from astropy.cosmology import FlatLambdaCDM  # slow to import

    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)
    grid = np.linspace(place.low, place.high, 512)
    # events per observer's year: time runs slower there by 1 + z
    density = cosmology.differential_comoving_volume(grid).value * (1 + grid) ** (1.5 - 1)
    number = np.append(0.0, np.cumsum(density[1:] + density[:-1]))
    return number / number[-1], grid, cosmology.luminosity_distance(grid).value


def _modalities(settings: SurfaceSettings) -> tuple[Modality, ...]:
    unit = _SPECTRUM_UNITS[settings.spectra.flux]
    peak = Axis("peak", "day", is_time=True, frame="observer")
    return (
        Modality(
            name="photometry",
            value=Axis("flux", _FLUXCAL),
            positions=(Axis("time", "day", is_time=True, frame="observer"),),
            categories=(Category("band", (UNKNOWN, *settings.bands)),),
            metadata=(Axis("redshift", ""), peak),
            extras=(Axis("truth", _FLUXCAL),),
        ),
        Modality(
            name="spectrum",
            value=Axis("flux", unit),
            positions=(Axis("wavelength", "Angstrom", frame="observer"),),
            metadata=(Axis("phase", "day", frame="rest"), Axis("redshift", "")),
            extras=(Axis("truth", unit),),
        ),
    )


# ---------------------------------------------------------------- events


def _records(simulator: _Simulator, others: tuple[Record, ...]) -> Iterator[Record]:
    yield from others
    for first in range(0, simulator.settings.num_objects, _CHUNK):
        yield from _chunk(simulator, first)


def _draws(settings: SurfaceSettings, first: int) -> tuple[np.ndarray, ...]:
    """Random numbers of a chunk: uniform and normal ones of events, light curves, spectra."""
    num_bands, num_points = len(settings.bands), settings.cadence.points_per_band
    spectra = len(settings.spectra.phases), settings.spectra.num_points
    uniform = [(4,), (2 + num_bands, settings.cadence.num_nights)]
    normal = [(4,), (2, num_bands, num_points), spectra]
    draws = tuple(np.empty((_CHUNK, *shape)) for shape in (*uniform, *normal))
    for k in range(_CHUNK):
        key = np.array([settings.seed, first + k], np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key))
        for block in draws[: len(uniform)]:
            generator.random(out=block[k])
        for block in draws[len(uniform) :]:
            generator.standard_normal(out=block[k])
    return draws


def _events(
    simulator: _Simulator, uniform: np.ndarray, normal: np.ndarray
) -> tuple[Events, dict[str, np.ndarray]]:
    """The chunk's events and their labels, from (X, 4) uniform and (X, 4) normal numbers."""
    population = simulator.settings.population
    x1 = population.x1.draw(uniform[:, 0], normal[:, 0])
    c = population.c.draw(uniform[:, 1], normal[:, 1])
    scatter = population.intrinsic_scatter_mag * normal[:, 2]
    velocity = population.velocity_scatter_km_s * np.clip(normal[:, 3], -3, 3)
    redshift = np.interp(uniform[:, 2], simulator.share, simulator.redshift)
    distance = np.interp(uniform[:, 2], simulator.share, simulator.distance_mpc)
    dimming = (_TEN_PARSEC_MPC / distance) ** 2
    absolute = population.absolute_magnitude - population.alpha * x1 + population.beta * c + scatter
    events = Events(
        x0=10 ** (-0.4 * (absolute - _X0_MAGNITUDE)) * dimming,
        x1=x1,
        c=c,
        stretch=1 - velocity / _LIGHT_KM_S,
        redshift=redshift,
        peak_mjd=_SURVEY_MJD + _SURVEY_DAYS * uniform[:, 3],
    )
    return events, {
        "x1": x1,
        "c": c,
        "absolute_magnitude": absolute,
        "velocity_shift_km_s": velocity,
        "redshift": redshift,
        "peak_mjd": events.peak_mjd,
    }


def _chunk(simulator: _Simulator, first: int) -> Iterator[Record]:
    """The samples of events `first` and following; the last chunk is computed whole and cut."""
    settings = simulator.settings
    of_event, of_nights, event_normal, curve_normal, spectrum_normal = _draws(settings, first)
    events, labels = _events(simulator, of_event, event_normal)
    days = times(settings.cadence, len(settings.bands), of_nights)
    curves = _light_curves(simulator, events, days, curve_normal)
    seen = is_covered(simulator.surface, simulator.filters, events)
    spectra, is_known = _spectra(simulator, events, spectrum_normal)
    for k in range(min(_CHUNK, settings.num_objects - first)):
        curve = _curve(curves, days, seen, events, k)
        numbers = {label: float(values[k]) for label, values in labels.items()}
        for j, phase in enumerate(settings.spectra.phases):
            spectrum = _spectrum(simulator, spectra, is_known, events, k, j, phase)
            both = {"photometry": curve, "spectrum": spectrum}
            yield _record(f"surface-{settings.seed}-{first + k:06d}", j, both, numbers)


def _record(
    name: str, j: int, both: dict[str, Sequence], numbers: dict[str, float]
) -> Sample | Quarantined:
    present = {modality: sequence for modality, sequence in both.items() if len(sequence)}
    if not present:
        return Quarantined(name, f"spectrum {j}", "at its redshift no band and no wavelength of it "
                           "lies within the surface")  # fmt: skip
    return Sample(
        sample_id=f"{name}/{j}",
        object_id=name,
        sequences=present,
        labels={"class": "Ia", "subtype": "Ia-norm", **numbers},
    )


def _light_curves(
    simulator: _Simulator, events: Events, days: np.ndarray, normal: np.ndarray
) -> Observed:
    settings = simulator.settings
    noise = settings.noise
    is_near = isinstance(settings.place, TenParsec)
    depths = np.array([noise.five_sigma_depth[band] for band in settings.bands])
    truth = band_fluxes(simulator.surface, simulator.filters, events, days)
    dimming = (_TEN_PARSEC_MPC / noise.seen_at_mpc) ** 2 if is_near else 1.0
    return photometry(truth, depths, noise, dimming, normal)


def _spectra(
    simulator: _Simulator, events: Events, normal: np.ndarray
) -> tuple[Observed, np.ndarray]:
    """Spectra (X, phases, N) in the chosen unit, and which points are known (X, N)."""
    flux, is_known = simulator.spectrograph.spectra(events)
    if simulator.settings.spectra.flux == "nu":
        flux = microjansky(flux, simulator.spectrograph.wavelengths)
    else:
        flux *= 1e16
    return noisy_spectra(flux, is_known, simulator.settings.noise, normal), is_known


def _curve(
    curves: Observed, days: np.ndarray, seen: np.ndarray, events: Events, k: int
) -> Sequence:
    """Event `k`'s light curve, bands that are not covered left out, sorted by time."""
    num_points = days.shape[2]
    bands = np.flatnonzero(seen[k])
    order = np.argsort(days[k, bands], axis=None, kind="stable")
    peak = float(events.peak_mjd[k])

    def rows(values: np.ndarray) -> np.ndarray:
        return values[k, bands].ravel()[order]

    return Sequence(
        value=rows(curves.value),
        error=rows(curves.error),
        positions={"time": peak + rows(days)},
        categories={"band": np.repeat(bands + 1, num_points)[order].astype(np.int16)},  # 0: unknown
        metadata={"redshift": float(events.redshift[k]), "peak": peak},
        extras={"truth": rows(curves.truth)},
    )


def _spectrum(
    simulator: _Simulator, spectra: Observed, is_known: np.ndarray, events: Events,
    k: int, j: int, phase: float,
) -> Sequence:  # fmt: skip
    known = is_known[k]
    return Sequence(
        value=spectra.value[k, j, known],
        error=spectra.error[k, j, known],
        positions={"wavelength": simulator.spectrograph.wavelengths[known]},
        metadata={"phase": phase, "redshift": float(events.redshift[k])},
        extras={"truth": spectra.truth[k, j, known]},
    )


READER = Reader(SurfaceSettings, open_surface, needs_source=True)
