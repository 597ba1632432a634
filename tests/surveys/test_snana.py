"""SNANA text: every dialect's quirk by hand, and the counts of the real archives."""

import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daep_ray.errors import DataError
from daep_ray.sample import Category, Ignored, Quarantined, Record, Sample
from daep_ray.surveys import Survey, open_survey

SHARED_FOLDER = [HealthCheck.function_scoped_fixture]  # every example writes the same file anew
Write = Callable[[dict[str, str | bytes]], Path]

DES = """\
SURVEY: DES
SNID: 1248677
TYPE:         1
PEAKMJD:     56552.262
REDSHIFT_FINAL: 0.35 +- 0.0005 (CMB)
NVAR:  11
VARLIST: MJD BAND FIELD  FLUXCAL FLUXCALERR  ZPFLUX PSF
OBS: 56538.281 DES-z C3 67.692 5.3595 31.259 2.793
OBS: 56538.340 DES-i C3 76.953 3.6008 31.723 2.828
END:
"""
SPCC = """\
SURVEY: DES
SNID:   938
SNTYPE:  -9
FAKE:    2   (=> simulated LC with snlc_sim.exe)
DECL:      -4.500000  deg
REDSHIFT_HELIO: -9.0 +- 9.0
REDSHIFT_FINAL:   0.69549 +- 0.05840  (CMB)
SIM_COMMENT:  SN Type = II , MODEL = Nugent
SIM_PEAKMJD:   56232.542969  days
NOBS: 2
VARLIST:  MJD  FLT FIELD   FLUXCAL   FLUXCALERR   SNR    MAG     MAGERR SIM_MAG
OBS:  56171.023  g NULL   7.600e+00   4.680e+00   1.62   99.000    5.000   98.926
OBS:  56172.023  r NULL  -7.600e+00   4.680e+00   1.62  128.000    5.000   98.926
"""


def survey(folder: Path, **options: str) -> Survey:
    return open_survey("snana", folder, options)


def samples(folder: Path, **options: str) -> list[Sample]:
    found = list(survey(folder, **options).records())
    assert all(isinstance(r, Sample) for r in found), found
    return [r for r in found if isinstance(r, Sample)]


def bands(opened: Survey) -> tuple[str, ...]:
    band = opened.modalities[0].categories[0]
    assert isinstance(band, Category)
    return band.vocabulary


def test_light_curve_is_sorted_and_read_by_column_name(write: Write, snana_text: str) -> None:
    folder = write({"a.dat": snana_text})
    first, second = samples(folder)
    assert bands(survey(folder)) == ("unknown", "B/b", "V/v")
    curve = first.sequences["photometry"]
    # the NaN flux and the zero error were not measured; NVAR, NOBS order and MAG play no part
    np.testing.assert_array_equal(curve.positions["time"], [51220.5, 51240.5, 51241.5])
    np.testing.assert_array_equal(curve.value, [300.0, 100.0, -20.0])
    np.testing.assert_array_equal(curve.categories["band"], [2, 1, 1])
    assert curve.metadata == {"redshift": 0.5, "peak": 51230.0}
    assert second.sequences["photometry"] is curve  # shared by the object's samples


def test_spectra_become_samples(write: Write, snana_text: str) -> None:
    first, second = samples(write({"a.dat": snana_text}))
    assert [first.sample_id, second.sample_id] == ["a/0", "a/1"]
    assert first.object_id == second.object_id == "sn1999aa"
    assert first.labels == {"class": "Ia", "subtype": "Ia", "survey": "LOWZ"}
    one, two = first.sequences["spectrum"], second.sequences["spectrum"]
    np.testing.assert_array_equal(one.positions["wavelength"], [4001.0, 4005.0])  # flag 0 is gone
    np.testing.assert_array_equal(one.value, [1.5e-15, -3.5e-15])
    assert one.metadata == {"phase": 15.0 / 1.5, "redshift": 0.5, "ebv": 0.047}
    # MJD 0.01 is missing
    assert two.metadata == {"phase": None, "redshift": 0.5, "ebv": 0.047}
    np.testing.assert_array_equal(two.value, [0.25, 0.35])


@pytest.mark.parametrize(("card", "ebv"), [("0.0", 0.0), ("-9.0", None), ("", None)])
def test_dust_of_the_milky_way_may_be_unknown(
    write: Write, snana_text: str, card: str, ebv: float | None
) -> None:
    first, _ = samples(write({"a.dat": snana_text.replace("MWEBV: 0.047", f"MWEBV: {card}")}))
    assert first.sequences["spectrum"].metadata["ebv"] == ebv


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_dialects(write: Write, newline: str) -> None:
    folder = write({"des.dat": DES.replace("\n", newline), "spcc.DAT": SPCC.replace("\n", newline)})
    des, spcc = samples(folder)
    assert des.object_id == "des-1248677"
    assert (des.labels["class"], spcc.labels["class"]) == ("Ia", "II")
    assert des.sequences["photometry"].metadata == {"redshift": 0.35, "peak": 56552.262}
    assert spcc.sequences["photometry"].metadata == {"redshift": 0.69549, "peak": 56232.542969}
    np.testing.assert_array_equal(spcc.sequences["photometry"].value, [7.6, -7.6])
    assert bands(survey(folder)) == ("unknown", "DES-i", "DES-z", "g", "r")
    assert [m.name for m in survey(folder).modalities] == ["photometry"]


def test_unzipped_alone_and_lists_ignored(write: Write, snana_text: str) -> None:
    found = list(
        survey(
            write({
                "a.dat.gz": gzip.compress(snana_text.encode()),
                "a.LIST": "a.dat.gz",
                "X.README": "docs",
                "example_meta_table.dat": "# SN Redshift",
            })
        ).records()
    )  # fmt: skip
    assert Counter(type(r) for r in found) == {Sample: 2, Ignored: 3}


def test_only_pairs_ignores_whoever_lacks_one(write: Write, snana_text: str) -> None:
    alone = snana_text[: snana_text.index("NSPECTRA")]
    folder = write({"a.dat": snana_text, "b.dat": alone})
    assert Counter(type(r) for r in survey(folder).records()) == {Sample: 3}
    found = list(survey(folder, only_pairs="true").records())
    assert Counter(type(r) for r in found) == {Sample: 2, Ignored: 1}
    assert {name for r in found if isinstance(r, Sample) for name in r.sequences} == {
        "photometry",
        "spectrum",
    }


def test_untyped_objects_take_the_default(write: Write, snana_text: str) -> None:
    text = snana_text.replace("SNTYPE: 1\n", "")
    assert samples(write({"a.dat": text}))[0].labels["class"] is None
    labels = samples(write({"a.dat": text}), default_subtype="Ia")[0].labels
    assert (labels["class"], labels["subtype"]) == ("Ia", "Ia")


def test_keys_of_a_spectrum_in_any_order(write: Write, snana_text: str) -> None:
    swapped = snana_text.replace(
        "SPECTRUM_MJD: 51245.0\nSPECTRUM_ID: 1\n", "SPECTRUM_ID: 1\nSPECTRUM_MJD: 51245.0\n"
    ).replace("SPECTRUM_END:\n", "", 1)  # the next key after rows begins the next spectrum
    swapped = swapped.replace("SPECTRUM_NLAM: 7", "SPECTRUM_NLAM: 3")
    assert swapped != snana_text
    for one, two in zip(
        samples(write({"a.dat": snana_text})), samples(write({"a.dat": swapped})), strict=True
    ):
        np.testing.assert_array_equal(
            one.sequences["spectrum"].value, two.sequences["spectrum"].value
        )
        assert one.sequences["spectrum"].metadata == two.sequences["spectrum"].metadata


@pytest.mark.parametrize(
    ("old", "new", "reason", "num_lost"),
    [
        ("SNID: 1999aa\n", "", "SNID", 1),
        ("NOBS: 5", "NOBS: 6", "cut short", 2),
        ("FLUXCALERR MAG", "SIGMA MAG", "FLUXCALERR", 2),
        ("MJD  FLT", "MJD  COLOUR", "BAND", 2),
        ("51240.5 B/b VOID  100.0 10.0 22.5 0.1", "51240.5 B/b VOID", "3 columns", 2),
        ("100.0 10.0 22.5", "100.x 10.0 22.5", "'100.x'", 2),
        ("SNID: 1999aa", "SNID: 1999aa\0", "binary", 1),
    ],
)
def test_a_malformed_object_is_quarantined_whole(
    write: Write, snana_text: str, old: str, new: str, reason: str, num_lost: int
) -> None:
    assert old in snana_text
    folder = write({"bad.dat": snana_text.replace(old, new, 1), "good.dat": snana_text})
    found = list(survey(folder).records())
    lost = [r for r in found if isinstance(r, Quarantined)]
    assert len(lost) == num_lost
    assert all(reason in r.reason for r in lost), lost
    assert sum(isinstance(r, Sample) for r in found) == 2


def test_a_bad_spectrum_is_lost_alone(write: Write, snana_text: str) -> None:
    broken = snana_text.replace("SPEC: 5000.0 5010.0 0.25", "SPEC: 5000.0 0.25")
    kept, lost = survey(write({"a.dat": broken})).records()
    assert isinstance(kept, Sample)
    assert isinstance(lost, Quarantined)
    assert lost.unit == "spectrum 1"
    cut = snana_text[: snana_text.index("SPEC: 5010")]
    kept, lost = survey(write({"a.dat": cut})).records()
    assert isinstance(lost, Quarantined)
    assert "cut short" in lost.reason
    absent = snana_text[: snana_text.index("SPECTRUM_ID: 2")]
    kept, lost = survey(write({"a.dat": absent})).records()
    assert isinstance(lost, Quarantined)
    assert "NSPECTRA" in lost.reason


def test_the_light_curve_outlives_its_spectra(write: Write, snana_text: str) -> None:
    text = re.sub(r"(SPEC: .*) 1\n", r"\1 0\n", snana_text)
    found = list(survey(write({"a.dat": text})).records())
    assert [type(r) for r in found] == [Quarantined, Quarantined, Sample]
    assert isinstance(found[2], Sample)
    assert found[2].sample_id == "a"
    assert list(found[2].sequences) == ["photometry"]


def test_an_object_without_valid_measurements_is_quarantined(write: Write) -> None:
    found = list(
        survey(write({"a.dat": DES.replace(" 5.3595", " -1").replace(" 3.6008", " nan")})).records()
    )
    assert [type(r) for r in found] == [Quarantined]


def test_another_format_is_one_sentence(write: Write) -> None:
    with pytest.raises(DataError, match="no SNANA light curve or spectrum") as error:
        survey(write({"a.lnw": "10 1024", "b.fits": b"\0"}))
    assert "\n" not in str(error.value)


@settings(max_examples=150, deadline=None, suppress_health_check=SHARED_FOLDER)
@given(
    start=st.integers(0, 1300),
    length=st.integers(0, 60),
    put=st.one_of(st.binary(max_size=20), st.sampled_from([b"nan", b"-9", b"1e999", b"\nSPEC:"])),
)
def test_no_damage_raises(
    write: Write, snana_text: str, start: int, length: int, put: bytes
) -> None:
    text = snana_text.encode()
    files: dict[str, str | bytes] = {
        "bad.dat": text[:start] + put + text[start + length :],
        "good.dat": snana_text,
    }
    found: list[Record] = list(survey(write(files)).records())
    good = [r for r in found if isinstance(r, Sample) and r.sample_id.startswith("good")]
    assert len(good) == 2
    assert len(found) > 2
    for sample in (r for r in found if isinstance(r, Sample)):
        for sequence in sample.sequences.values():
            assert sequence.error is not None
            assert np.isfinite(sequence.value).all()
            assert (sequence.error > 0).all()


def points(found: list[Sample]) -> Counter[str]:
    """Measurements per modality, a shared light curve once."""
    sequences = {id(q): (m, len(q)) for s in found for m, q in s.sequences.items()}
    counted: Counter[str] = Counter()
    for modality, length in sequences.values():
        counted[modality] += length
    return counted


def irregularities(found: list[Sample]) -> tuple[int, int]:
    """Negative fluxes and repeated (time, band), each light curve once: kept as they are."""
    curves = {id(q): q for s in found for m, q in s.sequences.items() if m == "photometry"}
    num_negative = sum(int((q.value < 0).sum()) for q in curves.values())
    places = (zip(q.positions["time"], q.categories["band"], strict=True) for q in curves.values())
    return num_negative, sum(len(p) - len(set(p)) for p in map(list, places))


@pytest.mark.slow
def test_counts_of_salt3(shared_data: Path) -> None:
    expected = json.loads((shared_data / "counts.json").read_text())["salt3_training.tar.xz"]
    opened = survey(shared_data / "salt3_training.tar.xz", default_subtype="Ia")
    vocabulary = bands(opened)
    per_survey: dict[str, list[Sample]] = defaultdict(list)
    for record in opened.records():
        assert not isinstance(record, Quarantined), record
        if isinstance(record, Sample):
            assert record.labels["class"] == "Ia"
            per_survey[record.sample_id.partition("_")[0].lower()].append(record)
    everything = [s for found in per_survey.values() for s in found]
    total = expected["total"]
    assert len({s.object_id for s in everything}) == total["objects"]
    assert sum("spectrum" in s.sequences for s in everything) == total["spectra"]
    assert points(everything) == {
        "photometry": total["phot_points"],
        "spectrum": total["spec_points"] - total["spec_flag_not_1"],
    }
    assert len(expected["by_survey"]) == 12
    assert irregularities(everything) == (
        total["phot_negative_flux"],
        total["phot_duplicate_mjd_band"],
    )
    for name, counts in expected["by_survey"].items():
        spectra = [
            s.sequences["spectrum"]
            for s in per_survey[name.lower().partition("_")[0]]
            if "spectrum" in s.sequences
        ]
        assert len(spectra) == counts.get("spectra", 0), name
        # OTHER_LOWZ's files begin with OTHER
        found = per_survey[name.lower().partition("_")[0]]
        assert len({s.object_id for s in found}) == counts["objects"], name
        assert points(found)["photometry"] == counts["phot_points"], name
        codes = [s.sequences["photometry"].categories["band"] for s in found]
        used = {vocabulary[b] for b in np.unique(np.concatenate(codes))}
        assert sorted(used) == counts["bands"], name
    assert set(vocabulary[1:]) == {b for c in expected["by_survey"].values() for b in c["bands"]}
    phases = [s.sequences["spectrum"].metadata["phase"] for s in everything if len(s.sequences) > 1]
    assert sum(p is None for p in phases) == total["spec_mjd_missing"]


@pytest.mark.parametrize("name", ["spcc_subset.tar.xz", "ps1_md_superraenn.tar.gz"])
def test_counts_of_light_curves(shared_data: Path, name: str) -> None:
    expected = json.loads((shared_data / "counts.json").read_text())[name]
    opened = survey(shared_data / name)
    found = list(opened.records())
    kept = [r for r in found if isinstance(r, Sample)]
    assert len(kept) + sum(isinstance(r, Ignored) for r in found) == len(found)
    assert len({s.object_id for s in kept}) == len(kept) == expected["objects"]
    assert points(kept) == {"photometry": expected["phot_points"]}
    assert irregularities(kept) == (
        expected["phot_negative_flux"],
        expected["phot_duplicate_mjd_band"],
    )
    vocabulary = bands(opened)
    counted = Counter(
        vocabulary[b] for s in kept for b in s.sequences["photometry"].categories["band"]
    )
    assert counted == expected["bands"]
    times = [s.sequences["photometry"].positions["time"] for s in kept]
    assert all((np.diff(t) >= 0).all() for t in times)
