"""SNID templates: hand-made files with every quirk, and the counts of the real archive."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daep_ray.errors import DataError
from daep_ray.sample import Ignored, Quarantined, Record, Sample
from daep_ray.surveys import open_survey

FLUX = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [-3, 4, 0.5], [0, 5, 0]], float)
AGES = (-3.5, 0.0, 40.2)
SHARED_FOLDER = [HealthCheck.function_scoped_fixture]  # every example writes the same file anew
Write = Callable[[dict[str, str | bytes]], Path]
Lnw = Callable[..., str]


def records(folder: Path) -> list[Record]:
    return list(open_survey("snid", folder, {}).records())


def test_each_epoch_is_a_sample_trimmed_at_both_ends(write: Write, lnw: Lnw) -> None:
    found = records(write({"sn00cn_bsnip.lnw": lnw(FLUX, AGES, name="sn00cn", delta=-9.99)}))
    assert [s.sample_id for s in found if isinstance(s, Sample)] == [
        "sn00cn_bsnip/0", "sn00cn_bsnip/1", "sn00cn_bsnip/2",
    ]  # fmt: skip
    wavelength = np.round(2500.0 * 1.1 ** np.arange(5), 2)
    for sample, span, age in zip(found, ((1, 4), (2, 5), (3, 4)), AGES, strict=True):
        assert isinstance(sample, Sample)
        spectrum = sample.sequences["spectrum"]
        assert sample.object_id == "sn2000cn"
        assert sample.labels == {"class": "Ia", "subtype": "Ia-norm", "delta": None}
        assert spectrum.metadata == {"phase": age}
        assert spectrum.error is None
        epoch = int(sample.sample_id[-1])
        np.testing.assert_array_equal(spectrum.value, FLUX[slice(*span), epoch])
        np.testing.assert_array_equal(spectrum.positions["wavelength"], wavelength[slice(*span)])


def test_two_files_of_one_supernova_share_the_object(write: Write, lnw: Lnw) -> None:
    found = records(
        write({
            "sn00cn_bsnip.lnw": lnw(FLUX, AGES, name="sn00cn"),
            "sn2000cn.lnw": lnw(FLUX, AGES, name="sn2000cn"),
            "sn2000cn (2).lnw": lnw(FLUX, AGES, name="sn2000cn"),
            "more/sn2000cn.lnw": lnw(FLUX, AGES, name="sn2000cn"),
        })
    )  # fmt: skip
    samples = [s for s in found if isinstance(s, Sample)]
    assert {s.object_id for s in samples} == {"sn2000cn"}
    assert len({s.sample_id for s in samples}) == len(samples) == 12


def test_labels_and_unknown_ages(write: Write, lnw: Lnw) -> None:
    (from_first,) = records(write({"a.lnw": lnw(FLUX[:, :1], [3.0], flag=1, subtype="IIb")}))
    assert isinstance(from_first, Sample)
    assert from_first.sequences["spectrum"].metadata == {"phase": None}
    assert from_first.labels == {"class": "Ib", "subtype": "IIb", "delta": 1.1}
    (no_age,) = records(write({"a.lnw": lnw(FLUX[:, :1], [-99.9])}))
    assert isinstance(no_age, Sample)
    assert no_age.sequences["spectrum"].metadata == {"phase": None}


def test_every_truncation_quarantines_the_whole_file(write: Write, lnw: Lnw) -> None:
    """Cut anywhere (but in trailing blanks), no epoch survives, and each is accounted for."""
    text = lnw(FLUX, AGES)
    header = text.index("\n")
    for length in range(len(text) - 1):
        found = records(write({"cut.lnw": text[:length]}))
        assert all(isinstance(r, Quarantined) and r.reason for r in found), text[:length]
        assert len(found) == (3 if length >= header else 1)


def test_missing_values(write: Write, lnw: Lnw) -> None:
    flux = np.arange(1.0, 13.0).reshape(4, 3)
    flux[2] = np.nan  # a row of NaNs: this bin was not measured
    flux[:, 1] = np.nan  # a whole epoch
    first, lost, third = records(write({"a.lnw": lnw(flux, AGES)}))
    assert isinstance(first, Sample)
    np.testing.assert_array_equal(first.sequences["spectrum"].value, [1.0, 4.0, 10.0])
    assert isinstance(lost, Quarantined)
    assert (lost.file, lost.unit) == ("a.lnw", "1")
    assert isinstance(third, Sample)


def test_an_epoch_without_flux_is_quarantined_alone(write: Write, lnw: Lnw) -> None:
    flux = FLUX.copy()
    flux[:, 1] = 0
    assert [type(r) for r in records(write({"a.lnw": lnw(flux, AGES)}))] == [
        Sample, Quarantined, Sample,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x00\x01\x02" * 50, "binary"),
        ("", "first line"),
        ("a text about nothing\nand more\n", "first line"),
        ("999999999 3 1 2 1 x 1 Ia 1 2\n", "epochs"),
        ("1 2 1 2 0 x 1 Ia 1 2\n8 0.1\n0 0\n3 1\n2 1\n", "do not increase"),
        ("1 2 1 2 0 x 1 Ia 1 2\n8 0.1\n0 0\n3 1\n4 ****\n", "bin 1"),
        ("1 1 1 2 0 x 1 Ia 1 2\n8 0.1\n0 0\n3 1\n4 1\n", "too many lines"),
    ],
)
def test_malformed_templates_are_quarantined_with_a_reason(
    write: Write, content: str | bytes, reason: str
) -> None:
    (record,) = records(write({"bad.lnw": content}))
    assert isinstance(record, Quarantined)
    assert reason in record.reason


def test_other_files_are_quarantined_and_documents_ignored(write: Write, lnw: Lnw) -> None:
    found = records(write({"a.lnw": lnw(FLUX, AGES), "b.fits": b"\0", "README.txt": "hello"}))
    assert Counter(type(r) for r in found) == {Sample: 3, Quarantined: 1, Ignored: 1}


def test_no_template_at_all_is_one_sentence(write: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no SNID template") as error:
        open_survey("snid", write({"a.fits": b"\0", "LICENSE": "MIT"}), {})
    assert "\n" not in str(error.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is empty"):
        open_survey("snid", tmp_path / "empty", {})


@settings(max_examples=150, deadline=None, suppress_health_check=SHARED_FOLDER)
@given(
    start=st.integers(0, 300),
    length=st.integers(0, 40),
    put=st.one_of(st.binary(max_size=20), st.sampled_from([b"nan", b"-1", b"1e999", b"\n\n"])),
)
def test_no_damage_raises(write: Write, lnw: Lnw, start: int, length: int, put: bytes) -> None:
    text = lnw(FLUX, AGES).encode()
    found = records(write({"a.lnw": text[:start] + put + text[start + length :]}))
    assert found
    for record in found:
        if isinstance(record, Sample):
            spectrum = record.sequences["spectrum"]
            assert len(spectrum) > 0
            assert np.isfinite(spectrum.value).all()
            assert (np.diff(spectrum.positions["wavelength"]) > 0).all()


def test_counts_of_the_real_archive(shared_data: Path) -> None:
    expected = json.loads((shared_data / "counts.json").read_text())["snid_templates.tar.xz"]
    samples: list[Sample] = []
    kinds: Counter[type] = Counter()
    for record in open_survey("snid", shared_data / "snid_templates.tar.xz", {}).records():
        kinds[type(record)] += 1
        if isinstance(record, Sample):
            samples.append(record)
    assert kinds == {Sample: expected["spectra"], Ignored: 1}
    assert len({s.sample_id for s in samples}) == expected["spectra"]
    assert len({s.object_id for s in samples}) == expected["supernovae"]
    assert Counter(s.labels["subtype"] for s in samples) == expected["spectra_by_type"]
    assert sum(len(s.sequences["spectrum"]) for s in samples) == expected["points_inside_coverage"]
    phases = np.array([s.sequences["spectrum"].metadata["phase"] for s in samples], float)
    assert (min(phases), max(phases)) == (expected["age_min"], expected["age_max"])
    stems = {s.sample_id.rpartition("/")[0]: s.labels["delta"] for s in samples}
    assert len(stems) == expected["files"]
    assert sum(d is None for d in stems.values()) == expected["files_without_delta"]
