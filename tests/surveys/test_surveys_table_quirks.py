"""The shipped mappings, quirk by quirk: each survey's own oddities in a tiny hand-made file.

`test_surveys_table.py` has the counts of the real archives, `test_surveys_table_faults.py` what
any table may suffer from.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from daep_ray.sample import Ignored, Sample, Sequence
from daep_ray.surveys import open_survey

Write = Callable[[dict[str, str | bytes]], Path]


@pytest.fixture
def read(write: Write) -> Callable[..., list[Sample]]:
    """The samples of a few files under a shipped mapping; nothing is lost."""

    def read_all(mapping: str, files: dict[str, str | bytes]) -> list[Sample]:
        found = list(open_survey("table", write(files), {"mapping": mapping}).records())
        samples = [r for r in found if isinstance(r, Sample)]
        assert all(isinstance(r, Sample | Ignored) for r in found), found
        return samples

    return read_all


Read = Callable[..., list[Sample]]


def curve(sample: Sample) -> Sequence:
    return sample.sequences["photometry"]


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def test_ztf_object_table_of_carriage_returns_and_an_empty_first_line(read: Read) -> None:
    """`peakt` is JD - 2458000, `R` is r, a redshift may be blank, a row may have no light curve."""
    table = (
        "\r\nZTFID,IAUID,redshift,peakt,type\r\nZTF20a,SN2020abc,0.05,901.5,SN Ia-91T\r\n"
        "ZTF20b,SN2020b,,902.5,SN Iax\r\nZTF20c,SN2020c,0.1,1.5,SN Ia\r\n"
    )
    rows = "time,mag,magerr,band\n58901.5,18.5,0.1,R\n58900.5,19.5,0.1,g\n"
    one, two = read(
        "ztf-bts",
        {"light-curves/ZTF20a.csv": rows, "light-curves/ZTF20b.csv": rows, "bts.csv": table},
    )
    assert (one.object_id, one.labels["class"], one.labels["subtype"]) == (
        "sn2020abc", "Ia", "Ia-91T",
    )  # fmt: skip
    # JD 2458901.5 is MJD 58901, one half day before noon
    assert curve(one).metadata == {"redshift": 0.05, "peak": 58901.0}
    assert curve(two).metadata == {"redshift": None, "peak": 58902.0}
    assert curve(one).positions["time"].tolist() == [58900.5, 58901.5]
    assert curve(one).categories["band"].tolist() == [1, 2]


def test_sdss_magnitudes_near_100_are_sentinels(read: Read) -> None:
    rows = "59000,99.99,100,u\n59001,100,100,g\n59002,17.5,0.1,r\n59002,17.6,0.1,r\n"
    (star,) = read(
        "sdss-rrlyrae",
        {
            "light-curves/13350.csv": "time,mag,magerr,band\n" + rows,
            "periods.csv": "Num,Type,Per\n13350,ab,0.547987\n",
        },
    )
    assert curve(star).value.tolist() == [17.5, 17.6]  # a repeated time is two measurements
    assert star.labels == {"class": "RRab", "subtype": "ab", "period": 0.547987}
    assert star.object_id == "sdss-s82-13350"


def test_plasticc_padded_metadata_and_true_values(read: Read) -> None:
    """Padded fields, redshift 0 and distance -9 of Galactic objects, truth kept out."""
    head = "object_id,mjd,passband,flux,flux_err,detected,tflux_u\n"
    rows = "615,59750.4,2,-544.8,3.6,1,9\n713,59751.4,5,1.5,0.5,0,9\n"
    metadata = (
        "object_id,ra,hostgal_specz,distmod,target,true_z\n"
        "   615, 349.0461, 0.0000, -9.0, 92, 0.7\n   713,  53.0859, 1.8181, 45.4,  90, 1.8181\n"
    )
    galactic, supernova = read(
        "plasticc", {"a_lightcurves.csv": head + rows, "a_metadata.csv": metadata}
    )
    assert (galactic.object_id, galactic.labels) == (
        "plasticc-615", {"class": "RRL", "subtype": "RRL"},
    )  # fmt: skip
    assert supernova.labels == {"class": "Ia", "subtype": "Ia"}
    assert curve(galactic).metadata == {"redshift": None}
    assert curve(supernova).metadata == {"redshift": 1.8181}
    assert curve(galactic).value.tolist() == [-544.8]  # negative: noise, or a fainter phase
    assert not curve(galactic).extras


def test_elasticc_saturated_points_and_light_curves_of_one_point(read: Read) -> None:
    points = parquet(
        SNID=[7, 7, 8],
        MJD=[60001.0, 60000.0, 60000.5],
        BAND=["Y", "u", "g"],
        FLUXCAL=[-1.5, 0.0, 3.0],
        FLUXCALERR=[0.5, 1e8, 0.5],
        PHOTFLAG=[4096, 1024, 0],
    )
    table = parquet(SNID=[7], REDSHIFT_HELIO=[-9.0], PEAKMJD=[60002.0])
    seven, eight = read(
        "elasticc", {"lc_sample.parquet": points, "x_metadata_chunk.parquet": table}
    )
    assert (curve(seven).value.tolist(), curve(eight).value.tolist()) == ([-1.5], [3.0])
    assert curve(seven).metadata == {"redshift": None, "peak": 60002.0}
    assert curve(eight).metadata == {"redshift": None, "peak": None}  # in no table


def test_alerce_errors_of_100_and_upper_limits(read: Read) -> None:
    detections = parquet(
        oid=["ZTF18a", "ZTF18a", "ZTF18a"],
        mjd=[58300.0, 58301.0, 58302.0],
        fid=[1, 2, 1],
        magpsf_corr=[17.5, None, 17.7],
        sigmapsf_corr=[100.0, 0.1, 0.06],
        sigmapsf_corr_ext=[0.1, 0.1, 100.0],
    )
    limits = parquet(oid=["ZTF18a"], mjd=[58303.0], fid=[1], diffmaglim=[20.5])
    (star,) = read(
        "alerce",
        {"detections_sample.parquet": detections, "non_detections_sample.parquet": limits},
    )
    assert curve(star).value.tolist() == [17.5]
    assert curve(star).error.tolist() == [0.1]  # type: ignore[union-attr]


def test_ogle_times_of_single_precision_repeat(read: Read) -> None:
    """2450000.55 and .6 are one float32: two measurements of one time, in the file's order."""
    columns = [
        fits.Column("hjd", "E", array=np.array([2450000.55, 2450000.6, 2449999.0], np.float32)),
        fits.Column("magnitude", "E", array=[17.5, 17.25, 17.0]),
        fits.Column("error", "E", array=[0.5, 0.25, 0.5]),
    ]
    table = fits.BinTableHDU.from_columns(columns)
    table.header["FILTER"] = "V"
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(file)
    (star,) = read("ogle-fits", {"be_stars/1.fits": file.getvalue()})
    assert star.labels == {"class": "Be", "subtype": "be_stars"}
    times = curve(star).positions["time"].tolist()
    assert times == [49998.5, 50000.0, 50000.0]  # in steps of 0.25 day
    assert curve(star).value.tolist() == [17.0, 17.5, 17.25]
    assert curve(star).value.dtype.isnative
