"""SNANA text, quirk by quirk: what the 12 surveys of SALT3, SPCC and PS1-MD do differently.

Each test is one quirk by a tiny hand-made file; `test_snana.py` has the whole files and the counts.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from daep_ray.sample import Category, Ignored, Sample, Sequence
from daep_ray.surveys import open_survey

Write = Callable[[dict[str, str | bytes]], Path]

# the three VARLIST dialects of SALT3 and those of SPCC and PS1, each with one measurement
VARLISTS = {
    "5 columns": ("MJD FLT FIELD FLUXCAL FLUXCALERR", "51000.5 B/b VOID -3.5 0.5"),
    "7 columns": ("MJD FLT FIELD FLUXCAL FLUXCALERR MAG MAGERR", "51000.5 B/b N -3.5 0.5 -99 -9"),
    "11 columns": (
        "MJD BAND FIELD FLUXCAL FLUXCALERR ZPFLUX PSF SKYSIG GAIN PHOTFLAG PHOTPROB",
        "51000.5 B/b C3 -3.5 0.5 31.3 2.8 9.9 1.0 4096 0.9",
    ),
    "SPCC": (
        "MJD FLT FIELD FLUXCAL FLUXCALERR SNR MAG MAGERR SIM_MAG",
        "51000.5 B/b NULL -3.5e+00 5e-01 -7.0 128.000 5.000 98.926",
    ),
    "PS1": ("MJD FLT FIELD FLUXCAL FLUXCALERR MAG MAGERR", "51000.5 B/b NULL -3.5 0.5 nan -0.155"),
}  # fmt: skip


def text(
    *rows: str, header: str = "", varlist: str = VARLISTS["5 columns"][0], end: str = ""
) -> str:
    """An object with these measurements."""
    lines = ["SURVEY: X", "SNID: 2001ab", *header.splitlines(), f"VARLIST: {varlist}"]
    return "\n".join([*lines, *(f"OBS: {row}" for row in rows), end]) + "\n"


@pytest.fixture
def read(write: Write) -> Callable[[str], Sample]:
    """The one sample of a file."""

    def read_one(content: str) -> Sample:
        (found,) = open_survey("snana", write({"a.dat": content}), {}).records()
        assert isinstance(found, Sample), found
        return found

    return read_one


def curve(sample: Sample) -> Sequence:
    return sample.sequences["photometry"]


Read = Callable[[str], Sample]


@pytest.mark.parametrize("num_announced", [4, 5, 6, 99])
@pytest.mark.parametrize("dialect", VARLISTS)
def test_columns_go_by_name_and_nvar_is_not_believed(
    read: Read, dialect: str, num_announced: int
) -> None:
    varlist, row = VARLISTS[dialect]
    found = curve(read(text(row, varlist=varlist, header=f"NVAR: {num_announced}")))
    # a negative flux is noise about zero, whatever its magnitude says
    assert (found.value.tolist(), found.error.tolist()) == ([-3.5], [0.5])  # type: ignore[union-attr]
    assert found.positions["time"].tolist() == [51000.5]


@pytest.mark.parametrize("end", ["END:", "END: ", "END_PHOTOMETRY:", "", "# ======", "\n\n"])
def test_any_end_marker_or_none(read: Read, end: str) -> None:
    assert len(curve(read(text("1.0e4 B FIELD 1 1", "10001 B FIELD 2 1", end=end)))) == 2


def test_repeated_times_are_several_telescopes(read: Read) -> None:
    rows = ("51001 r/k V 3 1", "51000 r/k V 1 1", "51000 r/k V 2 1", "51000 B/j V 4 1")
    found = curve(read(text(*rows)))
    assert found.positions["time"].tolist() == [51000.0, 51000.0, 51000.0, 51001.0]
    assert found.value.tolist() == [1.0, 2.0, 4.0, 3.0]  # equal times stay in the file's order


def test_one_letter_means_another_filter_in_another_system(write: Write) -> None:
    folder = write(
        {"a.dat": text("51000 CFA3K-r/k V 1 1", "51001 SDSS-r/k V 2 1", "51002 r V 3 1")}
    )
    opened = open_survey("snana", folder, {})
    band = opened.modalities[0].categories[0]
    assert isinstance(band, Category)
    assert band.vocabulary == ("unknown", "CFA3K-r/k", "SDSS-r/k", "r")


@pytest.mark.parametrize(
    ("header", "subtype"),
    [
        ("SNTYPE: 1", "Ia"),
        ("TYPE:         1", "Ia"),
        ("SNTYPE: -9", None),
        ("SNTYPE:  -9\nSIM_COMMENT:  SN Type = Ibc , MODEL = X", "Ibc"),
        ("SNTYPE: 22\nSIM_COMMENT:  SN Type = IIn , MODEL = X", "IIn"),
        ("SNTYPE: 33", "Ic"),
        ("SNTYPE: 4321", None),
        ("SIM_TYPE_NAME: Ia", "Ia"),
        ("SIM_TYPE_NAME: UNKNOWN\nSIM_MODEL_NAME: SALT2.WFIRST-H17\nSNTYPE: 111", "Ia"),
        ("", None),
    ],
)
def test_type_keys(read: Read, header: str, subtype: str | None) -> None:
    assert read(text("51000 B V 1 1", header=header)).labels["subtype"] == subtype


@pytest.mark.parametrize(
    ("header", "peak", "redshift"),
    [
        ("SEARCH_PEAKMJD: 53265.094 # fitted", 53265.094, None),
        ("PEAKMJD:  53265.5\nSEARCH_PEAKMJD: -9", 53265.5, None),
        ("SIM_PEAKMJD: 56232.54 days", 56232.54, None),
        ("REDSHIFT_HELIO: 0.031011 +- 0.000021", None, 0.031011),
        ("REDSHIFT_HELIO: -9.0 +- 9.0\nREDSHIFT_FINAL: 0.69549 +- 0.05 (CMB)", None, 0.69549),
        ("REDSHIFT_HELIO: 0.02 +- -9.0000", None, 0.02),  # the error is unknown, the value is not
        ("REDSHIFT_HELIO: -0.001", None, -0.001),  # Andromeda comes nearer
        ("REDSHIFT_FINAL: -9\nPEAKMJD: 0.0", None, None),
        ("IAUC: UNKNOWN\nIAUC: 2001ab\nDECL: -4.5 deg\nFAKE: 2 (=> simulated)", None, None),
    ],
)
def test_header_values_carry_units_errors_and_comments(
    read: Read, header: str, peak: float | None, redshift: float | None
) -> None:
    sample = read(text("51000 B V 1 1", header=header))
    assert curve(sample).metadata == {"redshift": redshift, "peak": peak}
    assert sample.object_id == "sn2001ab"


def test_bins_with_gaps_and_overlaps_are_their_middles(read: Read) -> None:
    bins = "\n".join([
        "SPECTRUM_ID: 1",
        "SPEC: 4000.00 4002.06 1.5e-18 1e-19 1",
        "SPEC: 4002.00 4004.00 2.5e-18 1e-19 1",  # an edge rounded: overlaps by 0.06
        "SPEC: 4149.00 4151.00 3.5e-18 1e-19 1",  # a gap of 145 Angstrom
        "SPEC: 4140.00 4142.00 4.5e-18 1e-19 1",  # out of order
        "SPECTRUM_END:",
    ])  # fmt: skip
    found = read(text("51000 B V 1 1", end=bins)).sequences["spectrum"]
    np.testing.assert_allclose(found.positions["wavelength"], [4001.03, 4003, 4141, 4150])
    assert found.value.tolist() == [1.5e-18, 2.5e-18, 4.5e-18, 3.5e-18]  # float64: no underflow


def test_lists_tables_and_readmes_are_ignored(write: Write) -> None:
    good = text("51000 B V 1 1")
    folder = write({
        "SALT3TRAIN_SDSS/a.dat": good,
        "SALT3TRAIN_SDSS/SALT3TRAIN_SDSS.LIST": "a.dat.gz\n",
        "SALT3TRAIN_SDSS/SALT3TRAIN_SDSS_TRAIN.LIST": "a.dat.gz\n",
        "SALT3TRAIN_SDSS/SALT3TRAIN_SDSS.README": "words",
        "SPCC_SUBSET.LIST": "DES_SN000001.DAT\n",
        "example_meta_table.dat": "psc000001 0.1 -\n",
    })  # fmt: skip
    found = list(open_survey("snana", folder, {}).records())
    assert sum(isinstance(r, Ignored) for r in found) == 5
    assert sum(isinstance(r, Sample) for r in found) == 1
