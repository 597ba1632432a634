"""SNANA FITS: light curves in pairs `X_HEAD.FITS` (a row per object), `X_PHOT.FITS` (measurements).

In: a folder or an archive of such pairs, in any order. Out: a sample `X/<SNID>` per object with the
modality `photometry` of `surveys/snana.py`, so that both formats can be merged.

PHOT holds all light curves end to end, each closed by a row with MJD -777 (the last not always).
These separators cut them, and NOBS of HEAD must agree. The pointers PTROBS_MIN/MAX, from 1 and both
ends included, are not believed: in one published set 196 of 200 point at other objects' rows, 89 of
them past the end. How many disagree is told in the manifest (`source.num_stale_pointers`).
-9 and the like in HEAD are missing. An object without SURVEY in its header goes by the pair's name.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from daep_ray.errors import DataError
from daep_ray.sample import UNKNOWN, Quarantined, Record
from daep_ray.surveys.fits import FitsDefect
from daep_ray.surveys.names import SampleNames
from daep_ray.surveys.snana import SnanaSettings, photometry_modality, photometry_of, sample_of
from daep_ray.surveys.snana_fits_files import (
    HEADER_KEYS,
    POINTERS,
    SEPARATOR,
    Pair,
    Photometry,
    pairs,
    read_photometry,
    read_rows,
    survey_of,
)
from daep_ray.surveys.snana_text import SnanaObject, measured_curve
from daep_ray.surveys.source import check_source
from daep_ray.surveys.survey import Reader, Survey


def open_snana_fits(source: Path | None, settings: SnanaSettings) -> Survey:
    """The pairs below `source`; one pass over them collects the bands and checks the pointers.

    Raises:
        DataError: nothing there, or not a single pair with measurements.
    """
    assert source is not None
    check_source(source)
    bands: set[str] = set()
    num_stale = 0
    for pair in pairs(source):
        if isinstance(pair, Pair) and pair.phot is not None:
            try:
                phot = read_photometry(pair.phot)
                bands |= set(np.unique(phot.band[phot.mjd != SEPARATOR]).tolist())
                num_stale += 0 if pair.head is None else _num_stale(read_rows(pair.head), phot)
            except FitsDefect:
                continue  # `records` says what is wrong
    if not bands:
        raise DataError(
            f"no SNANA FITS pair (X_HEAD.FITS and X_PHOT.FITS with measurements) in "
            f"{str(source)!r}: is it another format?"
        )
    photometry = photometry_modality((UNKNOWN, *sorted(bands - {UNKNOWN})))
    codes = {word: code for code, word in enumerate(photometry.categories[0].vocabulary)}
    return Survey(
        format="snana_fits",
        modalities=(photometry,),
        records=lambda: _records(source, settings, codes),
        source={
            "format": "snana_fits",
            "options": settings.model_dump(),
            "name": source.name,
            "num_stale_pointers": num_stale,
        },
    )


def _records(source: Path, settings: SnanaSettings, codes: dict[str, int]) -> Iterator[Record]:
    names = SampleNames()
    for pair in pairs(source):
        if isinstance(pair, Pair):
            yield from _samples(pair, names, settings, codes)
        else:
            yield pair


def _samples(
    pair: Pair, names: SampleNames, settings: SnanaSettings, codes: dict[str, int]
) -> Iterator[Record]:
    """A pair's objects; one that cannot be read stands as `Quarantined`, by its SNID."""
    if pair.head is None:
        assert pair.phot is not None
        yield Quarantined(pair.phot.name, "", pair.reason)
        return
    try:
        rows = read_rows(pair.head)
    except FitsDefect as defect:
        yield Quarantined(pair.head.name, "", str(defect))
        return
    try:
        if pair.phot is None:
            raise FitsDefect(pair.reason)
        phot = read_photometry(pair.phot)
    except FitsDefect as defect:
        yield from (Quarantined(pair.head.name, str(i), str(defect)) for i in rows["SNID"])
        return
    survey = survey_of(pair.head, pair.stem)
    yield from _objects(pair.head.name, names.name(pair.stem), rows, phot, survey, settings, codes)


def _objects(
    file: str,
    prefix: str,
    rows: dict[str, np.ndarray],
    phot: Photometry,
    survey: str,
    settings: SnanaSettings,
    codes: dict[str, int],
) -> Iterator[Record]:
    """The rows of one HEAD with their light curves."""
    seen: set[str] = set()
    reasons = _disagreements(rows["NOBS"], phot)
    for k, (snid, reason) in enumerate(zip(rows["SNID"].tolist(), reasons, strict=True)):
        if snid in seen:
            reason = reason or "an object of this SNID was there before in the file"
        if reason:
            yield Quarantined(file, snid, reason)
            continue
        seen.add(snid)
        cut = slice(phot.start[k], phot.stop[k])
        bands = phot.band[cut].tolist()
        curve = measured_curve(phot.mjd[cut], phot.flux[cut], phot.error[cut], bands)
        if curve is None:
            why = "no valid measurement (flux a number, error positive)"
            yield Quarantined(file, snid, why)
            continue
        header = {key: str(rows[key][k]) for key in HEADER_KEYS if key in rows}
        found = SnanaObject(header | {"SURVEY": survey}, curve, [])
        sequences = {"photometry": photometry_of(curve, found, codes)}
        yield sample_of(f"{prefix}/{snid}", found, sequences, settings)


def _disagreements(num_observations: np.ndarray, phot: Photometry) -> list[str]:
    """Per object why the separators do not give its light curve, "" where they do.

    Where there are more or fewer light curves than objects, only those before the first that
    disagrees are certain.
    """
    num_objects, num_curves = len(num_observations), len(phot.start)
    lengths = np.full(num_objects, -1)
    lengths[:num_curves] = (phot.stop - phot.start)[:num_objects]
    is_good = lengths == num_observations
    if num_curves != num_objects:
        is_good = np.logical_and.accumulate(is_good)
    return [
        ""
        if good
        else f"NOBS announces {announced} measurements, the separators of PHOT cut "
        f"{length if length >= 0 else 'none'} ({num_curves} light curves, {num_objects} objects)"
        for good, announced, length in zip(is_good, num_observations, lengths, strict=True)
    ]


def _num_stale(rows: dict[str, np.ndarray], phot: Photometry) -> int:
    """How many objects' pointers disagree with the separators; 0 where there are no pointers."""
    if not set(POINTERS) <= rows.keys() or len(rows["SNID"]) != len(phot.start):
        return 0
    is_same = (rows["PTROBS_MIN"] - 1 == phot.start) & (rows["PTROBS_MAX"] == phot.stop)
    return int((~is_same).sum())


READER = Reader(SnanaSettings, open_snana_fits, needs_source=True)
