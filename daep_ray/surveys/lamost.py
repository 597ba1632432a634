"""LAMOST spectra, FITS (Cui et al. 2012, RAA 12, 1197): one sample per file, four layouts.

In: a folder or an archive of `.fits` or `.fits.gz` files. Out: samples `<file stem>` with the
modality `spectrum`. The header's EXTEN0 and the names of the tables decide the layout, never a
shape:

    DR1          primary image, EXTEN0 = Flux Inverse Subcontinuum Andmask Ormask; the third row is
                 the flux divided by its continuum, the wavelength is 10**(COEFF0 + COEFF1 * i)
    DR6, DR7     primary image, EXTEN0 = Flux, Inverse, Wavelength, Andmask, Ormask
    DR9          table COADD, one row of vectors FLUX IVAR WAVELENGTH ANDMASK
    medium res.  tables COADD_B, COADD_R (one may lack), a row per pixel: FLUX IVAR LOGLAM ANDMASK

A point with inverse variance 0 or less, or with a bit of ANDMASK (bad in every exposure), was not
measured and is left out; ORMASK (bad in some exposure) is not looked at, since the pipeline's sum
has left those exposures out. Flux is relative. The two arms of a medium-resolution spectrum become
one sequence; they are not calibrated against each other, so expect a step between them.

Wavelengths are in vacuum and heliocentric. Their frame is the observer's: the redshift Z (within
0.0007 of 0 for stars) is metadata, and is not divided out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io.fits import HDUList

from daep_ray.errors import DataError
from daep_ray.sample import Axis, Modality, Quarantined, Record, Sample
from daep_ray.settings import Settings
from daep_ray.surveys.fits import (
    FitsDefect,
    column,
    extension_names,
    header_number,
    header_text,
    image,
    numbers,
    open_fits,
)
from daep_ray.surveys.names import SampleNames
from daep_ray.surveys.source import RawFile, check_source, walk
from daep_ray.surveys.spectra import error_of, spectrum
from daep_ray.surveys.survey import Reader, Survey

SPECTRUM = Modality(
    name="spectrum",
    value=Axis("flux", "relative"),
    positions=(Axis("wavelength", "Angstrom", frame="observer"),),
    metadata=(Axis("redshift", ""),),
)
_ROW = re.compile(r"flux|inverse|wavelength|subcontinuum|andmask|ormask")  # words of EXTEN0
_MEDIUM_ARMS = ("COADD_B", "COADD_R")
_UNKNOWN = frozenset({"", "UNKNOWN", "NON", "NULL"})  # classes that say nothing
_LETTER = re.compile(r"(?:e?sd|d|g)?([OBAFGKM])(?![a-z])")  # A5V, dM0, sdM1; not Binary, Carbon
_DESIGNATION = re.compile(r"J(\d{2})(\d{2})([\d.]+)([+-])(\d{2})(\d{2})([\d.]+)")


class LamostSettings(Settings):
    """LAMOST spectra need no settings."""


@dataclass(frozen=True)
class _Points:
    """One arm as the file has it, (N,) each."""

    wavelength: np.ndarray
    flux: np.ndarray
    inverse_variance: np.ndarray
    and_mask: np.ndarray

    def __post_init__(self) -> None:
        lengths = [len(array) for array in vars(self).values()]
        if len(set(lengths)) > 1:
            raise FitsDefect(f"wavelength, flux, variance and mask have unequal lengths {lengths}")


def open_lamost(source: Path | None, settings: LamostSettings) -> Survey:
    """The spectra below `source`.

    Raises:
        DataError: nothing there, or not a single FITS file.
    """
    assert source is not None
    check_source(source)
    if not any(isinstance(f, RawFile) and f.content.startswith(b"SIMPLE") for f in walk(source)):
        raise DataError(f"no FITS file in {str(source)!r}: is it another format?")
    return Survey(
        format="lamost",
        modalities=(SPECTRUM,),
        records=lambda: _records(source),
        source={"format": "lamost", "options": settings.model_dump(), "name": source.name},
    )


def _records(source: Path) -> Iterator[Record]:
    names = SampleNames()
    for found in walk(source):
        yield _sample(found, names) if isinstance(found, RawFile) else found


def _sample(file: RawFile, names: SampleNames) -> Record:
    try:
        hdus = open_fits(file.content)
        points = _points(hdus)
    except FitsDefect as defect:
        return Quarantined(file.name, "", str(defect))
    header = hdus[0]
    error = error_of(points.inverse_variance, points.and_mask != 0)
    redshift = header_number(header, "Z")
    sequence = spectrum(points.wavelength, points.flux, error, {"redshift": redshift})
    if sequence is None:
        return Quarantined(file.name, "", "no measurement (all inverse variances 0, or masked)")
    stem = names.name(file.name)
    return Sample(
        sample_id=stem,
        object_id=_object_id(hdus) or stem,
        sequences={"spectrum": sequence},
        labels=_labels(hdus),
    )


def _labels(hdus: HDUList) -> dict[str, str | float | None]:
    """A star's class is its spectral letter: `STAR` for every spectrum would tell nothing.

    Stars without a letter (`WD`, `CV`, `Carbon`) have their subclass.
    """
    general, subtype = _known(hdus, "CLASS"), _known(hdus, "SUBCLASS")
    if general == "STAR" and subtype is not None:
        letter = _LETTER.match(subtype)
        return {"class": letter[1] if letter else subtype, "subtype": subtype}
    return {"class": general, "subtype": subtype}


def _points(hdus: HDUList) -> _Points:
    if header_text(hdus[0], "VACUUM") == "False":
        raise FitsDefect("the wavelengths are in air (VACUUM = F); LAMOST's are in vacuum")
    names = extension_names(hdus)
    arms = [arm for arm in _MEDIUM_ARMS if arm in names]
    if arms:
        return _joined([_medium_arm(hdus, arm) for arm in arms])
    if "COADD" in names:
        return _coadd(hdus)
    return _image(hdus)


def _image(hdus: HDUList) -> _Points:
    """DR1, DR6, DR7: EXTEN0 names the rows of the primary image."""
    rows = _ROW.findall((header_text(hdus[0], "EXTEN0") or "").lower())
    if not {"flux", "inverse", "andmask"} <= set(rows):
        raise FitsDefect(
            "no LAMOST layout: neither EXTEN0 with Flux, Inverse and Andmask, nor a table COADD, "
            "COADD_B or COADD_R"
        )
    table = numbers(image(hdus, ""), "the primary image")
    if table.ndim != 2 or len(table) != len(rows):
        raise FitsDefect(f"EXTEN0 names {len(rows)} rows, the image has the shape {table.shape}")
    row = dict(zip(rows, table, strict=True))
    if "wavelength" not in row:
        row["wavelength"] = _wavelength(hdus, table.shape[1])
    return _Points(row["wavelength"], row["flux"], row["inverse"], row["andmask"])


def _wavelength(hdus: HDUList, num_points: int) -> np.ndarray:
    first, step = header_number(hdus[0], "COEFF0"), header_number(hdus[0], "COEFF1")
    if first is None or step is None or not 0 < first + step * num_points < 10:
        raise FitsDefect(f"no wavelengths: COEFF0 is {first}, COEFF1 is {step}")
    return np.asarray(10 ** (first + step * np.arange(num_points)), np.float64)


def _coadd(hdus: HDUList) -> _Points:
    """DR9: one row of vectors."""
    columns = []
    for name in ("WAVELENGTH", "FLUX", "IVAR", "ANDMASK"):
        vectors = numbers(column(hdus, "COADD", name), f"the column COADD.{name}")
        if vectors.ndim != 2 or len(vectors) != 1:
            raise FitsDefect(f"COADD.{name} has the shape {vectors.shape} instead of one vector")
        columns.append(vectors[0])
    return _Points(*columns)


def _medium_arm(hdus: HDUList, arm: str) -> _Points:
    columns = [
        numbers(column(hdus, arm, name), f"the column {arm}.{name}")
        for name in ("LOGLAM", "FLUX", "IVAR", "ANDMASK")
    ]
    if any(array.ndim != 1 for array in columns):
        raise FitsDefect(f"the table {arm} holds vectors, not one number per pixel")
    logarithm, flux, inverse_variance, and_mask = columns
    with np.errstate(over="ignore"):  # infinite: left out as not measured
        return _Points(10**logarithm, flux, inverse_variance, and_mask)


def _joined(arms: list[_Points]) -> _Points:
    names = ("wavelength", "flux", "inverse_variance", "and_mask")
    return _Points(*(np.concatenate([getattr(arm, name) for arm in arms]) for name in names))


def _known(hdus: HDUList, key: str) -> str | None:
    text = header_text(hdus[0], key)
    return None if text is None or text.upper() in _UNKNOWN else text


def _object_id(hdus: HDUList) -> str | None:
    """The star's position as DESIG writes it, to 0.1 s and 1 arcsec; OBSID where there is none.

    The same star is J192814.09+435530.8 in one release and J192814.09+435531.0 in another, and a
    fibre is 3.3 arcsec wide: the last digits would put it into two splits. (Rounding can still
    part two such positions; it never joins what LAMOST resolves.)
    """
    match = _DESIGNATION.search(header_text(hdus[0], "DESIG") or "")
    if match is None:
        observation = header_text(hdus[0], "OBSID")
        return f"lamost-{observation}" if observation else None
    hours, minutes, seconds, sign, degrees, arc_minutes, arc_seconds = match.groups()
    try:
        tenths = round(float(seconds) * 10)
        whole = round(float(arc_seconds))
    except ValueError:
        return None
    right_ascension = f"{hours}{minutes}{tenths // 10:02d}.{tenths % 10}"
    return f"lamost-j{right_ascension}{sign}{degrees}{arc_minutes}{whole:02d}"


READER = Reader(LamostSettings, open_lamost, needs_source=True)
