"""The built-in survey: simulated supernovae with known truth. Needs no files.

In: how many objects, a seed. Out: one sample per object with a light curve in g, r, i, z (at most
64 points) and a spectrum, either of which may be missing; true parameters as labels; noiseless
values in the extra column `truth`. Physics in `synthetic_physics.py`, nights and noise in
`synthetic_observing.py`.

Object k is drawn from a generator keyed by (seed, k) and computed in a chunk of fixed size: it is
the same to the last bit however many objects are asked for. Memory does not grow with the number.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from daep_ray.sample import UNKNOWN, Axis, Category, Modality, Record, Sample, Sequence
from daep_ray.settings import Settings
from daep_ray.surveys.survey import Reader, Survey
from daep_ray.surveys.synthetic_observing import (
    MAX_POINTS,
    MAX_WAVELENGTHS,
    NUM_NIGHTS,
    Observed,
    Place,
    one_spectrum,
    photometry,
)
from daep_ray.surveys.synthetic_physics import (
    BANDS,
    CLASSES,
    SUBTYPES,
    TEN_PARSEC_CM,
    Parameters,
    Photospheres,
    band_fluxes,
    evolve,
)

_CHUNK = 128  # objects computed at once
_SUBTYPE_SHARES = np.array([0.45, 0.13, 0.12, 0.22, 0.08])  # of SUBTYPES
_PHOTOMETRY_ONLY, _SPECTRUM_ONLY = 0.25, 0.05  # shares of objects that miss a modality
_PEAK_MAGNITUDES = (16.8, 18.6)  # apparent, g: a flux-limited survey
_SURVEY_MJD, _SURVEY_DAYS = 58_000.0, 1826.0
_HUBBLE_DISTANCE_CM = 299_792.458 / 70.0 * 1e5 * TEN_PARSEC_CM
_DECELERATION = -0.55
_NUM_UNIFORM = {"object": 8, "photometry": 4 * NUM_NIGHTS + 1, "spectrum": 7 + MAX_WAVELENGTHS}
_NUM_NORMAL = {
    "object": 8,
    "photometry": 2 * NUM_NIGHTS + MAX_POINTS,
    "spectrum": MAX_WAVELENGTHS,
}

Metadata = dict[str, np.ndarray]  # name -> one value per object of a chunk
ModalityName = Literal["photometry", "spectrum"]
_FLUX, _SPECTRUM_FLUX = "FLUXCAL, zero point 27.5", "1e-16 erg/s/cm2/Angstrom"
MODALITIES = {
    "photometry": Modality(
        name="photometry",
        value=Axis("flux", _FLUX),
        positions=(Axis("time", "day", is_time=True, frame="observer"),),
        categories=(Category("band", (UNKNOWN, *BANDS)),),
        metadata=(Axis("redshift", ""), Axis("peak", "day", is_time=True, frame="observer")),
        extras=(Axis("truth", _FLUX),),
    ),
    "spectrum": Modality(
        name="spectrum",
        value=Axis("flux", _SPECTRUM_FLUX),
        positions=(Axis("wavelength", "Angstrom", frame="observer"),),
        metadata=(Axis("phase", "day", frame="rest"), Axis("redshift", "")),
        extras=(Axis("truth", _SPECTRUM_FLUX),),
    ),
}


class SyntheticSettings(Settings):
    """With one modality chosen, every object has it; with both, some objects miss one.

    `quality_spread`: each object's errors and noise are multiplied by a number of its own, from 1
    to this, log-uniform: surveys whose objects differ in quality. 1 leaves everything as it is.
    """

    num_objects: int = Field(2000, ge=1)
    seed: int = Field(0, ge=0, le=2**63 - 1)
    modalities: tuple[ModalityName, ...] = Field(("photometry", "spectrum"), min_length=1)
    quality_spread: float = Field(1.0, ge=1, le=1000)


def open_synthetic(source: Path | None, settings: SyntheticSettings) -> Survey:
    """The survey; nothing is computed before its records are read."""
    assert source is None
    # what is as ever is not named: such a survey keeps the manifest, and the hash, that it had
    unnamed = {"quality_spread"} if settings.quality_spread == 1 else set()
    options = settings.model_dump(mode="json", exclude=unnamed)
    return Survey(
        format="synthetic",
        modalities=tuple(MODALITIES[m] for m in MODALITIES if m in settings.modalities),
        records=lambda: _records(settings),
        source={"format": "synthetic", "options": options, "name": ""},
    )


def _records(settings: SyntheticSettings) -> Iterator[Record]:
    for first in range(0, settings.num_objects, _CHUNK):
        yield from _chunk(settings, first)


def _draws(seed: int, first: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Uniform and standard normal numbers of a chunk: name -> (objects, numbers)."""
    uniform = np.empty((_CHUNK, sum(_NUM_UNIFORM.values())))
    normal = np.empty((_CHUNK, sum(_NUM_NORMAL.values())))
    for k in range(_CHUNK):
        key = np.array([seed, first + k], np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key))
        generator.random(out=uniform[k])
        generator.standard_normal(out=normal[k])
    return _split(uniform, _NUM_UNIFORM), _split(normal, _NUM_NORMAL)


def _split(numbers: np.ndarray, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    ends = np.cumsum(list(sizes.values()))[:-1]
    return dict(zip(sizes, np.split(numbers, ends, axis=1), strict=True))


def _chunk(settings: SyntheticSettings, first: int) -> Iterator[Sample]:
    """The samples of objects `first` and following; the last chunk is computed whole and cut."""
    uniform, normal = _draws(settings.seed, first)
    photospheres = evolve(_parameters(uniform["object"], normal["object"]))
    place = _place(photospheres, uniform["object"])
    # a survey knows the maximum to a day; phases are counted from there
    known_peak = place.peak_mjd + normal["object"][:, 7]
    quality = settings.quality_spread ** uniform["object"][:, 5]
    observed: dict[str, tuple[Observed, Metadata]] = {}
    if "photometry" in settings.modalities:
        curves = photometry(photospheres, place, uniform["photometry"], normal["photometry"])
        observed["photometry"] = (
            _noisier(curves, quality),
            {"redshift": place.redshift, "peak": known_peak},
        )
    if "spectrum" in settings.modalities:
        single, phase = one_spectrum(photospheres, place, uniform["spectrum"], normal["spectrum"])
        phase -= (known_peak - place.peak_mjd) / (1 + place.redshift)
        observed["spectrum"] = (
            _noisier(single, quality),
            {"phase": phase, "redshift": place.redshift},
        )
    labels = _labels(photospheres, place)
    for k in range(min(_CHUNK, settings.num_objects - first)):
        name = f"synthetic-{settings.seed}-{first + k:06d}"
        present = _present(tuple(observed), uniform["object"][k, 7])
        yield Sample(
            sample_id=name,
            object_id=name,
            sequences={m: _sequence(m, *observed[m], k) for m in present},
            labels={label: values[k] for label, values in labels.items()},
        )


def _noisier(observed: Observed, times: np.ndarray) -> Observed:
    """Errors and noise (objects, points) multiplied by a number per object; by 1, bit for bit."""
    noise, times = observed.value - observed.truth, times[:, None]
    value = observed.value + (times - 1) * noise
    return replace(observed, value=value, error=times * observed.error)


def _present(modalities: tuple[str, ...], draw: float) -> tuple[str, ...]:
    """Which of the chosen modalities an object has: the only one, or one or both of two."""
    if len(modalities) == 1 or _PHOTOMETRY_ONLY <= draw < 1 - _SPECTRUM_ONLY:
        return modalities
    return ("photometry",) if draw < _PHOTOMETRY_ONLY else ("spectrum",)


def _parameters(uniform: np.ndarray, normal: np.ndarray) -> Parameters:
    """Physical parameters from random numbers, per class; typical values of the literature."""
    subtype = np.searchsorted(np.cumsum(_SUBTYPE_SHARES)[:-1], uniform[:, 0], side="right")
    n = np.clip(normal, -2.5, 2.5).T

    def by_subtype(*values: float) -> np.ndarray:
        return np.array(values)[subtype]

    diffusion = by_subtype(11.0, 12.0, 13.0, 12.0, 12.0) + by_subtype(1.3, 2, 2, 1, 1) * n[0]
    # brighter type Ia supernovae are slower (Phillips 1993)
    nickel = by_subtype(0.58, 0.15, 0.17, 0.04, 0.05) * np.exp(
        by_subtype(0.08, 0.3, 0.3, 0.3, 0.3) * n[1] + by_subtype(0.12, 0, 0, 0, 0) * n[0]
    )
    return Parameters(
        subtype=subtype,
        nickel_mass=nickel,
        diffusion_days=diffusion,
        trapping_days=by_subtype(38.0, 90.0, 90.0, 500.0, 500.0),
        velocity=by_subtype(10_500, 9_500, 10_500, 7_000, 8_000)
        + by_subtype(800, 1_000, 1_300, 800, 800) * n[2],
        final_temperature=by_subtype(4_300, 4_800, 4_800, 5_300, 5_600) + 250 * n[3],
        plateau_luminosity=by_subtype(0, 0, 0, 1.5e42, 2.2e42) * np.exp(0.3 * n[4]),
        plateau_days=by_subtype(100, 100, 100, 100, 85) + 8 * n[5],
        plateau_decline_days=by_subtype(400, 400, 400, 400, 55) * np.exp(0.15 * n[6]),
        extinction=-0.12 * np.log1p(-0.98 * uniform[:, 1]),
        line_strength=np.exp(0.3 * (uniform[:, 2] - 0.5)),
    )


def _place(photospheres: Photospheres, uniform: np.ndarray) -> Place:
    """A distance at which the object's maximum has the drawn apparent magnitude."""
    who, near = np.arange(len(uniform)), np.full(len(uniform), TEN_PARSEC_CM)
    nowhere = np.zeros(len(uniform))
    g_band = np.zeros(len(uniform), np.int64)
    absolute = band_fluxes(photospheres, who, photospheres.peak_days, g_band, near, nowhere)
    low, high = _PEAK_MAGNITUDES
    wanted = 10 ** (0.4 * (27.5 - (low + (high - low) * uniform[:, 3])))
    distance = TEN_PARSEC_CM * np.sqrt(absolute / wanted)
    # d = (c/H0) (z + (1 - q0) z^2 / 2), solved for z
    curvature = 1 - _DECELERATION
    redshift = (np.sqrt(1 + 2 * curvature * distance / _HUBBLE_DISTANCE_CM) - 1) / curvature
    return Place(redshift, distance, _SURVEY_MJD + _SURVEY_DAYS * uniform[:, 4])


def _labels(photospheres: Photospheres, place: Place) -> dict[str, list[str] | list[float]]:
    """Per label one value per object: the class and the true parameters, units in the names."""
    p, who, peak = photospheres.parameters, np.arange(_CHUNK), photospheres.peak_days
    numbers = {
        "redshift": place.redshift,
        "peak_mjd": place.peak_mjd,
        "temperature_kelvin": photospheres.at(who, peak)[1],  # at maximum, as the velocity
        "velocity_km_s": photospheres.velocity(who, peak),
        "rise_days": peak,
        "decline_days": photospheres.decline_days,
        "nickel_mass_solar": p.nickel_mass,
        "extinction_mag": p.extinction,
    }
    words = {
        "class": [CLASSES[s] for s in p.subtype],
        "subtype": [SUBTYPES[s] for s in p.subtype],
    }
    return words | {name: values.tolist() for name, values in numbers.items()}


def _sequence(modality: str, observed: Observed, metadata: Metadata, k: int) -> Sequence:
    """Object `k`'s row of the chunk, only what was observed."""
    seen = observed.is_observed[k]
    position = MODALITIES[modality].positions[0].name
    is_photometry = modality == "photometry"
    return Sequence(
        value=observed.value[k, seen],
        error=observed.error[k, seen],
        positions={position: observed.position[k, seen]},
        # code 0 is `unknown`
        categories={"band": (observed.band[k, seen] + 1).astype(np.int16)} if is_photometry else {},
        metadata={name: float(values[k]) for name, values in metadata.items()},
        extras={"truth": observed.truth[k, seen]},
    )


READER = Reader(SyntheticSettings, open_synthetic, needs_source=False)
