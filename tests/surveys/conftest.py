"""Tiny hand-made survey files."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from daep_ray.surveys import READERS, Survey, open_survey

Lnw = Callable[..., str]


@pytest.fixture(scope="session")
def lnw() -> Lnw:
    """Text of a SNID template: `flux` is (bins, epochs)."""

    def write(
        flux: np.ndarray,
        ages: Iterable[float],
        *,
        name: str = "sn1999aa",
        subtype: str = "Ia-norm",
        delta: float = 1.1,
        flag: int = 0,
    ) -> str:
        num_bins, num_epochs = flux.shape
        wavelength = 2500.0 * 1.1 ** np.arange(num_bins)
        rows = [
            f"{w:8.2f}" + "".join(f"{f:9.3f}" for f in row)
            for w, row in zip(wavelength, flux, strict=True)
        ]
        head = f"{num_epochs} {num_bins} 2500.00 10000.00 1 {name} {delta} {subtype} 1 2"
        knots = ["2 " + "1 0.1 " * num_epochs, "1 " + "2.5 -0.2 " * num_epochs]
        return "\n".join([head, *knots, f"{flag} " + " ".join(map(str, ages)), *rows]) + "\n"

    return write


@pytest.fixture
def write(tmp_path: Path) -> Callable[[dict[str, str | bytes]], Path]:
    """Write files into a fresh folder and return it."""

    def write_files(files: dict[str, str | bytes]) -> Path:
        for name, content in files.items():
            path = tmp_path / "source" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode("latin1") if isinstance(content, str) else content)
        return tmp_path / "source"

    return write_files


SNANA = """\
SURVEY: LOWZ
SNID: 1999aa
IAUC: UNKNOWN
IAUC: 1999aa
SNTYPE: 1
RA: 34.5  deg
MWEBV: 0.047 # MW E(B-V)
SEARCH_PEAKMJD: 51230.0  # from a fit
REDSHIFT_HELIO: 0.5000 +- -9.0000
REDSHIFT_CMB: 0.4900 +- 0.001
NOBS: 5
NVAR: 4
VARLIST: MJD  FLT FIELD  FLUXCAL FLUXCALERR MAG MAGERR
OBS: 51240.5 B/b VOID  100.0 10.0 22.5 0.1
OBS: 51241.5 B/b VOID  -20.0 10.0 -99 -0.5
OBS: 51220.5 V/v VOID  300.0 10.0 nan nan
OBS: 51230.5 V/v VOID  nan 10.0 21.3 0.1
OBS: 51231.5 V/v VOID  500.0 0.0 128.000 0.1
END_PHOTOMETRY:
NSPECTRA: 2
NVAR_SPEC: 5
VARNAMES_SPEC: LAMMIN LAMMAX  FLAM  FLAMERR SPECFLAG
SPECTRUM_MJD: 51245.0
SPECTRUM_ID: 1
SPECTRUM_NLAM: 7
SPEC: 4000.0 4002.0 1.5e-15 1e-16 1
SPEC: 4002.0 4004.0 2.5e-15 1e-16 0
SPEC: 4004.0 4006.0 -3.5e-15 1e-16 1
SPECTRUM_END:
SPECTRUM_ID: 2
SPECTRUM_NLAM: 2
SPECTRUM_MJD: 0.01
SPEC: 5000.0 5010.0 0.25 0.1 1
SPEC: 5010.0 5020.0 0.35 0.1 1
SPECTRUM_END:
"""


@pytest.fixture
def snana_text() -> str:
    """One object with every quirk that a file can have and still be whole."""
    return SNANA


@pytest.fixture
def open_example(
    write: Callable[[dict[str, str | bytes]], Path], lnw: Lnw, snana_text: str
) -> Callable[[str], Survey]:
    """A small survey of each registered format; a new reader adds its files here."""
    flux = np.random.default_rng(0).normal(size=(30, 3)).round(3)
    text = lnw(flux, (-1.0, 2.0, 9.0))
    cut, curve_only = text[:500], snana_text[:700]
    files: dict[str, dict[str, str | bytes]] = {
        "snid": {"sn1999aa.lnw": text, "b/sn1999aa.lnw": text, "cut.lnw": cut, "LICENSE": ""},
        "snana": {"a.dat": snana_text, "b/a.dat": snana_text, "c.dat": curve_only, "x.LIST": ""},
    }

    def open_one(format: str) -> Survey:
        if not READERS[format].needs_source:
            return open_survey(format, None, {"num_objects": 150})
        return open_survey(format, write(files[format]), {})

    return open_one
