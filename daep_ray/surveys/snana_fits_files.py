"""The files of an SNANA FITS survey: which two belong together, and what their tables hold.

In: a source. Out: its pairs as they become complete, in bounded memory; a HEAD's rows and a PHOT's
light curves as arrays. Whatever is wrong with a file is a `FitsDefect`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from daep_ray.sample import Ignored, Quarantined
from daep_ray.surveys.fits import FitsDefect, column, column_names, header_text, open_fits
from daep_ray.surveys.snana import is_ignored
from daep_ray.surveys.source import MAX_FILE_BYTES, RawFile, walk

MAX_WAITING_BYTES = MAX_FILE_BYTES  # of halves whose other half has not come yet
_HALF = re.compile(r"_(HEAD|PHOT)\.FITS?$", re.IGNORECASE)
_CHUNK = re.compile(r"-\d+$")  # `DES_Ia-0001`: large simulations come in numbered pairs
SEPARATOR = -777.0
_BAND_COLUMNS = ("BAND", "FLT")
POINTERS = ("PTROBS_MIN", "PTROBS_MAX")
HEADER_KEYS = (
    "SNID", "SNTYPE", "SIM_TYPE_NAME", "SIM_MODEL_NAME", "SEARCH_PEAKMJD", "PEAKMJD",
    "SIM_PEAKMJD", "REDSHIFT_HELIO", "REDSHIFT_FINAL", "REDSHIFT_CMB", "REDSHIFT_SPEC",
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two files that belong together; one of them may be missing, for a reason."""

    stem: str  # path without `_HEAD.FITS`
    head: RawFile | None
    phot: RawFile | None
    reason: str = ""  # why a half is missing


@dataclass(frozen=True)
class Photometry:
    """A PHOT file, cut: light curve k is rows `start[k]:stop[k]`."""

    mjd: np.ndarray  # (N,) float64
    flux: np.ndarray  # (N,) float64
    error: np.ndarray  # (N,) float64
    band: np.ndarray  # (N,) str
    start: np.ndarray  # (K,) int64
    stop: np.ndarray  # (K,) int64


# ---------------------------------------------------------------- pairing


def pairs(source: Path) -> Iterator[Pair | Quarantined | Ignored]:
    """The source's pairs as they become complete; what waits for its other half is bounded.

    A half that stays alone comes with a reason. What is neither half stands as `Quarantined`.
    """
    waiting: dict[str, Pair] = {}
    for found in walk(source, is_ignored):
        if not isinstance(found, RawFile):
            yield found
            continue
        half = _HALF.search(found.name)
        if half is None:
            why = "neither X_HEAD.FITS nor X_PHOT.FITS"
            yield Quarantined(found.name, "", why)
            continue
        stem, is_head = found.name[: half.start()], half[1].upper() == "HEAD"
        other = waiting.pop(stem, None)
        if other is None:
            waiting[stem] = Pair(stem, found if is_head else None, None if is_head else found)
        elif (other.head is None) == is_head:
            yield Pair(stem, other.head or found, other.phot or found)
        else:
            waiting[stem] = other
            yield Quarantined(found.name, "", "a file of this name was there before")
        yield from _evicted(waiting)
    why = "there is no {} beside it"
    yield from (_half_alone(pair, why) for pair in waiting.values())


def _evicted(waiting: dict[str, Pair]) -> Iterator[Pair]:
    """The halves that have waited longest, until the rest fits."""
    while sum(_num_bytes(pair) for pair in waiting.values()) > MAX_WAITING_BYTES:
        limit = MAX_WAITING_BYTES // 2**20
        why = f"{{}} does not come within {limit} MiB of the archive: unpack it, give the folder"
        yield _half_alone(waiting.pop(next(iter(waiting))), why)


def _num_bytes(pair: Pair) -> int:
    return sum(len(half.content) for half in (pair.head, pair.phot) if half is not None)


def _half_alone(pair: Pair, why: str) -> Pair:
    missing = f"{pair.stem.rpartition('/')[2]}_{'HEAD' if pair.head is None else 'PHOT'}.FITS"
    return Pair(pair.stem, pair.head, pair.phot, why.format(missing))


# ---------------------------------------------------------------- tables


def _open(file: RawFile) -> fits.HDUList:
    hdus = open_fits(file.content)
    if len(hdus) < 2:
        raise FitsDefect("has no table: its first extension is missing")
    return hdus


def _column(hdus: fits.HDUList, name: str, kind: type) -> np.ndarray:
    """(rows,) of the first extension's table; text without its padding.

    Raises:
        FitsDefect: no such column, or one of another type.
    """
    values = column(hdus, hdus[1].name, name)
    if values.ndim != 1:
        raise FitsDefect(f"the column {name} holds {values.ndim - 1}-dimensional entries")
    if kind is str:
        return np.char.strip(values.astype(str))
    if values.dtype.kind not in "fiu":
        raise FitsDefect(f"the column {name} holds no numbers but {values.dtype.name}")
    return values.astype(kind)


def read_rows(head: RawFile) -> dict[str, np.ndarray]:
    """The columns of HEAD that are read; SNID as text, whether the file has text or integers.

    Raises:
        FitsDefect: no FITS table, or a column missing or of another type.
    """
    hdus = _open(head)
    rows = {"SNID": _column(hdus, "SNID", str), "NOBS": _column(hdus, "NOBS", np.int64)}
    for name in column_names(hdus, hdus[1].name):
        if name in POINTERS:
            rows[name] = _column(hdus, name, np.int64)
        elif name in HEADER_KEYS:
            rows[name] = _column(hdus, name, str)
    return rows


def read_photometry(file: RawFile) -> Photometry:
    """The light curves of PHOT, cut at its separators.

    Raises:
        FitsDefect: no FITS table, or a column missing or of another type.
    """
    hdus = _open(file)
    there = column_names(hdus, hdus[1].name)
    band = next((n for n in _BAND_COLUMNS if n in there), None)
    if band is None:
        raise FitsDefect(f"has no column {' or '.join(_BAND_COLUMNS)}")
    mjd = _column(hdus, "MJD", np.float64)
    separators = np.flatnonzero(mjd == SEPARATOR)
    start, stop = np.append(0, separators + 1), np.append(separators, len(mjd))
    if start[-1] == len(mjd):  # the last light curve is closed too
        start, stop = start[:-1], stop[:-1]
    return Photometry(
        mjd=mjd,
        flux=_column(hdus, "FLUXCAL", np.float64),
        error=_column(hdus, "FLUXCALERR", np.float64),
        band=_column(hdus, band, str),
        start=start,
        stop=stop,
    )


def survey_of(head: RawFile, stem: str) -> str:
    """SURVEY of HEAD's primary header, else the pair's name without its number."""
    named = header_text(open_fits(head.content)[0], "SURVEY")
    return named or _CHUNK.sub("", stem.rpartition("/")[2])
