"""Tiny hand-made survey files."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from daep_ray.surveys import READERS, Survey, open_survey

Lnw = Callable[..., str]
SnanaPair = Callable[..., dict[str, str | bytes]]


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


def bin_table(columns: dict[str, object], cards: dict[str, str | None]) -> bytes:
    """A FITS file with one binary table, big-endian as the format wants it."""
    made = []
    for name, values in columns.items():
        array = np.array(values)
        width = max((len(str(v)) for v in array), default=1)
        letters = {"U": f"{width + 3}A", "i": "K", "f": "D"}  # text with padding
        made.append(fits.Column(name, letters[array.dtype.kind], array=array))
    primary = fits.PrimaryHDU()
    primary.header.update({key: value for key, value in cards.items() if value is not None})
    packed = io.BytesIO()
    fits.HDUList([primary, fits.BinTableHDU.from_columns(made)]).writeto(packed)
    return packed.getvalue()


@pytest.fixture(scope="session")
def snana_pair() -> Callable[..., dict[str, str | bytes]]:
    """Two objects with 5 and 1 rows; a column is replaced by its name, `*_names` renames one."""

    def pair(
        stem: str = "X",
        *,
        survey: str | None = "LOWZ",
        band_column: str = "FLT",
        is_last_closed: bool = True,
        head_names: dict[str, str] | None = None,
        phot_names: dict[str, str] | None = None,
        **changes: object,
    ) -> dict[str, str | bytes]:
        head: dict[str, object] = {
            "SNID": ["1999aa", "2001b"], "NOBS": [5, 1], "SNTYPE": [1, -9],
            "PTROBS_MIN": [1, 7], "PTROBS_MAX": [5, 7], "PEAKMJD": [51001.0, 52000.0],
            "REDSHIFT_HELIO": [0.1, 0.2], "REDSHIFT_FINAL": [0.11, -9.0],
        }  # fmt: skip
        phot: dict[str, object] = {
            "MJD": [51002.0, 51000.0, 51003.0, 51004.0, 51005.0, -777.0, 52001.0, -777.0],
            band_column: ["g", "r", "g", "r", "r", "-", "g", "-"],
            "FLUXCAL": [-1.0, 2.0, 3.0, np.nan, 9.0, -777.0, 4.0, -777.0],
            "FLUXCALERR": [1.0, 1.0, 1.0, 1.0, 0.0, -777.0, 1.0, -777.0],
        }
        num_objects = len(changes.get("SNID", "ab"))  # type: ignore[arg-type]
        head = {k: (list(v) * 2)[:num_objects] for k, v in head.items()}  # type: ignore[call-overload]
        for columns, names in ((head, head_names), (phot, phot_names)):
            columns.update({k: changes[k] for k in changes.keys() & columns.keys()})
            for old, new in (names or {}).items():
                columns[new] = columns.pop(old)
        head |= {k: v for k, v in changes.items() if k not in head and k not in phot}
        if not is_last_closed:
            phot = {name: values[:-1] for name, values in phot.items()}  # type: ignore[index]
        return {
            f"{stem}_HEAD.FITS": bin_table(head, {"SURVEY": survey}),
            f"{stem}_PHOT.FITS": bin_table(phot, {}),
        }

    return pair


FLUX, INVERSE_VARIANCE = [3.0, 1.0, -2.0, 5.0, 4.0], [4.0, 0.0, 1.0, -1.0, 0.25]
AND_MASK, OR_MASK = [0, 0, 1, 0, 0], [1, 0, 1, 0, 0]
WAVELENGTH = 10 ** (3.6 + 1e-4 * np.arange(5))


def packed(hdus: list[Any]) -> bytes:
    file = io.BytesIO()
    fits.HDUList(hdus).writeto(file)
    return file.getvalue()


@pytest.fixture(scope="session")
def lamost_file() -> Callable[..., bytes]:
    """A LAMOST file of one layout (dr1, dr7, dr9, mrs): 5 points, of which the ends are measured.

    A header card is replaced by its name, None takes it out.
    """

    def table(name: str, columns: dict[str, object], letter: str) -> fits.BinTableHDU:
        made = [fits.Column(k, letter, array=np.array(v)) for k, v in columns.items()]
        return fits.BinTableHDU.from_columns(made, name=name)

    def build(layout: str, columns: dict[str, object] | None = None, **cards: object) -> bytes:
        shared = {"FLUX": FLUX, "IVAR": INVERSE_VARIANCE, "ANDMASK": AND_MASK, "ORMASK": OR_MASK}
        header = {
            "DESIG": "LAMOST J063759.87+270908.4", "CLASS": "STAR", "SUBCLASS": "M0",
            "Z": -0.0003, "VACUUM": True, "COEFF0": 3.6, "COEFF1": 1e-4,
        }  # fmt: skip
        primary, tables = fits.PrimaryHDU(), []
        if layout in ("dr1", "dr7"):
            third = np.ones(5) if layout == "dr1" else WAVELENGTH
            rows = [FLUX, INVERSE_VARIANCE, third, AND_MASK, OR_MASK]
            primary = fits.PrimaryHDU(np.array(rows, np.float32))
            header["EXTEN0"] = {
                "dr1": "Flux Inverse Subcontinuum Andmask Ormask",
                "dr7": "Flux, Inverse, Wavelength, Andmask, Ormask",
            }[layout]
        elif layout == "dr9":
            all_columns = shared | {"WAVELENGTH": WAVELENGTH} | (columns or {})
            tables = [table("COADD", {k: [v] for k, v in all_columns.items()}, "5E")]
        else:
            header = {"DESIG": header["DESIG"], "OBSID": 747412076}
            for arm, shift in (("COADD_B", 0.0), ("COADD_R", 2e-4)):  # overlapping
                arm_columns = shared | {"LOGLAM": np.log10(WAVELENGTH) + shift} | (columns or {})
                tables.append(table(arm, arm_columns, "D"))
            tables.append(table("B-84450349", {"FLUX": FLUX}, "D"))  # a single exposure
        header |= cards
        primary.header.update({k: v for k, v in header.items() if v is not None})
        return packed([primary, *tables])

    return build


@pytest.fixture(scope="session")
def desi_file() -> Callable[..., bytes]:
    """A DESI file: 3 rows, B and R overlap by a point; row 1 is dead, row 2 repeats row 0's target.

    An image is replaced by its name (`R_IVAR=...`), None takes it out; so is a column of FIBERMAP.
    """

    def build(*, unit: str = "10**-17 erg/(s cm2 Angstrom)", **changes: Any) -> bytes:
        fibers = {"TARGETID": [39627866878511337, -2713437, 39627866878511337],
                  "OBJTYPE": ["TGT", "", "SKY"], "MJD": [59311.5, 0.0, 59312.5]}  # fmt: skip
        fibers |= {k: v for k, v in changes.items() if k in fibers}
        letters = {"U": "3A", "i": "K", "f": "D"}
        columns = [
            fits.Column(k, letters[np.array(v).dtype.kind], array=np.array(v))
            for k, v in fibers.items()
            if v is not None
        ]
        hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="FIBERMAP")]
        for arm, first in (("B", 4000.0), ("R", 4009.0), ("Z", 4020.0)):
            alive = np.array([[1.0], [0.0], [4.0]])
            images = {
                f"{arm}_WAVELENGTH": first + 5.0 * np.arange(3),
                f"{arm}_FLUX": first + np.arange(9.0).reshape(3, 3).astype(np.float32),
                f"{arm}_IVAR": (alive * np.ones(3)).astype(np.float32),
                f"{arm}_MASK": np.array([[0, 2, 0], [0, 0, 0], [0, 0, 0]], np.int32),
            }
            for name, pixels in (
                images | {k: changes.get(k, v) for k, v in images.items()}
            ).items():
                if pixels is not None:
                    hdus.append(fits.ImageHDU(pixels, name=name))
                    if name.endswith("FLUX"):
                        hdus[-1].header["BUNIT"] = unit
        return packed(hdus)

    return build


@pytest.fixture
def long_table() -> dict[str, str | bytes]:
    """Three light curves, one of them broken, and an object table, as ZTF's mapping wants them."""
    head = "time,mag,magerr,band\n"
    return {
        "light-curves/ZTF1.csv": head + "58802.5,19.5,0.1,g\n58801.5,19.0,0.2,R\n58803,nan,1,g\n",
        "light-curves/ZTF2.csv": head + "58801.5,18.0,0.1,g\n",
        "light-curves/ZTF3.csv": head + "58801.5,faint,0.1,g\n",
        "bts.csv": "\r\nZTFID,IAUID,peakt,type,redshift\n"
        "ZTF1,SN2020adv,801.5,SN Ia-91T,0.06\nZTF2,SN2020B,801,SN Ia,\nZTF9,SN2020C,1,SN Ia,1\n",
        "names.csv": "ZTF1\n",
    }


LSST_EDGES = {
    "u": (330, 400), "g": (400, 550), "r": (550, 690),
    "i": (690, 820), "z": (820, 920), "y": (920, 1070),
}  # fmt: skip


@pytest.fixture(scope="session")
def surface_files() -> dict[str, str | bytes]:
    """A coarse made-up SALT model (15 phases x 181 wavelengths) and six trapezoids as filters."""
    phases, wavelengths = np.arange(-20.0, 51.0, 5.0), np.arange(2000.0, 11001.0, 50.0)
    p, w = np.meshgrid(phases, wavelengths, indexing="ij")
    m0 = np.exp(-(((p - 2) / 18) ** 2) - ((w - 4500) / 2000) ** 2) * (1.5 + np.sin(w / 150))
    templates = {0: m0, 1: 0.1 * m0 * np.sin(p / 20)}
    files: dict[str, str | bytes] = {
        f"model/salt3_template_{k}.dat": "".join(
            f"{a:.1f} {b:.2f} {v:.9e}\n" for a, b, v in zip(p.flat, w.flat, m.flat, strict=True)
        )
        for k, m in templates.items()
    }
    files["model/salt3_color_correction.dat"] = (
        "2\n-0.5\n0.2\nSalt2ExtinctionLaw.version 1\n"
        "Salt2ExtinctionLaw.min_lambda 2800\nSalt2ExtinctionLaw.max_lambda 8000\n"
    )
    for band, (low, high) in LSST_EDGES.items():
        corners = ((low - 10, 0.0), (low + 10, 0.4), (high - 10, 0.5), (high + 10, 0.0))
        rows = "".join(f"{wave} {through}\n" for wave, through in corners)
        files[f"filters/total_{band}.dat"] = "# nm, throughput\n" + rows
    return files


@pytest.fixture
def open_example(
    write: Callable[[dict[str, str | bytes]], Path],
    lnw: Lnw,
    snana_text: str,
    snana_pair: SnanaPair,
    lamost_file: Callable[..., bytes],
    desi_file: Callable[..., bytes],
    long_table: dict[str, str | bytes],
    surface_files: dict[str, str | bytes],
) -> Callable[[str], Survey]:
    """A small survey of each registered format; a new reader adds its files here."""
    flux = np.random.default_rng(0).normal(size=(30, 3)).round(3)
    text = lnw(flux, (-1.0, 2.0, 9.0))
    cut, curve_only = text[:500], snana_text[:700]
    files: dict[str, dict[str, str | bytes]] = {
        "snid": {"sn1999aa.lnw": text, "b/sn1999aa.lnw": text, "cut.lnw": cut, "LICENSE": ""},
        "snana": {"a.dat": snana_text, "b/a.dat": snana_text, "c.dat": curve_only, "x.LIST": ""},
        "snana_fits": snana_pair() | snana_pair("b/X", survey=None, NOBS=[5, 3]),
        "lamost": {"a.fits": lamost_file("dr1"), "b.fits": lamost_file("mrs"), "c.fits": b"no"},
        "desi": {"a.fits": desi_file(), "b/a.fits": desi_file()},
        "ascii": {"a.dat": "4000 1\n4010 2\n", "b.dat": "4000 1\n4010\n", "README": "text"},
        "table": long_table,
        "surface": surface_files | {"variance.dat": "1 2 3", "broken.dat.gz": b"no gzip"},
    }
    options: dict[str, dict[str, Any]] = {
        "ascii": {"frame": "rest"},
        "table": {"mapping": "ztf-bts"},
        "surface": {"num_objects": 35},
    }

    def open_one(format: str) -> Survey:
        if not READERS[format].needs_source:
            return open_survey(format, None, {"num_objects": 150})
        return open_survey(format, write(files[format]), options.get(format, {}))

    return open_one
