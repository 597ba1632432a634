"""Bad samples: each is set aside with its reason, the good ones around it are kept (law 13)."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.errors import DataError
from daep_ray.sample import Axis, Ignored, Modality, Quarantined, Sample
from daep_ray.shards.checks import IdSet, check_declaration
from daep_ray.shards.inspect import quarantine_reasons
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import table_from_samples
from daep_ray.shards.write import write_shards

NAN3 = np.full(3, np.nan)


def defective(make, kind: str) -> Any:
    """A sample with one defect."""
    curve, spectrum = make.light_curve, make.spectrum
    ints = np.array([0, 1, 2])
    sequences = {
        "error too short": {"photometry": curve(3, error=np.ones(2))},
        "band too long": {"photometry": curve(3, categories={"band": np.array([1, 1, 1, 1])})},
        "time two-dimensional": {"photometry": curve(3, positions={"time": np.ones((3, 1))})},
        "value of words": {"photometry": curve(3, value=np.array(["a", "b", "c"]))},
        "value a list": {"photometry": curve(3, value=[1.0, 2.0, 3.0])},
        "band of floats": {"photometry": curve(3, categories={"band": np.ones(3)})},
        "band beyond": {"photometry": curve(3, categories={"band": ints + 70000})},
        "band negative": {"photometry": curve(3, categories={"band": ints - 1})},
        "no time": {"photometry": curve(3, positions={})},
        "other extra": {"photometry": curve(3, extras={"sky": np.ones(3)})},
        "undeclared error": {"spectrum": spectrum(3, error=np.ones(3))},
        "phase a word": {"spectrum": spectrum(3, metadata={"phase": "early"})},
        "instrument a number": {"spectrum": spectrum(3, metadata={"instrument": 3.0})},
        "undeclared modality": {"radio": spectrum(3)},
        "nothing": {},
        "empty": {"photometry": curve(0), "spectrum": spectrum(0)},
        "row of NaNs": {"photometry": curve(3, value=NAN3), "spectrum": spectrum(3, value=NAN3)},
        "times of NaN": {"photometry": curve(3, positions={"time": NAN3})},
        "too large": {"photometry": curve(3, value=np.full(3, 1e300))},
    }
    good = {"photometry": curve(3)}
    labels: dict[str, Any] = {
        "label a list": {"class": ["Ia"]},
        "label undecodable": {"class": "\udcff"},
    }
    objects: dict[str, Any] = {"no object": "", "object a number": 7}
    return Sample(
        {"no id": "", "id undecodable": "\udcff"}.get(kind, "bad"),
        objects.get(kind, "bad-object"),
        sequences.get(kind, good),
        labels.get(kind, {}),
        split="holdout" if kind == "split" else None,
    )


REASONS = {
    "no id": "no sample id",
    "id undecodable": "no sample id, or one that is no text",
    "no object": "no object id",
    "object a number": "no object id, or one that is no text",
    "split": "split 'holdout' is none of train, validation, test",
    "label a list": "label class is ['Ia'], neither text nor a number",
    "label undecodable": "neither text nor a number",
    "error too short": "photometry: error has 2 entries, value has 3",
    "band too long": "photometry: band has 4 entries, value has 3",
    "time two-dimensional": "photometry: time is no one-dimensional array of numbers",
    "value of words": "photometry: value is no one-dimensional array of numbers",
    "value a list": "photometry: value is no one-dimensional array of numbers",
    "band of floats": "photometry: band is no one-dimensional array of integer codes",
    "band beyond": "photometry: band has a code outside its vocabulary of 3",
    "band negative": "photometry: band has a code outside its vocabulary of 3",
    "no time": "photometry: positions are none instead of time",
    "other extra": "photometry: extras are sky instead of truth",
    "undeclared error": "spectrum: has errors, but the modality declares none",
    "phase a word": "spectrum: metadata phase is 'early', which is not a number",
    "instrument a number": "spectrum: metadata instrument is 3.0, which is not a word",
    "undeclared modality": "modality 'radio' is not declared",
    "nothing": "no measurements",
    "empty": "no measurements",
    "row of NaNs": "no measurement is finite",
    "times of NaN": "no measurement is finite",
    "too large": "no measurement is finite",
}


@pytest.mark.parametrize("kind", REASONS)
def test_a_defect_is_quarantined_and_its_neighbours_kept(kind, tmp_path, make, make_survey):
    good = make.some_samples(4)
    records = [*good[:2], defective(make, kind), *good[2:]]
    counts = write_shards(make_survey(records), tmp_path / "data")
    assert (counts.read, counts.written, counts.quarantined) == (5, 4, 1)
    folder = ShardFolder.open(tmp_path / "data")
    assert folder.labels()["sample_id"].to_pylist() == [s.sample_id for s in good]
    (row,) = pq.read_table(tmp_path / "data" / "quarantine.parquet").to_pylist()
    assert REASONS[kind] in row["reason"]
    assert row["unit"] == records[2].sample_id.encode("utf-8", "backslashreplace").decode()


def test_some_bad_points_cost_the_points_not_the_sample(tmp_path, make, make_survey):
    value, time, error = np.arange(5.0), 59000 + np.arange(5.0), np.ones(5)
    value[1], time[2], error[3], error[4] = np.nan, np.inf, 0.0, -9.0
    curve = make.light_curve(5, value=value, positions={"time": time}, error=error)
    sample = Sample("a", "a", {"photometry": curve, "spectrum": make.spectrum(2, value=NAN3[:2])})
    # a spectrum without a finite value makes the spectrum absent, not the sample bad
    sample.sequences["spectrum"].positions["wavelength"] = np.ones(2)
    counts = write_shards(make_survey([sample]), tmp_path / "data")
    assert (counts.written, counts.quarantined, counts.dropped) == (1, 0, 4)
    folder = ShardFolder.open(tmp_path / "data")
    assert folder.manifest.num_dropped == 4
    (row,) = folder.read_row_group(0, 0).to_pylist()
    assert row["photometry.value"] == [0, 3, 4]
    np.testing.assert_equal(row["photometry.error"], [1, np.nan, np.nan])
    assert row["spectrum.value"] is None
    assert row["spectrum.phase"] is None


def reasons_of(records, out, make_survey, **sizes) -> list[tuple[str, str]]:
    write_shards(make_survey(records), out, **sizes)
    table = pq.read_table(out / "quarantine.parquet")
    return list(zip(table["unit"].to_pylist(), table["reason"].to_pylist(), strict=True))


@pytest.mark.parametrize("row_group_bytes", [1, 10**6])
def test_a_repeated_sample_id_is_refused_the_second_time(
    row_group_bytes, tmp_path, make, make_survey
):
    curve = {"photometry": make.light_curve(3)}
    # the first `b` is bad, so the second is the first good one and the third its repetition
    records = [
        Sample("a", "x", curve),
        Sample("b", "x", {"photometry": make.light_curve(3, value=NAN3)}),
        Sample("b", "x", curve),
        Sample("a", "y", curve),
        Sample("b", "x", curve),
    ]
    found = reasons_of(records, tmp_path / "d", make_survey, row_group_bytes=row_group_bytes)
    assert found == [
        ("b", "no measurement is finite"),
        ("a", "sample id 'a' was there before"),
        ("b", "sample id 'b' was there before"),
    ]


@pytest.mark.parametrize("row_group_bytes", [1, 10**6])
def test_an_object_stays_in_one_split(row_group_bytes, tmp_path, make, make_survey):
    curve = {"photometry": make.light_curve(3)}
    records = [
        Sample("a", "x", curve, split="test"),
        Sample("b", "x", curve, split="train"),
        Sample("c", "x", curve, split="test"),
    ]
    found = reasons_of(records, tmp_path / "d", make_survey, row_group_bytes=row_group_bytes)
    assert found == [("b", "object 'x' is in split test already, not train")]


def test_a_label_keeps_the_type_of_its_first_rows(tmp_path, make, make_survey):
    values: list[Any] = ["n/a", 0.1, None, 2, np.float32(0.5), float("nan"), 0.7, "unknown", True]
    records = [
        Sample(f"s{i}", f"o{i}", {"photometry": make.light_curve(3, i)}, {"redshift": value})
        for i, value in enumerate(values)
    ]
    # four samples a row group: the majority of the first ones decides, not the very first
    found = reasons_of(records, tmp_path / "d", make_survey, row_group_bytes=4 * 66)
    assert found == [
        ("s0", "label redshift is 'n/a', but a number in the other samples"),
        ("s7", "label redshift is 'unknown', but a number in the other samples"),
    ]
    folder = ShardFolder.open(tmp_path / "d")
    assert folder.manifest.labels == {"redshift": "float"}
    # s0 and s7 are gone; the float32 is stored as the number that it is
    expected = [0.1, None, 2.0, 0.5, None, 0.7, 1.0]
    assert folder.labels()["label.redshift"].to_pylist() == expected


def test_nothing_good_is_an_error_that_says_why_and_leaves_nothing(tmp_path, make, make_survey):
    records: list[Any] = [Quarantined(f"{i}.dat", "", "no header") for i in range(5)]
    records += [defective(make, "row of NaNs"), defective(make, "nothing")]
    with pytest.raises(DataError, match="none of 7 fake samples could be written: 5 x no header"):
        write_shards(make_survey(records), tmp_path / "data")
    with pytest.raises(DataError, match=r"no fake data found \(1 files ignored\)"):
        write_shards(make_survey([Ignored("LICENCE")]), tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_reasons_are_counted(tmp_path, make, make_survey):
    lost = [Quarantined(f"{i}.dat", "", "no header" if i % 3 else "binary") for i in range(9)]
    lost.append(Quarantined("caf\udce9.dat", "", "binary"))  # a file name that is no UTF-8
    write_shards(make_survey([*make.some_samples(2), *lost]), tmp_path / "data")
    folder = ShardFolder.open(tmp_path / "data")
    assert quarantine_reasons(folder) == {"no header": 6, "binary": 4}


@pytest.mark.parametrize("kind", ["error too short", "band beyond", "undeclared modality"])
def test_table_from_samples_names_the_sample(kind, make, make_survey):
    with pytest.raises(DataError, match="sample 'bad' cannot be used: "):
        table_from_samples([defective(make, kind)], make_survey([]).modalities)


@pytest.mark.parametrize(
    ("modalities", "words"),
    [
        ((), "no modality"),
        ((Modality("a.b", Axis("v", ""), ()),), "must not hold a dot"),
        ((Modality("a", Axis("v", ""), (Axis("", ""),)),), "must not be empty"),
        ((Modality("a", Axis("v", ""), (Axis("error", ""),)),), "'error' twice"),
        ((Modality("a", Axis("v", ""), (Axis("x", ""), Axis("x", ""))),), "'x' twice"),
        ((Modality("a", Axis("v", ""), ()), Modality("a", Axis("w", ""), ())), "'a' twice"),
    ],
)
def test_a_declaration_needs_names_for_columns(modalities, words):
    with pytest.raises(DataError, match=words):
        check_declaration(modalities)


@given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=12))
def test_id_set_is_a_set(batches):
    ids, reference = IdSet(), set()
    for batch in batches:
        expected = []
        for number in batch:
            expected.append(number not in reference)
            reference.add(number)
        assert ids.add(np.array(batch, np.uint64)).tolist() == expected
    assert len(ids) == len(reference)
    assert Counter(ids.all().tolist()) == Counter(reference)
    assert ids.contains(np.arange(45, dtype=np.uint64)).tolist() == [
        i in reference for i in range(45)
    ]
