"""Spectra as text, one file each: two columns, wavelength and flux, a third where it is an error.

In: a folder or an archive of text files, and what they do not say: a dialect (`csp`, `bsnip`) or,
for files of your own, `frame=rest` or `frame=observer`, and `error_column=3` if there are errors.
Out: one sample `<file stem>` per file with the modality `spectrum`, sorted by wavelength; `phase`
(rest-frame days from maximum light), `redshift` and `mjd` as metadata where the file's header, its
name or the tables beside it tell them.

A survey has errors or has none. With an `error_column`, a point whose error is not a positive
number was not measured and is left out, and a file without that column is quarantined; without
one, further columns are not looked at. A flux that is NaN is left out, a zero is a value.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Literal, Self

import numpy as np
from pydantic import field_validator

from daep_ray.errors import ConfigError, DataError
from daep_ray.sample import Axis, Modality, Quarantined, Record, Sample
from daep_ray.settings import Settings
from daep_ray.surveys.ascii_dialects import DIALECTS, Dialect
from daep_ray.surveys.ascii_text import Malformed, header, number, table
from daep_ray.surveys.bsnip_tables import OBJECT_TABLE, SPECTRUM_TABLE, Supernova, Tables
from daep_ray.surveys.names import SampleNames, object_id, supernova_class
from daep_ray.surveys.source import RawFile, check_source, is_document, walk
from daep_ray.surveys.spectra import spectrum
from daep_ray.surveys.survey import Reader, Survey

_ANGSTROMS = {"Angstrom": 1.0, "nm": 10.0, "micron": 1e4}
_MJD_ZERO = date(1858, 11, 17).toordinal()
_JD_OF_MJD_ZERO = 2400000.5
_SAME_NIGHT_DAYS = 2.0  # a night has two dates, and its middle is up to a day from either
_FIRST_SHORT_YEAR = 50  # two-digit years 50-99 are 19xx


class AsciiSettings(Settings):
    """How the files are to be read; what is None is as the dialect has it (`ascii_dialects.py`).

    `error_column`: 0 = none, else the column's number, from 3 on. `name_pattern`: a regular
    expression for the file's name without suffix, with the groups `object` and perhaps `date`.
    `default_subtype`: the type of objects for which no table has one.
    """

    dialect: Literal["plain", "csp", "bsnip"] = "plain"
    frame: Literal["rest", "observer"] | None = None
    error_column: int | None = None
    flux_unit: str | None = None
    wavelength_unit: Literal["Angstrom", "nm", "micron"] = "Angstrom"
    name_pattern: str | None = None
    default_subtype: str | None = None

    @field_validator("error_column")
    @classmethod
    def _is_a_column(cls, value: int | None) -> int | None:
        if value is not None and value != 0 and value < 3:
            raise ValueError("must be 0 (no errors) or 3 and more: 1 is the wavelength, 2 the flux")
        return value

    @field_validator("name_pattern")
    @classmethod
    def _has_an_object(cls, value: str | None) -> str | None:
        try:
            if value is not None and "object" not in re.compile(value).groupindex:
                raise ValueError("must have a group (?P<object>...)")
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return value


@dataclass(frozen=True)
class _How:
    """Dialect and settings, put together; `tables` are filled before the first sample."""

    dialect: Dialect
    frame: str
    error_column: int
    flux_unit: str
    angstroms: float  # of one unit of the files' wavelengths
    name_pattern: re.Pattern[str]
    default_subtype: str
    tables: Tables

    @classmethod
    def of(cls, settings: AsciiSettings) -> Self:
        dialect = DIALECTS[settings.dialect]
        frame = settings.frame or dialect.frame
        if frame is None:
            raise ConfigError(
                "text spectra do not say in which frame their wavelengths are: write "
                "--set frame=rest or --set frame=observer, or name a dialect that knows it "
                "(--set dialect=csp or dialect=bsnip)"
            )
        column, unit = settings.error_column, settings.flux_unit
        subtype = settings.default_subtype
        return cls(
            dialect=dialect,
            frame=frame,
            error_column=dialect.error_column if column is None else column,
            flux_unit=dialect.flux_unit if unit is None else unit,
            angstroms=_ANGSTROMS[settings.wavelength_unit],
            name_pattern=re.compile(settings.name_pattern or dialect.name_pattern),
            default_subtype=dialect.default_subtype if subtype is None else subtype,
            tables=Tables(),
        )

    def is_ignored(self, name: str) -> bool:
        return is_document(name) or self.is_table(name)

    def is_table(self, name: str) -> bool:
        tables = (OBJECT_TABLE, SPECTRUM_TABLE)
        return self.dialect.has_bsnip_tables and PurePosixPath(name).name in tables

    def modality(self) -> Modality:
        return Modality(
            name="spectrum",
            value=Axis("flux", self.flux_unit),
            positions=(Axis("wavelength", "Angstrom", frame=self.frame),),
            metadata=(
                Axis("phase", "day", frame="rest"),
                Axis("redshift", ""),
                Axis("mjd", "day", is_time=True, frame="observer"),
            ),
            has_error=self.error_column > 0,
        )


def open_ascii(source: Path | None, settings: AsciiSettings) -> Survey:
    """The text spectra below `source`; tables beside them are read first.

    Raises:
        ConfigError: the frame is not declared.
        DataError: nothing there, or not a single file of numbers.
    """
    assert source is not None
    how = _How.of(settings)
    check_source(source)
    if not _look_through(source, how):
        raise DataError(
            f"no text file with rows of wavelength and flux in {str(source)!r}: "
            "is it another format?"
        )
    return Survey(
        format="ascii",
        modalities=(how.modality(),),
        records=lambda: _records(source, how),
        source={"format": "ascii", "options": settings.model_dump(), "name": source.name},
    )


def _look_through(source: Path, how: _How) -> bool:
    """Collect the tables; whether there is a file of numbers."""
    has_spectrum = False
    for found in walk(source):
        if not isinstance(found, RawFile):
            continue
        if how.is_table(found.name):
            how.tables.add(PurePosixPath(found.name).name, found.content)
        elif not has_spectrum:
            has_spectrum = _is_spectrum(found.content)
        if has_spectrum and not how.dialect.has_bsnip_tables:
            return True
    return has_spectrum


def _is_spectrum(content: bytes) -> bool:
    try:
        table(content)
    except Malformed:
        return False
    return True


def _records(source: Path, how: _How) -> Iterator[Record]:
    names = SampleNames()
    for found in walk(source, how.is_ignored):
        yield _record(found, names, how) if isinstance(found, RawFile) else found


def _record(file: RawFile, names: SampleNames, how: _How) -> Record:
    try:
        return _sample(file, names, how)
    except Malformed as defect:
        return Quarantined(file.name, "", str(defect))


def _sample(file: RawFile, names: SampleNames, how: _How) -> Sample:
    columns = table(file.content)
    wavelength, flux = columns[:, 0] * how.angstroms, columns[:, 1]
    if (wavelength <= 0).any():
        raise Malformed("wavelengths that are not positive: is the first column the wavelength?")
    name, supernova, metadata = _what_is_known(file, how)
    sequence = spectrum(wavelength, flux, _error(columns, how), metadata)
    if sequence is None:
        raise Malformed("no measurement (a flux that is a number, with a positive error if any)")
    subtype = supernova.subtype or how.default_subtype or None
    return Sample(
        sample_id=names.name(file.name),
        object_id=name,
        sequences={"spectrum": sequence},
        labels={"class": supernova_class(subtype) if subtype else None, "subtype": subtype},
    )


def _error(columns: np.ndarray, how: _How) -> np.ndarray | None:
    if how.error_column == 0:
        return None
    if columns.shape[1] < how.error_column:
        raise Malformed(f"{columns.shape[1]} columns, and errors were to be in {how.error_column}")
    return columns[:, how.error_column - 1]


def _what_is_known(
    file: RawFile, how: _How
) -> tuple[str, Supernova, dict[str, float | str | None]]:
    """Object id, type and redshift, metadata: from the header, the file's name, the tables."""
    text = header(file.content)
    told = {ours: text.get(theirs) for ours, theirs in how.dialect.header_keys.items()}
    match = how.name_pattern.match(PurePosixPath(file.name).stem)
    if match is None or not match["object"]:
        raise Malformed(f"its name does not fit the pattern {how.name_pattern.pattern!r}")
    name = object_id(match["object"])
    mjd = _mjd(number(told.get("julian_date")), match.groupdict().get("date"))
    night = how.tables.night(name, mjd)
    supernova = how.tables.supernovae.get(name, Supernova(None, number(told.get("redshift"))))
    metadata: dict[str, float | str | None] = {
        "phase": night.phase if night else number(told.get("phase")),
        "redshift": supernova.redshift,
        "mjd": night.mjd if night else mjd,
    }
    return name, supernova, metadata


def _mjd(julian_date: float | None, of_name: str | None) -> float | None:
    """By the header, unless it is days away from the date in the file's name."""
    day = _day(of_name)
    told = None if julian_date is None else julian_date - _JD_OF_MJD_ZERO
    if told is None or (day is not None and abs(told - day) > _SAME_NIGHT_DAYS):
        return day
    return told


def _day(text: str | None) -> float | None:
    """`20010530.247` -> 52059.247, `010530` -> 52059: without a fraction the day's beginning."""
    digits, _, fraction = (text or "").partition(".")
    try:
        if len(digits) == 6:
            digits = ("19" if int(digits[:2]) >= _FIRST_SHORT_YEAR else "20") + digits
        day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).toordinal() - _MJD_ZERO
        return day + float(f"0.{fraction or 0}")
    except ValueError:
        return None


READER = Reader(AsciiSettings, open_ascii, needs_source=True)
