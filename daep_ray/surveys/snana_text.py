"""Parse one SNANA text file, whatever its dialect, into one `SnanaObject`.

In: a file's bytes. Out: its header, its light curve and its spectra as arrays.

    SNID: 2004ef                                        KEY: value, with units, +- errors, comments
    REDSHIFT_HELIO: 0.031011 +- 0.000021
    VARLIST: MJD  FLT FIELD  FLUXCAL  FLUXCALERR        names the columns; NVAR is often wrong
    OBS: 53256.650 CSP-u/t NULL 4.34110e+03 6.03907e+01
    SPECTRUM_ID: 1                                      keys of a spectrum come in any order
    SPECTRUM_MJD:  53255.30
    SPEC:   3533.19   3535.25 2.54458e-01 1.16363e-01 1
    SPECTRUM_END:

Columns are read by name, rows are trusted over announced counts; MAG columns hold sentinels and
are not read. A measurement whose flux or error is no number, or whose error is not positive, was
not made and is left out. Fewer rows than `NOBS` mean a file that was cut.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

_OBS_LINES = re.compile(rb"^[ \t]*(VARLIST|OBS)[ \t]*:(.*)$", re.MULTILINE)
_SPEC_LINE = re.compile(rb"^[ \t]*SPEC[ \t]*:", re.MULTILINE)
_BAND_COLUMNS = ("BAND", "FLT")
_SPEC_COLUMNS = ("LAMMIN", "LAMMAX", "FLAM", "FLAMERR", "SPECFLAG")
_NOT_A_NUMBER = ("NULL", "NONE", "NA", "-")
_MAX_SPECTRA = 10_000  # an announced number above this is no number of spectra
_MISSING_EBV = -1e-6  # it may be 0; -9 is none
_MISSING_MJD = 1000.0  # dates below are placeholders (0.01, -9)


class Malformed(Exception):
    """Why a file or a spectrum cannot be read, in words; `num_lost` samples go with it."""

    def __init__(self, reason: str, num_lost: int = 1) -> None:
        super().__init__(reason)
        self.num_lost = num_lost


@dataclass(frozen=True)
class LightCurve:
    """Sorted by time; `flux` in FLUXCAL (zero point 27.5)."""

    mjd: np.ndarray  # (N,) float64
    flux: np.ndarray  # (N,)
    error: np.ndarray  # (N,) positive
    band: list[str]  # (N,)


@dataclass(frozen=True)
class Spectrum:
    """Sorted by wavelength, observer frame; flux absolute or relative, as the file has it."""

    mjd: float | None
    wavelength: np.ndarray  # (N,) Angstrom, middle of the bin
    flux: np.ndarray  # (N,)
    error: np.ndarray  # (N,) positive


@dataclass(frozen=True)
class SnanaObject:
    """One file. A spectrum that cannot be read stands as its `Malformed`."""

    header: dict[str, str]  # the first value of each key
    light_curve: LightCurve | None  # None without a single valid measurement
    spectra: list[Spectrum | Malformed]

    def number(self, *keys: str, above: float) -> float | None:
        """The first of these keys with a number above the bound (-9 and the like are none)."""
        for key in keys:
            value = _first_number(self.header.get(key, ""))
            if value is not None and value > above:
                return value
        return None

    @property
    def peak(self) -> float | None:
        """MJD of maximum light."""
        return self.number("SEARCH_PEAKMJD", "PEAKMJD", "SIM_PEAKMJD", above=_MISSING_MJD)

    @property
    def redshift(self) -> float | None:
        """Heliocentric where given: what the observed wavelengths were shifted by."""
        keys = ("REDSHIFT_HELIO", "REDSHIFT_FINAL", "REDSHIFT_CMB", "REDSHIFT_SPEC")
        return self.number(*keys, above=-1.0)

    @property
    def ebv(self) -> float | None:
        """E(B-V) of the Milky Way's dust in magnitudes; the fluxes still suffer from it."""
        return self.number("MWEBV", above=_MISSING_EBV)


@dataclass
class _Block:
    """The lines of one spectrum."""

    keys: dict[str, str] = field(default_factory=dict)
    rows: list[str] = field(default_factory=list)
    is_ended: bool = False


@dataclass
class _Lines:
    """A file's lines, sorted by kind."""

    header: dict[str, str] = field(default_factory=dict)
    observations: list[str] = field(default_factory=list)
    spectra: list[_Block] = field(default_factory=list)


def bands_in(content: bytes) -> set[str]:
    """The bands that a file's rows name; a malformed row names none."""
    bands: set[str] = set()
    column, num_columns = None, 0
    for key, rest in _OBS_LINES.findall(content):
        words = _words(rest.decode("latin1"))
        if key == b"VARLIST":
            column, num_columns = _band_column(words), len(words)
        elif column is not None and len(words) == num_columns:
            bands.add(words[column])
    return bands


def has_spectra(content: bytes) -> bool:
    return _SPEC_LINE.search(content) is not None


def parse(content: bytes) -> SnanaObject:
    """Read one file.

    Raises:
        Malformed: no SNANA text, columns missing, a broken row, or a file cut in its light curve.
    """
    if b"\0" in content:
        raise Malformed("a binary file, not SNANA text")
    lines = _sort_lines(content.decode("latin1"))
    if "SNID" not in lines.header:
        raise Malformed("no SNANA text: the key SNID is missing")
    announced = int(_first_number(lines.header.get("NSPECTRA", "")) or 0)
    num_spectra = max(len(lines.spectra), announced if announced <= _MAX_SPECTRA else 0)
    try:
        light_curve = _light_curve(lines)
    except Malformed as error:
        raise Malformed(str(error), max(num_spectra, 1)) from None
    spectra = [_spectrum_or_reason(block, lines.header) for block in lines.spectra]
    lost = Malformed(f"NSPECTRA announces {announced} spectra: the file is cut short before it")
    return SnanaObject(
        lines.header, light_curve, spectra + [lost] * (num_spectra - len(lines.spectra))
    )


def _words(text: str) -> list[str]:
    return text.partition("#")[0].split()


def _first_number(text: str) -> float | None:
    words = text.split()
    try:
        value = float(words[0]) if words else np.nan
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _band_column(columns: list[str]) -> int | None:
    return next((columns.index(name) for name in _BAND_COLUMNS if name in columns), None)


def _sort_lines(text: str) -> _Lines:
    lines = _Lines()
    for line in text.replace("\r", "\n").split("\n"):
        key, colon, rest = line.partition(":")
        key = key.strip()
        if not colon or key.startswith("#"):
            continue
        if key == "OBS":
            lines.observations.append(rest)
        elif key == "SPEC" or key.startswith("SPECTRUM_"):
            _add_to_spectrum(lines.spectra, key, rest)
        else:
            lines.header.setdefault(key, rest.strip())
    return lines


def _add_to_spectrum(spectra: list[_Block], key: str, rest: str) -> None:
    """A key that the spectrum has, or any key after its rows, begins the next spectrum."""
    is_row, is_end = key == "SPEC", key == "SPECTRUM_END"
    current = spectra[-1] if spectra else _Block(is_ended=True)
    if is_end and current.is_ended:
        return
    is_next_key = not is_row and not is_end and (bool(current.rows) or key in current.keys)
    if current.is_ended or is_next_key:
        current = _Block()
        spectra.append(current)
    if is_row:
        current.rows.append(rest)
    elif is_end:
        current.is_ended = True
    else:
        current.keys[key] = rest.strip()


def _columns(rows: list[str], names: list[str], what: str) -> dict[str, tuple[str, ...]]:
    """Rows of text -> the words of each named column."""
    split = [_words(row) for row in rows]
    for k, words in enumerate(split):
        if len(words) != len(names):
            raise Malformed(f"{what} row {k} has {len(words)} columns instead of {len(names)}")
    return dict(zip(names, zip(*split, strict=True), strict=True)) if split else {}


def _array(words: tuple[str, ...], name: str) -> np.ndarray:
    try:
        return np.array(list(map(float, words)))
    except ValueError:
        return np.array([_number(word, name) for word in words])


def _number(word: str, name: str) -> float:
    try:
        return np.nan if word.upper() in _NOT_A_NUMBER else float(word)
    except ValueError:
        raise Malformed(f"{name} is {word!r}, not a number") from None


def _light_curve(lines: _Lines) -> LightCurve | None:
    num_announced = _first_number(lines.header.get("NOBS", "")) or 0
    if len(lines.observations) < num_announced:
        raise Malformed(
            f"NOBS announces {num_announced:.0f} measurements, {len(lines.observations)} are "
            "there: the file is cut short"
        )
    if not lines.observations:
        return None
    names = _words(lines.header.get("VARLIST", ""))
    band = _band_column(names)
    missing = [name for name in ("MJD", "FLUXCAL", "FLUXCALERR") if name not in names]
    if missing or band is None:
        raise Malformed(f"VARLIST names no {', '.join([*missing, *['BAND'] * (band is None)])}")
    columns = _columns(lines.observations, names, "OBS")
    mjd, flux, error = (_array(columns[n], n) for n in ("MJD", "FLUXCAL", "FLUXCALERR"))
    return measured_curve(mjd, flux, error, columns[names[band]])


def measured_curve(
    mjd: np.ndarray, flux: np.ndarray, error: np.ndarray, bands: Sequence[str]
) -> LightCurve | None:
    """The measurements (all (N,)) that were made, sorted by time; None if there is none."""
    is_measured = np.isfinite(mjd) & np.isfinite(flux) & np.isfinite(error) & (error > 0)
    order = np.argsort(mjd, kind="stable")
    order = order[is_measured[order]]
    if len(order) == 0:
        return None
    return LightCurve(mjd[order], flux[order], error[order], [bands[k] for k in order])


def _spectrum_or_reason(block: _Block, header: dict[str, str]) -> Spectrum | Malformed:
    try:
        return _spectrum(block, header)
    except Malformed as error:
        return error


def _spectrum(block: _Block, header: dict[str, str]) -> Spectrum:
    num_announced = _first_number(block.keys.get("SPECTRUM_NLAM", ""))
    # a wrong SPECTRUM_NLAM is common in whole spectra; without an end it means a cut file
    if not block.is_ended and num_announced is not None and len(block.rows) < num_announced:
        raise Malformed(f"{len(block.rows)} of {num_announced:.0f} bins: the file is cut short")
    names = _words(header.get("VARNAMES_SPEC", "")) or list(_SPEC_COLUMNS)
    missing = [name for name in _SPEC_COLUMNS[:-1] if name not in names]
    if missing:
        raise Malformed(f"VARNAMES_SPEC names no {', '.join(missing)}")
    columns = _columns(block.rows, names, "SPEC")
    if not columns:
        raise Malformed("a spectrum without bins")
    low, high, flux, error = (_array(columns[n], n) for n in _SPEC_COLUMNS[:-1])
    wavelength = (low + high) / 2
    is_measured = np.isfinite(wavelength) & np.isfinite(flux) & np.isfinite(error) & (error > 0)
    if "SPECFLAG" in columns:
        is_measured &= _array(columns["SPECFLAG"], "SPECFLAG") != 0
    if not is_measured.any():
        raise Malformed("no bin of the spectrum is valid (flag, error or flux)")
    order = np.argsort(wavelength, kind="stable")
    order = order[is_measured[order]]
    mjd = _first_number(block.keys.get("SPECTRUM_MJD", ""))
    is_dated = mjd is not None and mjd > _MISSING_MJD
    return Spectrum(mjd if is_dated else None, wavelength[order], flux[order], error[order])
