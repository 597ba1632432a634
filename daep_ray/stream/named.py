"""The paper's four recipes by name, each adapted to what a survey declares.

In: a survey's declaration (the manifest). Out: a `Recipe`, or one sentence about why the survey is
not one that the recipe is for. A name alone is the paper's text, `<name>:published` what the
published code does where the two differ. Sources: arXiv 2510.20595, tables 1 to 4 and
appendix A; its code and that of its data (Perceiver-diffusion-autoencoder, generative-spectra-
lightcurves).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from daep_ray.errors import ConfigError, DataError
from daep_ray.sample import Axis, Modality
from daep_ray.stream.factors import Factor, PerFrequency
from daep_ray.stream.peak import FittedPeak
from daep_ray.stream.position_chain import DivideByOnePlus, PositionStep, Reference
from daep_ray.stream.recipe import Declares, ModalityRecipe, Recipe
from daep_ray.stream.selection import (
    Augmentation,
    Crop,
    Jitter,
    KeepCategory,
    NoiseFromErrors,
    Positive,
    RandomRemoval,
    Selection,
    SignalToNoise,
)
from daep_ray.stream.value_chain import (
    Arcsinh,
    Log10,
    Magnitude,
    MedianFilter,
    ScaleByMedian,
    ValueStep,
)

FLATTENED = "continuum-divided minus 1"  # half of it negative: no logarithm
RELATIVE = "relative"


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe that someone asks for by name."""

    name: str
    title: str
    source: str  # where in the paper or its code
    modalities: tuple[str, ...]
    build: Callable[[dict[str, Modality]], dict[str, ModalityRecipe]]


def named_recipe(name: str, manifest: Declares) -> Recipe:
    """The recipe `name` for a survey.

    Raises:
        ConfigError: no recipe of that name. DataError: the survey is not one that it is for.
    """
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}: choose one of {', '.join(RECIPES)}")
    named, declared = RECIPES[name], {m.name: m for m in manifest.modalities}
    for modality in named.modalities:
        if modality not in declared:
            raise DataError(
                f"the recipe {name!r} needs the modality {modality!r}, which this survey does not "
                f"have: it has {', '.join(declared)}; leave out --recipe for the survey's own"
            )
    parts = named.build({m: declared[m] for m in named.modalities})
    return Recipe(modalities={m: _declared(part, declared[m]) for m, part in parts.items()})


def _declared(part: ModalityRecipe, modality: Modality) -> ModalityRecipe:
    """The recipe with the unit and the frames that it was made for: others are refused later."""
    frames = {axis.name: axis.frame for axis in modality.positions if axis.frame}
    return part.model_copy(update={"value_units": (modality.value.unit,), "frames": frames})


def _lamost(modalities: dict[str, Modality]) -> dict[str, ModalityRecipe]:
    """Table 1: |flux| > 3 errors, arcsinh(flux), z-scores."""
    spectrum = modalities["spectrum"]
    _wavelength(spectrum)
    return {"spectrum": ModalityRecipe(selection=_three_sigma(spectrum), value=(Arcsinh(),))}


def _lamost_scaled(modalities: dict[str, Modality]) -> dict[str, ModalityRecipe]:
    """As the paper, each spectrum first divided by its own median: counts say nothing."""
    spectrum = modalities["spectrum"]
    _wavelength(spectrum)
    return {
        "spectrum": ModalityRecipe(
            selection=_three_sigma(spectrum), value=(ScaleByMedian(), Arcsinh())
        )
    }


def _lamost_published(modalities: dict[str, Modality]) -> dict[str, ModalityRecipe]:
    """The code: log10(flux) of what is positive, no cut by errors."""
    _wavelength(modalities["spectrum"])
    if modalities["spectrum"].value.unit == FLATTENED:
        raise DataError(
            f"the recipe takes the logarithm of the flux, but these spectra are {FLATTENED}, half "
            "of them negative: take lamost or ztf-spectra"
        )
    return {"spectrum": ModalityRecipe(selection=(Positive(),), value=(Log10(),))}


def _ztf_spectra(
    modalities: dict[str, Modality], is_published: bool = False
) -> dict[str, ModalityRecipe]:
    """Table 2: 3 sigma, log10 flux, median filter 3, rest frame, 220 points, phase."""
    spectrum = modalities["spectrum"]
    axis = _wavelength(spectrum)
    return {
        "spectrum": ModalityRecipe(
            selection=(
                *(() if is_published else _three_sigma(spectrum)),
                *_positive(spectrum),
                Crop(position=axis.name, low=2000.0, high=8000.0),
            ),
            value=(*_log10(spectrum), MedianFilter(width=3)),
            positions={axis.name: _at_rest(spectrum, axis)},
            max_length=220,
            metadata=tuple(m.name for m in spectrum.metadata if m.name == "phase"),
            **_augmentation(spectrum, is_published),
        )
    }


def _ztf_photometry(
    modalities: dict[str, Modality], is_published: bool = False
) -> dict[str, ModalityRecipe]:
    """Table 3: g and r, 3 sigma, magnitudes, days from the fitted r peak, 20 points each."""
    photometry = modalities["photometry"]
    axis = _time(photometry)
    green, red = band_words(photometry, "g"), band_words(photometry, "r")
    return {
        "photometry": ModalityRecipe(
            selection=(
                KeepCategory(category="band", words=(*green, *red)),
                *(() if is_published else _three_sigma(photometry)),
                *_positive(photometry),
                Crop(position=axis.name, low=-20.0, high=70.0),
            ),
            value=_magnitude(photometry),
            positions={axis.name: (FittedPeak(words=red, also=green if is_published else ()),)},
            max_length=20,
            max_length_per="band",
            **_augmentation(photometry, is_published),
        )
    }


def _goldstein(
    modalities: dict[str, Modality], is_published: bool = False
) -> dict[str, ModalityRecipe]:
    """Table 4: log10 F_nu on 3,000-8,000 Angstrom, AB magnitudes, 10 points in every band."""
    spectrum, photometry = modalities["spectrum"], modalities["photometry"]
    axis, time = _wavelength(spectrum), _time(photometry)
    smooth = (MedianFilter(width=3),) if is_published else ()
    augmentation: tuple[Augmentation, ...] = (
        (Jitter(value=0.01, position=0.001), RandomRemoval(fraction=0.1)) if is_published else ()
    )
    return {
        "spectrum": ModalityRecipe(
            selection=(
                *_positive(spectrum),
                Crop(position=axis.name, low=3000.0, high=8000.0),
            ),
            factors=_per_frequency(spectrum),
            value=(*_log10(spectrum), *smooth),
            positions={axis.name: _at_rest(spectrum, axis)},
            metadata=tuple(m.name for m in spectrum.metadata if m.name == "phase"),
            augmentation=augmentation,
        ),
        "photometry": ModalityRecipe(
            selection=_positive(photometry),
            value=_magnitude(photometry),
            positions={time.name: (_peak(photometry),)},
            max_length=10,
            max_length_per="band",
            augmentation=augmentation,
        ),
    }


def _three_sigma(modality: Modality) -> tuple[Selection, ...]:
    return (SignalToNoise(minimum=3.0),) if modality.has_error else ()


def _positive(modality: Modality) -> tuple[Selection, ...]:
    return () if modality.value.unit in ("mag", FLATTENED) else (Positive(),)


def _log10(modality: Modality) -> tuple[ValueStep, ...]:
    """log10 flux; of a relative one only the shape; a flattened one stays as it is."""
    if modality.value.unit == FLATTENED:
        return ()
    return (ScaleByMedian(), Log10()) if modality.value.unit == RELATIVE else (Log10(),)


def _magnitude(modality: Modality) -> tuple[ValueStep, ...]:
    """Magnitudes with the zero point that the unit tells: `FLUXCAL, zero point 27.5`."""
    unit = modality.value.unit
    if unit == "mag":
        return ()
    told = re.search(r"zero point (\d+(?:\.\d+)?)", unit)
    return (Magnitude(zero_point=float(told[1])),) if told else (Magnitude(),)


def _per_frequency(modality: Modality) -> tuple[Factor, ...]:
    """F_lambda to F_nu, where the value is not per frequency already or flattened."""
    unit = modality.value.unit
    is_per_frequency = unit.endswith(("Hz", "Jy")) or "jansky" in unit.lower()
    return () if unit == FLATTENED or is_per_frequency else (PerFrequency(),)


def _at_rest(modality: Modality, axis: Axis) -> tuple[PositionStep, ...]:
    """Observed wavelengths to rest; without a redshift in the data they stay observed."""
    has_redshift = any(m.name == "redshift" for m in modality.metadata)
    return (DivideByOnePlus(),) if axis.frame == "observer" and has_redshift else ()


def _peak(modality: Modality) -> PositionStep:
    """The declared peak, else the brightest point."""
    declared = next((m.name for m in modality.continuous_metadata if m.is_time), None)
    if declared is not None:
        return Reference(at=f"column:{declared}")
    return Reference(at="peak")


def _augmentation(modality: Modality, is_published: bool) -> dict[str, object]:
    """Paper: noise and random removal. Code: noise of 0.01 z units, five copies drawn once."""
    removal = RandomRemoval(fraction=0.1)
    if is_published:
        jitter = Jitter(value=0.01, position=0.0)
        return {"augmentation": (jitter, removal), "frozen_copies": 5}
    noise = NoiseFromErrors() if modality.has_error else Jitter(value=0.01, position=0.0)
    return {"augmentation": (noise, removal)}


def band_words(modality: Modality, letter: str) -> tuple[str, ...]:
    """The words of the vocabulary that name the band: `r`, `R`, `ztfr`, `PS1-r`, `lsst_r`.

    Raises:
        DataError: there are none.
    """
    category = next((c for c in modality.categories if c.name == "band"), None)
    known = () if category is None else category.vocabulary[1:]
    pattern = re.compile(rf"(?:.*[^a-z0-9])?(?:ztf|lsst|sdss|ps1)?{letter}", re.IGNORECASE)
    words = tuple(word for word in known if pattern.fullmatch(word))
    if not words:
        raise DataError(
            f"the recipe needs measurements in the band {letter!r}, which {modality.name!r} of "
            f"this survey does not have: its bands are {', '.join(known) or 'none'}"
        )
    return words


def _wavelength(modality: Modality) -> Axis:
    return _axis(modality, lambda axis: axis.unit == "Angstrom", "a wavelength in Angstrom")


def _time(modality: Modality) -> Axis:
    return _axis(modality, lambda axis: axis.is_time, "a time")


def _axis(modality: Modality, is_wanted: Callable[[Axis], bool], what: str) -> Axis:
    """The first position of the kind.

    Raises:
        DataError: there is none.
    """
    found = next((axis for axis in modality.positions if is_wanted(axis)), None)
    if found is None:
        listed = ", ".join(f"{a.name} ({a.unit or 'no unit'})" for a in modality.positions)
        raise DataError(
            f"the recipe needs {what} as a position of {modality.name!r}, which this survey does "
            f"not have: it has {listed or 'none'}"
        )
    return found


def _published(build: Callable[..., dict[str, ModalityRecipe]]):
    def build_published(modalities: dict[str, Modality]) -> dict[str, ModalityRecipe]:
        return build(modalities, is_published=True)

    return build_published


RECIPES = {
    recipe.name: recipe
    for recipe in (
        NamedRecipe(
            "lamost", "stellar spectra: 3 sigma, arcsinh flux",
            "table 1", ("spectrum",), _lamost,
        ),
        NamedRecipe(
            "lamost:scaled", "as lamost, each spectrum relative to its own median first",
            "for fluxes in relative units", ("spectrum",), _lamost_scaled,
        ),
        NamedRecipe(
            "lamost:published", "log10 of positive flux, no cut by errors",
            "the published code", ("spectrum",), _lamost_published,
        ),
        NamedRecipe(
            "ztf-spectra",
            "supernova spectra: 3 sigma, log10 flux, median filter 3, at rest, 220 points, phase",
            "table 2", ("spectrum",), _ztf_spectra,
        ),
        NamedRecipe(
            "ztf-spectra:published", "no cut by errors; noise of 0.01 in five frozen copies",
            "the published code", ("spectrum",), _published(_ztf_spectra),
        ),
        NamedRecipe(
            "ztf-photometry",
            "light curves: g and r, 3 sigma, magnitudes, days from the fitted r peak, 20 per band",
            "table 3", ("photometry",), _ztf_photometry,
        ),
        NamedRecipe(
            "ztf-photometry:published",
            "around the peak in g too, no cut by errors; noise of 0.01 in five frozen copies",
            "the published code", ("photometry",), _published(_ztf_photometry),
        ),
        NamedRecipe(
            "goldstein",
            "pairs: spectra as log10 flux per frequency, AB magnitudes, 10 points per band",
            "table 4", ("spectrum", "photometry"), _goldstein,
        ),
        NamedRecipe(
            "goldstein:published", "with a median filter of 3 and noise of 0.01 in z units",
            "the published code", ("spectrum", "photometry"), _published(_goldstein),
        ),
    )
}  # fmt: skip
