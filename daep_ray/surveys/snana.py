"""SNANA text files (Kessler et al. 2009, PASP 121, 1028): light curves and spectra of supernovae.

In: a folder or an archive of SNANA text files. Out: an object with K spectra gives K samples
`<file stem>/<k>`, each with the light curve (shared) and one spectrum; without spectra, or with
none that can be read, one sample `<file stem>`.

`photometry`: flux FLUXCAL (zero point 27.5), time MJD, category band; `redshift` and `peak` (MJD)
as metadata. `spectrum`: observer frame, flux as the file has it (absolute, or relative);
`phase` = (MJD - peak) / (1 + redshift), `redshift` and `ebv` (E(B-V) of the Milky Way's dust, not
corrected for) as metadata. The bands of the whole survey are collected before the first record,
since they are the vocabulary.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from daep_ray.errors import DataError
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
from daep_ray.settings import Settings
from daep_ray.surveys.names import SampleNames, object_id, supernova_class
from daep_ray.surveys.snana_text import (
    LightCurve,
    Malformed,
    SnanaObject,
    Spectrum,
    bands_in,
    has_spectra,
    parse,
)
from daep_ray.surveys.source import RawFile, check_source, is_document, walk
from daep_ray.surveys.survey import Reader, Survey

# file lists and tables of metadata beside the light curves
_IGNORED = re.compile(r"\.(list|ignore)$|(^|[_.-])meta([_.-]|$)", re.IGNORECASE)
_SIMULATED_TYPE = re.compile(r"SN Type\s*=\s*([^\s,]+)")
_TYPE_BY_CODE = {1: "Ia", 101: "Ia", 2: "II", 3: "Ibc", 32: "Ib", 33: "Ic"}
_TYPE_BY_CODE |= dict.fromkeys(range(20, 30), "II")


class SnanaSettings(Settings):
    """`default_subtype`: the type of objects whose files name none (`Ia` for SALT3's training)."""

    default_subtype: str = ""


class SnanaTextSettings(SnanaSettings):
    """`only_pairs`: objects that lack a light curve or a spectrum are ignored, by their file."""

    only_pairs: bool = False


def open_snana(source: Path | None, settings: SnanaTextSettings) -> Survey:
    """The SNANA text files below `source`; one pass over them collects the bands.

    Raises:
        DataError: nothing there, or not a single light curve or spectrum.
    """
    assert source is not None
    check_source(source)
    bands: set[str] = set()
    with_spectra = False
    for found in walk(source, is_ignored):
        if isinstance(found, RawFile):
            bands |= bands_in(found.content)
            with_spectra = with_spectra or has_spectra(found.content)
    if not bands and not with_spectra:
        raise DataError(
            f"no SNANA light curve or spectrum (rows OBS: under a VARLIST:, or SPEC:) in "
            f"{str(source)!r}: is it another format?"
        )
    vocabulary = (UNKNOWN, *sorted(bands - {UNKNOWN}))
    photometry, spectrum = photometry_modality(vocabulary), SPECTRUM
    return Survey(
        format="snana",
        modalities=(photometry,) * bool(bands) + (spectrum,) * with_spectra,
        records=lambda: _records(source, settings, photometry),
        source={"format": "snana", "options": settings.model_dump(), "name": source.name},
    )


def photometry_modality(vocabulary: tuple[str, ...]) -> Modality:
    """Light curves of supernovae with these bands."""
    return Modality(
        name="photometry",
        value=Axis("flux", "FLUXCAL, zero point 27.5"),
        positions=(Axis("time", "day", is_time=True, frame="observer"),),
        categories=(Category("band", vocabulary),),
        metadata=(Axis("redshift", ""), Axis("peak", "day", is_time=True, frame="observer")),
    )


SPECTRUM = Modality(
    name="spectrum",
    value=Axis("flux", "relative"),
    positions=(Axis("wavelength", "Angstrom", frame="observer"),),
    metadata=(Axis("phase", "day", frame="rest"), Axis("redshift", ""), Axis("ebv", "mag")),
)


def is_ignored(name: str) -> bool:
    """A document, a list of files, a table of metadata."""
    return is_document(name) or _IGNORED.search(name.rpartition("/")[2]) is not None


def _records(source: Path, settings: SnanaTextSettings, photometry: Modality) -> Iterator[Record]:
    names = SampleNames()
    codes = {word: code for code, word in enumerate(photometry.categories[0].vocabulary)}
    for found in walk(source, is_ignored):
        if isinstance(found, RawFile):
            yield from _samples(found, names, settings, codes)
        else:
            yield found


def _samples(
    file: RawFile, names: SampleNames, settings: SnanaTextSettings, codes: dict[str, int]
) -> Iterator[Record]:
    """One file's samples; what cannot be read stands as `Quarantined`, one per sample."""
    try:
        found = parse(file.content)
    except Malformed as error:
        units = [f"spectrum {k}" for k in range(error.num_lost)] if error.num_lost > 1 else [""]
        yield from (Quarantined(file.name, unit, str(error)) for unit in units)
        return
    if settings.only_pairs and (found.light_curve is None or not found.spectra):
        yield Ignored(file.name)
        return
    stem = names.name(file.name)
    common: dict[str, Sequence] = {}
    if found.light_curve is not None:
        common["photometry"] = photometry_of(found.light_curve, found, codes)
    num_written = 0
    for k, spectrum in enumerate(found.spectra):
        if isinstance(spectrum, Malformed):
            yield Quarantined(file.name, f"spectrum {k}", str(spectrum))
        else:
            sequences = common | {"spectrum": _spectrum(spectrum, found)}
            yield sample_of(f"{stem}/{k}", found, sequences, settings)
            num_written += 1
    if num_written == 0 and common:
        yield sample_of(stem, found, common, settings)
    elif num_written == 0 and not found.spectra:
        yield Quarantined(file.name, "", "no valid measurement (flux a number, error positive)")


def sample_of(
    sample_id: str, found: SnanaObject, sequences: dict[str, Sequence], settings: SnanaSettings
) -> Sample:
    """A sample with the object's id and labels."""
    survey = found.header.get("SURVEY", "").partition("#")[0].strip()
    subtype = _subtype(found.header) or settings.default_subtype or None
    return Sample(
        sample_id=sample_id,
        object_id=object_id(found.header["SNID"].partition("#")[0], survey),
        sequences=sequences,
        labels={
            "class": supernova_class(subtype) if subtype else None,
            "subtype": subtype,
            "survey": survey or None,
        },
    )


def _subtype(header: dict[str, str]) -> str | None:
    """The simulated type where there is one, else the survey's code or text; None if unknown."""
    simulated = _SIMULATED_TYPE.search(header.get("SIM_COMMENT", ""))
    if simulated:
        return simulated[1]
    simulated_name = header.get("SIM_TYPE_NAME", "")
    if supernova_class(simulated_name):
        return simulated_name
    if header.get("SIM_MODEL_NAME", "").startswith("SALT"):
        return "Ia"  # a model of nothing else; PLAsTiCC's SNTYPE is a code of its own
    for key in ("SNTYPE", "TYPE"):
        words = header.get(key, "").split()
        if words and re.fullmatch(r"[+-]?\d+", words[0]):
            return _TYPE_BY_CODE.get(int(words[0]))
        if words and supernova_class(words[0]):
            return words[0]
    return None


def photometry_of(curve: LightCurve, found: SnanaObject, codes: dict[str, int]) -> Sequence:
    """The light curve with its band codes."""
    return Sequence(
        value=curve.flux,
        error=curve.error,
        positions={"time": curve.mjd},
        categories={"band": np.array([codes.get(b, 0) for b in curve.band], np.int16)},
        metadata={"redshift": found.redshift, "peak": found.peak},
    )


def _spectrum(spectrum: Spectrum, found: SnanaObject) -> Sequence:
    peak, redshift = found.peak, found.redshift
    phase = None
    if spectrum.mjd is not None and peak is not None and redshift is not None:
        phase = (spectrum.mjd - peak) / (1 + redshift)
    return Sequence(
        value=spectrum.flux,
        error=spectrum.error,
        positions={"wavelength": spectrum.wavelength},
        metadata={"phase": phase, "redshift": redshift, "ebv": found.ebv},
    )


READER = Reader(SnanaTextSettings, open_snana, needs_source=True)
