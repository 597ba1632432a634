"""DESI coadds and spectra, FITS (DESI data model; DESI Collaboration 2024, AJ 168, 58).

In: a folder or an archive of `coadd-*.fits` or `spectra-*.fits`. Out: one sample
`<file stem>/<row>` per row of FIBERMAP, with the modality `spectrum`: the arms B, R and Z joined
and sorted by wavelength (where B and R overlap, both points stay). Rows of one TARGETID, such as
the exposures of one galaxy, are one object.

Each arm is four images: X_WAVELENGTH (W,) in Angstrom, vacuum, observer frame; X_FLUX and X_IVAR
(rows, W) in 1e-17 erg/s/cm2/Angstrom and its inverse square; X_MASK (rows, W), 0 = good. A point
with inverse variance 0 or less, or any bit of the mask, was not measured and is left out; a row
without any point is quarantined. These files hold no class and no redshift: `target` says what the
fibre pointed at (TGT, SKY), where it is known.
"""

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
    column_names,
    extension,
    extension_names,
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
    value=Axis("flux", "1e-17 erg/s/cm2/Angstrom"),
    positions=(Axis("wavelength", "Angstrom", frame="observer"),),
    metadata=(Axis("mjd", "day", is_time=True, frame="observer"),),
)
_ARMS = "BRZ"
_FLUX_POWER = "-17"  # BUNIT is written `10**-17 erg/(s cm2 Angstrom)`, `1E-17 erg ...`


class DesiSettings(Settings):
    """DESI spectra need no settings."""


@dataclass(frozen=True)
class _Rows:
    """What FIBERMAP says of each spectrum, (rows,) each."""

    target_id: np.ndarray
    target: list[str | None]
    mjd: list[float | None]


@dataclass(frozen=True)
class _Arm:
    wavelength: np.ndarray  # (W,)
    flux: np.ndarray  # (rows, W)
    inverse_variance: np.ndarray  # (rows, W)
    mask: np.ndarray  # (rows, W)


def open_desi(source: Path | None, settings: DesiSettings) -> Survey:
    """The coadds and spectra below `source`.

    Raises:
        DataError: nothing there, or not a single FITS file.
    """
    assert source is not None
    check_source(source)
    if not any(isinstance(f, RawFile) and f.content.startswith(b"SIMPLE") for f in walk(source)):
        raise DataError(f"no FITS file in {str(source)!r}: is it another format?")
    return Survey(
        format="desi",
        modalities=(SPECTRUM,),
        records=lambda: _records(source),
        source={"format": "desi", "options": settings.model_dump(), "name": source.name},
    )


def _records(source: Path) -> Iterator[Record]:
    names = SampleNames()
    for found in walk(source):
        if isinstance(found, RawFile):
            yield from _samples(found, names)
        else:
            yield found


def _samples(file: RawFile, names: SampleNames) -> Iterator[Record]:
    """A file's rows; one `Quarantined` per row where the images cannot be read."""
    num_lost = 0
    try:
        hdus = open_fits(file.content)
        rows = _rows(hdus)
        num_lost = len(rows.target_id)
        arms = [
            _arm(hdus, arm, num_lost) for arm in _ARMS if f"{arm}_FLUX" in extension_names(hdus)
        ]
        if not arms:
            raise FitsDefect("no DESI layout: none of the images B_FLUX, R_FLUX, Z_FLUX is there")
    except FitsDefect as error:
        units = [f"row {k}" for k in range(num_lost)] or [""]
        yield from (Quarantined(file.name, unit, str(error)) for unit in units)
        return
    stem = names.name(file.name)
    for k in range(num_lost):
        yield _sample(file.name, stem, k, rows, arms)


def _sample(file: str, stem: str, k: int, rows: _Rows, arms: list[_Arm]) -> Record:
    sequence = spectrum(
        np.concatenate([arm.wavelength for arm in arms]),
        np.concatenate([arm.flux[k] for arm in arms]),
        np.concatenate([error_of(arm.inverse_variance[k], arm.mask[k] != 0) for arm in arms]),
        {"mjd": rows.mjd[k]},
    )
    target = int(rows.target_id[k])
    if sequence is None:
        why = f"target {target} has no measurement (all inverse variances 0, or masked)"
        return Quarantined(file, f"row {k}", why)
    return Sample(
        sample_id=f"{stem}/{k}",
        object_id=f"desi-{target}",
        sequences={"spectrum": sequence},
        labels={"class": None, "subtype": None, "target": rows.target[k]},
    )


def _rows(hdus: HDUList) -> _Rows:
    target_id = column(hdus, "FIBERMAP", "TARGETID")
    if target_id.dtype.kind not in "iu" or target_id.ndim != 1:
        raise FitsDefect(f"FIBERMAP.TARGETID holds no integers but {target_id.dtype.name}")
    names = column_names(hdus, "FIBERMAP")
    target: list[str | None] = [None] * len(target_id)
    if "OBJTYPE" in names:
        target = [str(word) or None for word in column(hdus, "FIBERMAP", "OBJTYPE")]
    mjd: list[float | None] = [None] * len(target_id)
    for name in ("MJD", "MEAN_MJD"):  # an exposure's, a coadd's
        if name in names:
            days = numbers(column(hdus, "FIBERMAP", name), f"the column FIBERMAP.{name}")
            mjd = [float(day) if np.isfinite(day) and day > 0 else None for day in days]
            break
    return _Rows(target_id, target, mjd)


def _arm(hdus: HDUList, arm: str, num_rows: int) -> _Arm:
    unit = header_text(extension(hdus, f"{arm}_FLUX"), "BUNIT")
    if unit is not None and _FLUX_POWER not in unit:
        raise FitsDefect(f"{arm}_FLUX is in {unit}, this format is in {SPECTRUM.value.unit}")
    wavelength, *planes = (
        numbers(image(hdus, f"{arm}_{name}"), f"the image {arm}_{name}")
        for name in ("WAVELENGTH", "FLUX", "IVAR", "MASK")
    )
    for name, plane in zip(("FLUX", "IVAR", "MASK"), planes, strict=True):
        if wavelength.ndim != 1 or plane.shape != (num_rows, len(wavelength)):
            raise FitsDefect(
                f"{arm}_{name} has the shape {plane.shape}, but there are {num_rows} rows in "
                f"FIBERMAP and {wavelength.size} wavelengths"
            )
    return _Arm(wavelength, *planes)


READER = Reader(DesiSettings, open_desi, needs_source=True)
