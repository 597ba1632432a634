"""Text spectra: plain files, CSP and BSNIP with every quirk, the counts of the real archives."""

import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daep_ray.errors import ConfigError, DataError
from daep_ray.sample import Ignored, Quarantined, Record, Sample, Sequence
from daep_ray.surveys import open_survey

Write = Callable[[dict[str, str | bytes]], Path]
SHARED_FOLDER = [HealthCheck.function_scoped_fixture]  # every example writes the same file anew

CSP = """\
#Object:               SN2004dt
#FITS_file:            SN04dt_b01_DUP_WF_14sep04.fits
#Redshift:             0.01973
#JDate_of_max:         2453239.06
#JDate_of_observation: 2453262.71
#Epoch:                23.19
#
 3726.4754 2.45737e-16
 3729.4579 0.00000e+00
 3732.4404 -2.9798e-16
"""
# sn 2001bg has a night with two rows, one row without a phase, and a last row without a velocity
OBJECTS = """\
SN 2001bg Ia-norm  NGC 2608                        Sb      2135 0.039 2001 05 08   IAUC 7621
SN 2001C            PGC 19975                       Sb           0.039 2001 01 04   IAUC 7555
"""
SPECTRA = """\
SN 2001bg  2001  5 25.200 52054.200  13.70  1  3450  9000          12
SN 2001bg  2001  5 25.400 52054.400  13.90  1  3450  9000          12
SN 2001C   2001  1 23.000 51932.000         3  3260 10600  5
"""
FLM = "      3450.00     -0.0964625\n      3452.00      0.0343703\n      3454.00       0.348927\n"


def records(folder: Path, **options: Any) -> list[Record]:
    return list(open_survey("ascii", folder, options).records())


def sample(record: Record) -> Sample:
    assert isinstance(record, Sample), record
    return record


def spectrum(record: Record) -> Sequence:
    return sample(record).sequences["spectrum"]


# ---------------------------------------------------------------- CSP


def test_csp_header_and_frame(write: Write) -> None:
    survey = open_survey("ascii", write({"SN04dt_040914_b01_DUP_WF.dat": CSP}), {"dialect": "csp"})
    (modality,) = survey.modalities
    assert modality.positions[0].frame == "rest"
    assert modality.value.unit == "erg/s/cm2/Angstrom"
    assert not modality.has_error
    (found,) = map(sample, survey.records())
    assert found.sample_id == "SN04dt_040914_b01_DUP_WF"
    assert found.object_id == "sn2004dt"
    assert found.labels == {"class": "Ia", "subtype": "Ia"}
    # a zero and a negative flux are values
    np.testing.assert_array_equal(spectrum(found).value, [2.45737e-16, 0.0, -2.9798e-16])
    metadata = spectrum(found).metadata
    assert (metadata["phase"], metadata["redshift"]) == (23.19, 0.01973)
    assert metadata["mjd"] == pytest.approx(53262.21, abs=1e-6)


def test_arms_of_one_night_are_samples_of_one_object(write: Write) -> None:
    files: dict[str, str | bytes] = {"README.txt": "text"}
    files |= {f"SN04dt_040914_{arm}_DUP_WF.dat": CSP for arm in ("b01", "g01", "r01")}
    found = records(write(files), dialect="csp")
    assert Counter(type(r) for r in found) == {Sample: 3, Ignored: 1}
    assert {r.object_id for r in found if isinstance(r, Sample)} == {"sn2004dt"}


def test_a_third_column_of_csp_is_no_error(write: Write) -> None:
    """`SN07bc_070409_b01_BAA_IM.dat` has another wavelength there."""
    rows = "3435.5298 2.2E-15 3437.3638\n3436.9392 2.4E-15 3437.6484\n"
    (found,) = records(write({"SN07bc_070409_b01_BAA_IM.dat": rows}), dialect="csp")
    assert spectrum(found).error is None
    # there is no header: by the file's name
    assert spectrum(found).metadata == {"phase": None, "redshift": None, "mjd": 54199.0}
    assert sample(found).object_id == "sn2007bc"


def test_a_files_name_is_right_where_the_header_is_not(write: Write) -> None:
    """As in two files of the real archive: another supernova, and a date 1,000 days late."""
    late = CSP.replace("2453262.71", "2454262.71")
    found = records(
        write({"SN06bd_040914_b01_DUP_WF.dat": CSP, "SN06fw_040914_b01_DUP_WF.dat": late}),
        dialect="csp",
    )
    assert [sample(r).object_id for r in found] == ["sn2006bd", "sn2006fw"]
    assert spectrum(found[0]).metadata["mjd"] == pytest.approx(53262.21, abs=1e-6)
    assert spectrum(found[1]).metadata["mjd"] == 53262.0


# ---------------------------------------------------------------- BSNIP


def test_bsnip_metadata_come_from_the_tables(write: Write) -> None:
    """Tables are found wherever they stand; capital and small letters are one name."""
    names = {
        "sn2001bg-20010525-ui.flm": ("sn2001bg", 52054.2, 13.7),  # the day's first row
        "sn2001bg-20010525.400-ui-corrected.flm": ("sn2001bg", 52054.4, 13.9),  # the nearest
        "sn2001bg-20010526.247-joined.flm": ("sn2001bg", 52055.247, None),  # no row of that day
        "sn2001c-far-20010123-ui.flm": ("sn2001C", 51932.0, None),  # a row without a phase
        "sn2008s1-20080519-ui.flm": ("sn2008s1", 54605.0, None),  # in no table
    }
    files: dict[str, str | bytes] = {name: FLM for name in names}  # noqa: C420 (a wider type)
    files |= {"obj_info_table.txt": OBJECTS, "spec_info_table.txt": SPECTRA}
    found = records(write(files), dialect="bsnip")
    assert Counter(type(r) for r in found) == {Sample: 5, Ignored: 2}
    for record in found:
        if isinstance(record, Sample):
            name, mjd, phase = names[f"{record.sample_id}.flm"]
            assert record.object_id == name
            assert spectrum(record).metadata["mjd"] == pytest.approx(mjd, abs=1e-9)
            assert spectrum(record).metadata["phase"] == phase
            is_known = name == "sn2001bg"
            assert record.labels == {"class": "Ia", "subtype": "Ia-norm" if is_known else "Ia"}
            redshift = spectrum(record).metadata["redshift"]
            assert redshift == (pytest.approx(2135 / 299792.458) if is_known else None)


def test_tables_at_the_end_of_an_archive_count(tmp_path: Path) -> None:
    path = tmp_path / "bsnip.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in (
            ("sn2001bg-20010525-ui.flm", FLM),
            ("spec_info_table.txt", SPECTRA),
            ("obj_info_table.txt", OBJECTS),
        ):
            member = tarfile.TarInfo(f"bsnip/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    (first, *_) = records(path, dialect="bsnip")
    assert sample(first).labels["subtype"] == "Ia-norm"
    assert spectrum(first).metadata["phase"] == 13.7


def test_a_survey_has_errors_or_none(write: Write) -> None:
    """A third column is an error only on request; a point without one is then left out."""
    folder = write({
        "sn1-20010525-a.flm": "1 5 0.5\n2 6 NaN\n3 7 -1\n4 8 0\n5 9 2\n",
        "sn2-20010525-a.flm": FLM,
    })  # fmt: skip
    without = records(folder, dialect="bsnip")
    assert [len(spectrum(r)) for r in without] == [5, 3]
    assert all(spectrum(r).error is None for r in without)
    with_errors, lost = records(folder, dialect="bsnip", error_column=3)
    np.testing.assert_array_equal(spectrum(with_errors).value, [5.0, 9.0])
    np.testing.assert_array_equal(spectrum(with_errors).error, [0.5, 2.0])
    assert isinstance(lost, Quarantined)
    assert lost.reason == "2 columns, and errors were to be in 3"
    for error_column in (0, 3):
        survey = open_survey("ascii", folder, {"frame": "rest", "error_column": error_column})
        assert survey.modalities[0].has_error == (error_column > 0)


# ---------------------------------------------------------------- plain files


def test_a_users_own_files(write: Write) -> None:
    """Column names, commas, nanometres, any order, own names: declared, not guessed."""
    text = "wavelength,flux,quality,error\n500.5,2,0,0.1\n400.5,1,0,0.2\n450.5,nan,0,0.3\n"
    options = {
        "frame": "observer", "error_column": 4, "wavelength_unit": "nm", "flux_unit": "mJy",
        "name_pattern": r"spec_(?P<object>\w+?)_(?P<date>\d{8})", "default_subtype": "IIb",
    }  # fmt: skip
    survey = open_survey("ascii", write({"spec_SN1999aa_20010530.csv": text}), options)
    assert survey.modalities[0].value.unit == "mJy"
    assert survey.modalities[0].positions[0].frame == "observer"
    (found,) = map(sample, survey.records())
    assert found.object_id == "sn1999aa"
    assert found.labels == {"class": "Ib", "subtype": "IIb"}
    np.testing.assert_array_equal(spectrum(found).positions["wavelength"], [4005.0, 5005.0])
    np.testing.assert_array_equal(spectrum(found).value, [1.0, 2.0])
    np.testing.assert_array_equal(spectrum(found).error, [0.2, 0.1])
    assert spectrum(found).metadata["mjd"] == 52059.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "--set frame=rest"),
        ({"frame": "rset"}, "'rest' or 'observer'"),
        ({"frame": "rest", "error_column": 2}, "3 and more"),
        ({"frame": "rest", "name_pattern": "("}, "no regular expression"),
        ({"frame": "rest", "name_pattern": "(.*)"}, "group"),
        ({"dialect": "cps"}, "'csp'"),
    ],
)
def test_wrong_settings_are_one_sentence(write: Write, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)) as error:
        open_survey("ascii", write({"a.dat": FLM}), options)
    assert "\n" not in str(error.value)


def test_no_spectrum_at_all_is_one_sentence(write: Write) -> None:
    with pytest.raises(DataError, match="no text file with rows"):
        open_survey("ascii", write({"a.dat": "words only\n", "b.fits": b"\0"}), {"frame": "rest"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no rows"),
        ("# only a comment\n", "no rows"),
        (b"SIMPLE\0\0", "binary"),
        ("4000 1\n4010 2\n".encode("utf-16"), "binary"),
        ("4000\n4010\n", "one column only"),
        ("4000 1\n4010\n4020 3\n", "row 1 has 1 numbers instead of 2"),
        ("4000 1\n4010 2\n40", "row 2 has 1 numbers instead of 2: the file is cut short"),
        ("4000.0 1.25\n4010.0 2.25\n4020.0 3.", "cut short"),
        ("4000 1\n4010 2.5.1\n", "row 1: '2.5.1' is no number"),
        (b"4000 1\n4010 \xe9\xff\n", "is no number"),
        ("4000 nan\n4010 inf\n", "no measurement"),
        ("0 1\n1 2\n", "not positive"),
        ("-4000 1\n1 2\n", "not positive"),
    ],
)
def test_malformed_files_are_quarantined_and_the_rest_kept(
    write: Write, content: str | bytes, words: str
) -> None:
    lost, kept = records(write({"a.dat": content, "b.dat": FLM}), frame="rest")
    assert isinstance(lost, Quarantined)
    assert words in lost.reason
    assert len(spectrum(kept)) == 3


def test_a_name_that_does_not_fit_is_quarantined(write: Write) -> None:
    lost, kept = records(write({"notes.flm": FLM, "sn2001bg-20010525.flm": FLM}), dialect="bsnip")
    assert isinstance(lost, Quarantined)
    assert "does not fit the pattern" in lost.reason
    assert isinstance(kept, Sample)


def test_foreign_letters_in_a_comment_harm_nothing(write: Write) -> None:
    content = "# Beobachter: Müller\n".encode("latin1") + FLM.encode()
    (found,) = records(write({"a.dat": content}), frame="rest")
    assert len(spectrum(found)) == 3


@settings(max_examples=150, deadline=None, suppress_health_check=SHARED_FOLDER)
@given(
    start=st.integers(0, len(CSP)),
    length=st.integers(0, 40),
    put=st.one_of(st.binary(max_size=20), st.sampled_from([b"nan", b"-1", b"1e999", b"\n\n"])),
)
def test_no_damage_raises(write: Write, start: int, length: int, put: bytes) -> None:
    text = CSP.encode()
    damaged = text[:start] + put + text[start + length :]
    found = records(
        write({"SN04dt_040914_a.dat": damaged, "SN04dt_040914_b.dat": CSP}), dialect="csp"
    )
    assert len(found) == 2
    if isinstance(found[0], Sample):
        sequence = spectrum(found[0])
        assert np.isfinite(sequence.value).all()
        assert (np.diff(sequence.positions["wavelength"]) >= 0).all()


# ---------------------------------------------------------------- the real archives


def real(shared_data: Path, archive: str, **options: Any) -> tuple[list[Record], dict[str, Any]]:
    counts = json.loads((shared_data / "counts.json").read_text())[archive]
    return records(shared_data / archive, **options), counts


@pytest.mark.slow
def test_counts_of_csp(shared_data: Path) -> None:
    found, expected = real(shared_data, "csp_spectra.tar.xz", dialect="csp")
    samples = [r for r in found if isinstance(r, Sample)]
    assert Counter(type(r) for r in found) == {Sample: expected["spectra"], Ignored: 1}
    # counted by the headers, one of which names another supernova than its file (sn2006bd)
    objects = {s.object_id for s in samples}
    assert len(objects - {"sn2006bd"}) == len(objects) - 1 == expected["supernovae"]
    values = np.concatenate([spectrum(s).value for s in samples])
    assert len(values) == expected["points"]
    assert (values < 0).sum() == expected["negative_flux"]
    assert (values == 0).sum() == expected["zero_flux"]
    phases = np.array([spectrum(s).metadata["phase"] for s in samples], float)
    assert (phases.min(), phases.max()) == (expected["epoch_min"], expected["epoch_max"])
    # of the one whose header has a wrong date, only the day is known
    assert [k for k, is_good in is_consistent(samples).items() if not is_good] == ["sn2006fw"]
    assert len(is_consistent(samples)) == 78


def is_consistent(samples: list[Sample]) -> dict[str, bool]:
    """Per supernova: do phase, date and redshift of its spectra belong to one maximum?"""
    maxima: dict[str, list[float]] = {}
    for one in samples:
        metadata = spectrum(one).metadata
        if None not in metadata.values():
            phase, redshift, mjd = (float(metadata[k] or 0) for k in ("phase", "redshift", "mjd"))
            maxima.setdefault(one.object_id, []).append(mjd - phase * (1 + redshift))
    return {k: max(v) - min(v) < 0.02 for k, v in maxima.items() if len(v) > 1}


@pytest.mark.slow
def test_counts_of_bsnip(shared_data: Path) -> None:
    found, expected = real(shared_data, "bsnip_spectra_subset.tar.xz", dialect="bsnip")
    samples = [r for r in found if isinstance(r, Sample)]
    assert Counter(type(r) for r in found) == {Sample: expected["spectra"], Ignored: 2}
    assert len({s.object_id for s in samples}) == expected["supernovae"]
    values = np.concatenate([spectrum(s).value for s in samples])
    assert len(values) == expected["points"]
    assert (values < 0).sum() == expected["negative_flux"]
    # by object, as the table counts; one name of the table is no name of a file
    types = Counter({s.object_id: s.labels["subtype"] for s in samples}.values())
    table = {k: v for k, v in expected["types"].items() if k not in ("Ia", "?")}
    assert {k: types[k] for k in table} == table
    # the three columns agree with each other only if every spectrum has got its own row
    assert Counter(is_consistent(samples).values()) == {True: 57}
    assert all(spectrum(s).metadata["mjd"] is not None for s in samples)


@pytest.mark.slow
def test_errors_of_bsnip(shared_data: Path) -> None:
    options = {"dialect": "bsnip", "error_column": 3}
    found, expected = real(shared_data, "bsnip_spectra_subset.tar.xz", **options)
    samples = [r for r in found if isinstance(r, Sample)]
    assert len(samples) == expected["columns_3"]
    assert sum(isinstance(r, Quarantined) for r in found) == expected["columns_2"]
