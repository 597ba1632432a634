"""SNANA FITS pairs: every quirk by hand, and the counts of the real pairs."""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daep_ray.errors import DataError
from daep_ray.sample import Category, Ignored, Quarantined, Sample
from daep_ray.surveys import Survey, open_survey, snana_fits_files

Write = Callable[[dict[str, str | bytes]], Path]
SnanaPair = Callable[..., dict[str, str | bytes]]


def survey(source: Path, **options: str) -> Survey:
    return open_survey("snana_fits", source, options)


def samples(source: Path) -> list[Sample]:
    found = list(survey(source).records())
    assert all(isinstance(r, Sample) for r in found), found
    return [r for r in found if isinstance(r, Sample)]


def lost(source: Path) -> dict[str, str]:
    """The quarantine: unit -> reason."""
    return {r.unit: r.reason for r in survey(source).records() if isinstance(r, Quarantined)}


def bands(opened: Survey) -> tuple[str, ...]:
    band = opened.modalities[0].categories[0]
    assert isinstance(band, Category)
    return band.vocabulary


@pytest.mark.parametrize("is_last_closed", [True, False])
@pytest.mark.parametrize("band_column", ["FLT", "BAND"])
def test_separators_cut_the_light_curves(
    write: Write, snana_pair: SnanaPair, is_last_closed: bool, band_column: str
) -> None:
    folder = write(snana_pair(is_last_closed=is_last_closed, band_column=band_column))
    first, second = samples(folder)
    assert [first.sample_id, second.sample_id] == ["X/1999aa", "X/2001b"]
    assert [first.object_id, second.object_id] == ["sn1999aa", "sn2001B"]
    assert bands(survey(folder)) == ("unknown", "g", "r")  # padding and the separator's `-` gone
    one, two = first.sequences["photometry"], second.sequences["photometry"]
    # sorted by time; the NaN flux and the error of 0 were not measured
    np.testing.assert_array_equal(one.positions["time"], [51000.0, 51002.0, 51003.0])
    np.testing.assert_array_equal(one.value, [2.0, -1.0, 3.0])
    np.testing.assert_array_equal(one.categories["band"], [2, 1, 1])
    np.testing.assert_array_equal(two.value, [4.0])
    assert one.positions["time"].dtype.isnative
    assert one.value.dtype.isnative


def test_the_modality_is_that_of_snana_text(
    write: Write, snana_pair: SnanaPair, snana_text: str
) -> None:
    (from_fits,) = survey(write(snana_pair())).modalities
    text = open_survey("snana", write({"text/a.dat": snana_text}) / "text", {})
    from_text = next(m for m in text.modalities if m.name == "photometry")
    assert from_fits.to_json() | {"categories": []} == from_text.to_json() | {"categories": []}


def test_metadata_and_their_sentinels(write: Write, snana_pair: SnanaPair) -> None:
    changes = {"REDSHIFT_HELIO": [0.5, -9.0], "REDSHIFT_FINAL": [0.4, 0.3], "PEAKMJD": [51001, -9]}
    first, second = samples(write(snana_pair(**changes)))
    assert first.sequences["photometry"].metadata == {"redshift": 0.5, "peak": 51001.0}
    assert second.sequences["photometry"].metadata == {"redshift": 0.3, "peak": None}


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ({"SNTYPE": [1, 101]}, ["Ia", "Ia"]),
        ({"SNTYPE": [-9, 111]}, [None, None]),
        ({"SNTYPE": [33, 3]}, ["Ic", "Ibc"]),
        ({"SNTYPE": [-9, 1], "SIM_TYPE_NAME": ["IIn", "UNKNOWN"]}, ["II", "Ia"]),
        ({"SNTYPE": [111, 111], "SIM_MODEL_NAME": ["SALT2.WFIRST-H17", "V19"]}, ["Ia", None]),
    ],
)
def test_classes(
    write: Write, snana_pair: SnanaPair, head: dict[str, Any], expected: list[str | None]
) -> None:
    assert [s.labels["class"] for s in samples(write(snana_pair(**head)))] == expected


def test_integer_ids_go_by_the_survey_or_the_pairs_name(
    write: Write, snana_pair: SnanaPair
) -> None:
    ids = np.array([1186139, 42], ">i8")
    named = samples(write(snana_pair(SNID=ids)))
    assert [s.object_id for s in named] == ["lowz-1186139", "lowz-42"]
    unnamed = write(snana_pair(stem="DES_Ia-0001", SNID=ids, survey=None)) / "DES_Ia-0001"
    assert not unnamed.exists()
    found = [s for s in samples(unnamed.parent) if s.sample_id.startswith("DES_Ia")]
    assert [s.object_id for s in found] == ["des_ia-1186139", "des_ia-42"]
    assert [s.labels["survey"] for s in found] == ["DES_Ia", "DES_Ia"]


def test_stale_pointers_are_counted_and_not_believed(write: Write, snana_pair: SnanaPair) -> None:
    good = survey(write(snana_pair()))
    assert good.source["num_stale_pointers"] == 0
    folder = write(snana_pair(PTROBS_MIN=[7, 900], PTROBS_MAX=[9, 1000]))
    assert survey(folder).source["num_stale_pointers"] == 2
    assert [len(s.sequences["photometry"]) for s in samples(folder)] == [3, 1]


def test_a_light_curve_of_another_length_is_lost_alone(write: Write, snana_pair: SnanaPair) -> None:
    folder = write(snana_pair(NOBS=[5, 2]))
    assert list(lost(folder)) == ["2001b"]
    assert "NOBS announces 2 measurements" in lost(folder)["2001b"]
    # three objects for two light curves: nothing after the first disagreement is certain
    folder = write(snana_pair(NOBS=[4, 1, 1], SNID=["1999aa", "2001b", "2002c"]))
    assert list(lost(folder)) == ["1999aa", "2001b", "2002c"]
    folder = write(snana_pair(NOBS=[5, 1, 1], SNID=["1999aa", "2001b", "2002c"]))
    assert list(lost(folder)) == ["2002c"]


def test_an_object_twice_or_unmeasured_is_lost_alone(write: Write, snana_pair: SnanaPair) -> None:
    assert "was there before" in lost(write(snana_pair(SNID=["a1", "a1"])))["a1"]
    folder = write(snana_pair(FLUXCALERR=[1, 1, 1, 1, 1, -9, -1.0, -9]))
    assert "no valid measurement" in lost(folder)["2001b"]


@pytest.mark.parametrize("half", ["HEAD", "PHOT"])
def test_a_half_alone_is_quarantined_per_object(
    write: Write, snana_pair: SnanaPair, half: str
) -> None:
    files = snana_pair(stem="alone")
    files = {name: content for name, content in files.items() if half in name} | snana_pair()
    found = lost(write(files))
    assert list(found) == (["1999aa", "2001b"] if half == "HEAD" else [""])
    missing = "PHOT" if half == "HEAD" else "HEAD"
    assert all(f"there is no alone_{missing}.FITS" in reason for reason in found.values())


def test_a_damaged_half_costs_its_own_pair_only(write: Write, snana_pair: SnanaPair) -> None:
    broken = snana_pair(stem="broken")
    whole = broken["broken_PHOT.FITS"]
    assert isinstance(whole, bytes)
    for content, word in ((whole[:4000], "cut short"), (b"no fits", "SIMPLE")):
        found = lost(write(snana_pair() | broken | {"broken_PHOT.FITS": content}))
        assert list(found) == ["1999aa", "2001b"]
        assert word in found["1999aa"]
    found = lost(write(snana_pair() | broken | {"broken_HEAD.FITS": b"no fits"}))
    assert list(found) == [""]
    assert len([r for r in survey(write({})).records() if isinstance(r, Sample)]) == 2


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"phot_names": {"FLUXCAL": "FLUX"}}, "FLUXCAL"),
        ({"phot_names": {"FLT": "COLOUR"}}, "BAND or FLT"),
        ({"MJD": ["x"] * 8}, "MJD"),
        ({"head_names": {"NOBS": "N"}}, "NOBS"),
    ],
)
def test_a_column_missing_or_of_another_type_is_named(
    write: Write, snana_pair: SnanaPair, changes: dict[str, Any], word: str
) -> None:
    found = lost(write(snana_pair() | snana_pair(stem="bad", **changes)))
    assert found
    assert all(word in reason for reason in found.values())


def archive(path: Path, files: dict[str, str | bytes]) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for name, content in files.items():
            assert isinstance(content, bytes)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return path


def test_pairs_in_an_archive_come_in_any_order(tmp_path: Path, snana_pair: SnanaPair) -> None:
    a, b = snana_pair(stem="d/a"), snana_pair(stem="d/b")
    names = ["d/b_PHOT.FITS", "d/a_PHOT.FITS", "d/a_HEAD.FITS", "d/b_HEAD.FITS"]
    path = archive(tmp_path / "x.tar.gz", {name: (a | b)[name] for name in names})
    assert [s.sample_id for s in samples(path)] == ["a/1999aa", "a/2001b", "b/1999aa", "b/2001b"]


def test_what_waits_for_its_other_half_is_bounded(
    tmp_path: Path, snana_pair: SnanaPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = snana_pair(stem="a"), snana_pair(stem="b")
    order = ["a_HEAD.FITS", "b_PHOT.FITS", "b_HEAD.FITS", "a_PHOT.FITS"]
    path = archive(tmp_path / "x.tar.gz", {name: (a | b)[name] for name in order})
    assert len(samples(path)) == 4
    limit = len(a["a_HEAD.FITS"]) + 1
    monkeypatch.setattr(snana_fits_files, "MAX_WAITING_BYTES", limit)
    found = list(survey(path).records())
    assert [r.sample_id for r in found if isinstance(r, Sample)] == ["b/1999aa", "b/2001b"]
    assert {r.unit for r in found if isinstance(r, Quarantined)} == {"1999aa", "2001b", ""}


def test_no_pair_at_all_is_one_sentence(write: Write) -> None:
    with pytest.raises(DataError, match="no SNANA FITS pair") as error:
        survey(write({"a.dat": "SNID: 1", "b.fits": b"\0"}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("num_bytes", range(0, 12000, 1500))
def test_no_cut_raises(write: Write, snana_pair: SnanaPair, num_bytes: int) -> None:
    broken = snana_pair(stem="broken")
    for name, content in broken.items():
        assert isinstance(content, bytes)
        files = snana_pair() | broken | {name: content[:num_bytes]}
        found = list(survey(write(files)).records())
        good = [r for r in found if isinstance(r, Sample) and r.sample_id.startswith("X/")]
        assert len(good) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"XTENSION= 'BINTABLE'", b"XTENSION= 'BINT\0BLE'"),
        (b"TTYPE1  = 'MJD", b"TTYPX1  = 'MJD"),  # a column without a name
        (b"TFORM1  = 'D", b"TFORM1  = '9"),
        (b"NAXIS2  =", b"NAXIS9  ="),
        (b"GCOUNT  =                    1", b"EXTNAME = x\xff'                "),
    ],
)
def test_a_damaged_header_is_one_sentence(
    write: Write, snana_pair: SnanaPair, old: bytes, new: bytes
) -> None:
    broken = snana_pair(stem="broken")
    phot = broken["broken_PHOT.FITS"]
    assert isinstance(phot, bytes)
    assert old in phot
    damaged = phot.replace(old, new.ljust(len(old))[: len(old)], 1)
    found = list(survey(write(snana_pair() | broken | {"broken_PHOT.FITS": damaged})).records())
    good = [r for r in found if isinstance(r, Sample) and r.sample_id.startswith("X/")]
    reasons = [r.reason for r in found if isinstance(r, Quarantined)]
    assert (len(good), len(reasons)) == (2, 2)
    assert all("\n" not in reason for reason in reasons)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    half=st.sampled_from(["HEAD", "PHOT"]),
    place=st.integers(2880, 11000),
    put=st.binary(min_size=1, max_size=30),
)
def test_no_damage_raises(
    write: Write, snana_pair: SnanaPair, half: str, place: int, put: bytes
) -> None:
    broken = snana_pair(stem="broken")
    whole = broken[f"broken_{half}.FITS"]
    assert isinstance(whole, bytes)
    damaged = whole[:place] + put + whole[place + len(put) :]
    found = list(survey(write(snana_pair() | broken | {f"broken_{half}.FITS": damaged})).records())
    kept = [r for r in found if isinstance(r, Sample)]
    assert len([r for r in kept if r.sample_id.startswith("X/")]) == 2
    for sample in kept:
        sequence = sample.sequences["photometry"]
        assert sequence.error is not None
        assert np.isfinite(sequence.value).all()
        assert (sequence.error > 0).all()


def test_counts_of_the_real_pairs(shared_data: Path) -> None:
    expected = json.loads((shared_data / "counts.json").read_text())["snana_fits.tar.gz"]
    opened = survey(shared_data / "snana_fits.tar.gz")
    stale = sum(c["pointers_disagree_with_separators"] for c in expected.values())
    assert opened.source["num_stale_pointers"] == stale == 196
    vocabulary, found = bands(opened), list(opened.records())
    kept = [r for r in found if isinstance(r, Sample)]
    assert len(kept) + sum(isinstance(r, Ignored) for r in found) == len(found)
    for name, counts in expected.items():
        stem = name.rpartition("/")[2].removesuffix("_HEAD.FITS")
        here = [s for s in kept if s.sample_id.startswith(f"{stem}/")]
        curves = [s.sequences["photometry"] for s in here]
        assert len({s.object_id for s in here}) == len(here) == counts["objects"]
        assert sum(map(len, curves)) == counts["points"] == counts["nobs_sum"]
        assert sum(int((c.value < 0).sum()) for c in curves) == counts["negative_flux"]
        used = Counter(vocabulary[b] for c in curves for b in c.categories["band"])
        assert used == counts["bands"]
        assert all(c.metadata["redshift"] is not None for c in curves)
    assert {s.labels["class"] for s in kept} == {"Ia"}


def test_light_curves_are_astropys_own_rows(shared_data: Path, tmp_path: Path) -> None:
    """A light curve of the file with stale pointers, against rows counted by hand."""
    with tarfile.open(shared_data / "snana_fits.tar.gz") as packed:
        folder = "snana_fits/supernnova_des_sim/DES_Ia-0001"
        names = [f"{folder}_{half}.FITS" for half in ("HEAD", "PHOT")]
        contents = [packed.extractfile(name).read() for name in names]  # type: ignore[union-attr]
    head, phot = (fits.open(io.BytesIO(content))[1].data for content in contents)
    by_id = {s.sample_id: s for s in samples(archive(tmp_path / "x.tar.gz", dict(zip(
        (Path(n).name for n in names), contents, strict=True))))}  # fmt: skip
    begin = 0
    for row in head:
        stop = begin + int(row["NOBS"])
        curve = by_id[f"DES_Ia-0001/{row['SNID']}"].sequences["photometry"]
        np.testing.assert_array_equal(curve.positions["time"], phot["MJD"][begin:stop])
        np.testing.assert_array_equal(curve.value, phot["FLUXCAL"][begin:stop])
        begin = stop + 1
