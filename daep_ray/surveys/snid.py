"""SNID template spectra, `.lnw` (Blondin & Tonry 2007, ApJ 666, 1024): one sample per epoch.

In: a folder or an archive of `.lnw` files. Out: samples `<file stem>/<epoch index>` with the
modality `spectrum`, in the rest frame, divided by the continuum and minus one, without errors.

One file, whitespace between the numbers:

    10 1024  2500.00 10000.00  8  sn2000cn  1.51  Ia-91bg  1  4    epochs bins w0 w1 knots name
    8  8  0.21223  8  0.42927 ...                                   delta type itype isubtype
    1  2.4698  -0.2598 ...                                          `knots` lines of the continuum
    0  -9.300  -8.300 ...                                           age flag, age of each epoch
    2501.69  0.000  0.000 ...                                       `bins` lines: wavelength, flux

A flux of 0 outside an epoch's coverage means "not measured" and is trimmed from both ends; a zero
inside is a value. A file that is cut or malformed is quarantined whole, one entry per epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from daep_ray.errors import DataError
from daep_ray.sample import Axis, Modality, Quarantined, Record, Sample, Sequence
from daep_ray.settings import Settings
from daep_ray.surveys.names import SampleNames, canon, supernova_class
from daep_ray.surveys.source import RawFile, check_source, walk
from daep_ray.surveys.survey import Reader, Survey

SPECTRUM = Modality(
    name="spectrum",
    value=Axis("flux", "continuum-divided minus 1"),
    positions=(Axis("wavelength", "Angstrom", frame="rest"),),
    metadata=(Axis("phase", "day", frame="rest"),),
    has_error=False,
)
_MAX_EPOCHS = 10_000  # a header with more is no header
_UNKNOWN_DELTA = -9.0  # written -9.99
_UNKNOWN_AGE = 999.0  # |age| from here on, or below -90, is SNID's "not known"
_DAYS_FROM_MAXIMUM = 0  # the age flag; 1 counts from the first observation


class SnidSettings(Settings):
    """SNID templates need no settings."""


class _Malformed(Exception):
    """Why a file is no whole template, in words."""


@dataclass(frozen=True)
class _Header:
    num_epochs: int
    num_bins: int
    num_knots: int
    name: str
    delta: float | None
    subtype: str


def open_snid(source: Path | None, settings: SnidSettings) -> Survey:
    """The templates below `source`.

    Raises:
        DataError: nothing there, or no file whose name ends in `.lnw`.
    """
    assert source is not None
    check_source(source)
    if not any(isinstance(f, RawFile) and _is_template(f.name) for f in walk(source)):
        raise DataError(
            f"no SNID template (a file ending in .lnw) in {str(source)!r}: is it another format?"
        )
    return Survey(
        format="snid",
        modalities=(SPECTRUM,),
        records=lambda: _records(source),
        source={"format": "snid", "options": settings.model_dump(), "name": source.name},
    )


def _is_template(name: str) -> bool:
    return name.lower().endswith(".lnw")


def _records(source: Path) -> Iterator[Record]:
    names = SampleNames()
    for found in walk(source):
        if not isinstance(found, RawFile):
            yield found
        elif not _is_template(found.name):
            yield Quarantined(found.name, "", "no SNID template: the name does not end in .lnw")
        else:
            yield from _epochs(found, names.name(found.name))


def _epochs(file: RawFile, stem: str) -> Iterator[Record]:
    """A file's samples; the whole file is quarantined if any part of it is malformed."""
    num_lost = 0  # of how many epochs the header speaks, once it is read
    try:
        lines = _text(file.content).splitlines()
        header = _header(lines)
        num_lost = header.num_epochs
        ages = _ages(lines[2 + header.num_knots :][:1], header)
        table = _table(lines[3 + header.num_knots :], header)
    except _Malformed as error:
        units = [str(k) for k in range(num_lost)] or [""]
        yield from (Quarantined(file.name, unit, str(error)) for unit in units)
        return
    for k, age in enumerate(ages):
        yield _epoch(file.name, stem, k, age, header, table[:, 0], table[:, k + 1])


def _text(content: bytes) -> str:
    if b"\0" in content:
        raise _Malformed("a binary file, not a SNID template")
    return content.decode("latin1")


def _header(lines: list[str]) -> _Header:
    words = lines[0].split() if lines else []
    try:
        num_epochs, num_bins, num_knots = int(words[0]), int(words[1]), int(words[4])
        # the name is all between the knots and the last four words: it may hold a space
        name, (delta, subtype, _, _) = " ".join(words[5:-4]), words[-4:]
        delta_number = float(delta)
    except (ValueError, IndexError):
        raise _Malformed("the first line is no SNID header (ten words, counts first)") from None
    if not (0 < num_epochs <= _MAX_EPOCHS and num_bins > 0 and num_knots >= 0 and name):
        raise _Malformed(
            f"the header speaks of {num_epochs} epochs, {num_bins} bins, {num_knots} knots"
        )
    is_known = np.isfinite(delta_number) and delta_number > _UNKNOWN_DELTA
    return _Header(
        num_epochs, num_bins, num_knots, name, delta_number if is_known else None, subtype
    )


def _numbers(line: str, where: str) -> list[float]:
    try:
        return [float(word) for word in line.split()]
    except ValueError as error:
        raise _Malformed(f"{where}: {error}") from None


def _ages(line: list[str], header: _Header) -> list[float | None]:
    """Days from maximum light per epoch, None where unknown."""
    numbers = _numbers(line[0], "the line of ages") if line else []
    if len(numbers) != header.num_epochs + 1:
        raise _Malformed(
            f"{header.num_epochs} epochs but {max(len(numbers) - 1, 0)} ages: the file is cut short"
        )
    flag, *ages = numbers
    return [
        age if flag == _DAYS_FROM_MAXIMUM and -90.0 < age < _UNKNOWN_AGE else None for age in ages
    ]


def _table(lines: list[str], header: _Header) -> np.ndarray:
    """(bins, 1 + epochs): wavelength and every epoch's flux."""
    lines = [line for line in lines if line.strip()]
    if len(lines) != header.num_bins:
        what = "is cut short" if len(lines) < header.num_bins else "has too many lines"
        raise _Malformed(f"the file {what}: {len(lines)} of {header.num_bins} bins")
    rows = [_numbers(line, f"bin {k}") for k, line in enumerate(lines)]
    for k, row in enumerate(rows):
        if len(row) != header.num_epochs + 1:
            raise _Malformed(
                f"bin {k} has {len(row)} numbers instead of {header.num_epochs + 1}: "
                "the file is cut short"
            )
    # columns have a fixed width, so a last number that lost its last digits shows
    widths = {len(line.rstrip()) for line in lines[:-1]}
    if len(widths) == 1 and len(lines[-1].rstrip()) < widths.pop():
        raise _Malformed("the last line is shorter than the others: the file is cut short")
    table = np.array(rows)
    if not np.all(np.diff(table[np.isfinite(table[:, 0]), 0]) > 0):
        raise _Malformed("the wavelengths do not increase")
    return table


def _epoch(
    file: str,
    stem: str,
    k: int,
    age: float | None,
    header: _Header,
    wavelength: np.ndarray,
    flux: np.ndarray,
) -> Record:
    is_finite = np.isfinite(flux) & np.isfinite(wavelength)
    covered = np.flatnonzero(is_finite & (flux != 0))
    if len(covered) == 0:
        return Quarantined(file, str(k), "no flux: every value is zero or not a number")
    inside = slice(covered[0], covered[-1] + 1)
    kept = is_finite[inside]
    return Sample(
        sample_id=f"{stem}/{k}",
        object_id=canon(header.name),
        sequences={
            "spectrum": Sequence(
                value=flux[inside][kept],
                positions={"wavelength": wavelength[inside][kept]},
                metadata={"phase": age},
            )
        },
        labels={
            "class": supernova_class(header.subtype),
            "subtype": header.subtype,
            "delta": header.delta,
        },
    )


READER = Reader(SnidSettings, open_snid, needs_source=True)
