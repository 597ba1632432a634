"""Samples -> shards -> samples: nothing changes but the types on disk; laws 12, 13 and 16."""

import copy
import pickle
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daep_ray.errors import DataError
from daep_ray.sample import Ignored, Quarantined, Sample
from daep_ray.shards.read import ShardFolder, read_rows
from daep_ray.shards.schema import arrow_schema, columns_of, samples_from_table, table_from_samples
from daep_ray.shards.split import SPLITS, split_of
from daep_ray.shards.validate import validate
from daep_ray.shards.write import write_shards


def read_all(folder: ShardFolder) -> list[Sample]:
    tables = [folder.read_row_group(s, g) for s, g in folder.row_groups()]
    modalities = folder.manifest.modalities
    return [sample for table in tables for sample in samples_from_table(table, modalities)]


def stored(sequence, modality):
    """Reference: point by point, what of a sequence must come back (None: the modality is absent).

    A point lives if its value and positions are finite as stored; an error lives if positive.
    """
    kept = []
    for i in range(len(sequence)):
        with np.errstate(over="ignore"):
            value = np.float32(sequence.value[i])
            places = [
                (np.float64 if a.is_time else np.float32)(sequence.positions[a.name][i])
                for a in modality.positions
            ]
        if np.isfinite(value) and all(np.isfinite(p) for p in places):
            kept.append((i, value, places))
    if not kept:
        return None
    index = [i for i, _, _ in kept]
    errors = None
    if sequence.error is not None:
        with np.errstate(over="ignore"):
            errors = [np.float32(sequence.error[i]) for i in index]
        errors = [e if np.isfinite(e) and e > 0 else np.float32(np.nan) for e in errors]
        errors = None if all(np.isnan(e) for e in errors) else errors
    return {
        "value": [v for _, v, _ in kept],
        "error": errors,
        "positions": [[p[k] for _, _, p in kept] for k in range(len(modality.positions))],
        "categories": [sequence.categories[c.name][index].tolist() for c in modality.categories],
        "extras": [
            list(sequence.extras[a.name][index].astype(np.float32)) for a in modality.extras
        ],
        "metadata": {m.name: sequence.metadata.get(m.name) for m in modality.metadata},
    }


def found(sequence, modality):
    return {
        "value": list(sequence.value),
        "error": None if sequence.error is None else list(sequence.error),
        "positions": [list(sequence.positions[a.name]) for a in modality.positions],
        "categories": [sequence.categories[c.name].tolist() for c in modality.categories],
        "extras": [list(sequence.extras[a.name]) for a in modality.extras],
        "metadata": sequence.metadata,
    }


NUMBERS = st.one_of(
    st.floats(-1e6, 1e6, width=32), st.sampled_from([np.nan, np.inf, 1e300, 0.0, -0.0])
)


@st.composite
def surveys(draw, make):
    """Up to 12 samples with any numbers, lengths 0 to 5, absent modalities, repeated ids."""
    samples = []
    for i in range(draw(st.integers(1, 12))):
        sequences = {}
        if draw(st.booleans()):
            n = draw(st.integers(0, 5))
            numbers = st.lists(NUMBERS, min_size=n, max_size=n)
            sequences["photometry"] = make.light_curve(
                n,
                value=np.array(draw(numbers), np.float64),
                error=np.array(draw(numbers), np.float64) if draw(st.booleans()) else None,
                positions={"time": 59000 + np.array(draw(numbers), np.float64)},
            )
        if draw(st.booleans()):
            phase = draw(st.one_of(st.none(), st.floats(-20, 20)))
            word = draw(st.sampled_from([None, "red", "blue", "unknown"]))
            metadata = {"phase": phase, "instrument": word}
            sequences["spectrum"] = make.spectrum(draw(st.integers(0, 5)), i, metadata=metadata)
        label = draw(st.sampled_from([None, "Ia", "II"]))
        name = draw(st.sampled_from([f"s{i}", f"s{i}", f"s{i}", "twin"]))
        samples.append(Sample(name, f"o{i // 2}", sequences, {"class": label, "z": float(i)}))
    return samples


@settings(max_examples=60, deadline=None)
@given(data=st.data(), row_group_bytes=st.sampled_from([1, 60, 200, 10**6]))
def test_what_goes_in_comes_out_and_nothing_is_lost(data, row_group_bytes, make, make_survey):
    samples = data.draw(surveys(make))
    before = copy.deepcopy(samples)
    expected, taken = {}, set()
    survey = make_survey([])
    for sample in samples:
        present = [m for m in survey.modalities if m.name in sample.sequences]
        kept = {m.name: stored(sample.sequences[m.name], m) for m in present}
        kept = {name: s for name, s in kept.items() if s is not None}
        if kept and sample.sample_id not in taken:
            taken.add(sample.sample_id)
            expected[sample.sample_id] = (sample, kept)
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "data"
        if not expected:
            with pytest.raises(DataError, match=f"none of {len(samples)} fake samples"):
                write_shards(make_survey(samples), out)
            return
        counts = write_shards(make_survey(samples), out, row_group_bytes=row_group_bytes)
        assert (counts.read, counts.written) == (len(samples), len(expected))
        assert counts.read == counts.written + counts.quarantined  # law 13
        assert validate(out) == []
        read = read_all(ShardFolder.open(out))
    assert [s.sample_id for s in read] == list(expected)
    for sample in read:
        original, kept = expected[sample.sample_id]
        assert (sample.object_id, sample.split) == (
            original.object_id,
            split_of(original.object_id),
        )
        assert {k: v for k, v in sample.labels.items() if v is not None} == {
            k: v for k, v in original.labels.items() if v is not None
        }
        assert sample.sequences.keys() == kept.keys()
        for modality in survey.modalities:
            if modality.name in kept:
                got = found(sample.sequences[modality.name], modality)
                np.testing.assert_equal(got, kept[modality.name])
    for sample, copied in zip(samples, before, strict=True):  # law 12
        np.testing.assert_equal(asdict(sample), asdict(copied))


def test_types_on_disk(folder):
    table = ShardFolder.open(folder).read_row_group(0, 0)
    types = {field.name: str(field.type) for field in table.schema}
    assert types == {
        "sample_id": "string",
        "object_id": "string",
        "split": "string",
        "label.class": "string",
        "label.redshift": "double",
        "spectrum.value": "list<element: float>",
        "spectrum.error": "list<element: float>",
        "spectrum.wavelength": "list<element: float>",
        "spectrum.phase": "double",
        "spectrum.instrument": "int16",
        "photometry.value": "list<element: float>",
        "photometry.error": "list<element: float>",
        "photometry.time": "list<element: double>",
        "photometry.band": "list<element: int16>",
        "photometry.truth": "list<element: float>",
    }
    # an absent modality is null in every column; a survey without errors has null errors
    is_absent = [i % 5 == 0 for i in range(len(table))]
    for name in ("value", "wavelength", "phase", "instrument"):
        assert table[f"spectrum.{name}"].is_null().to_pylist() == is_absent
    assert table["spectrum.error"].null_count == len(table)


def test_times_keep_their_seconds(tmp_path, make, make_survey):
    time = np.array([59000.123456789, 60000.987654321])
    sequence = make.light_curve(2, positions={"time": time})
    write_shards(make_survey([Sample("a", "a", {"photometry": sequence})]), tmp_path / "data")
    (sample,) = read_all(ShardFolder.open(tmp_path / "data"))
    assert sample.sequences["photometry"].positions["time"].tolist() == time.tolist()


def test_the_hash_names_the_data_not_the_place(tmp_path, make, make_survey):
    samples = make.some_samples(40)
    for name in ("a", "b"):
        source = {"format": "fake", "place": name}
        write_shards(make_survey(samples, source=source), tmp_path / name)
    write_shards(make_survey(samples[:-1]), tmp_path / "fewer")
    a, b, fewer = (ShardFolder.open(tmp_path / n).manifest for n in ("a", "b", "fewer"))
    assert a.hash == b.hash
    assert a.source != b.source
    assert a.hash != fewer.hash


def test_lengths_say_where_every_sample_is(folder, make):
    data = ShardFolder.open(folder)
    lengths = data.lengths().to_pylist()
    assert len(data.manifest.shards) > 1
    assert max(s.row_groups for s in data.manifest.shards) > 1
    assert len(lengths) == data.manifest.num_written == 60
    samples = {s.sample_id: s for s in make.some_samples(60)}
    for row in lengths:
        table = data.read_row_group(
            row["shard"], row["row_group"], ["sample_id", "photometry.value"]
        )
        assert table["sample_id"][row["row"]].as_py() == row["sample_id"]
        assert len(table["photometry.value"][row["row"]]) == row["photometry.length"]
        sequences = samples[row["sample_id"]].sequences
        assert row["spectrum.length"] == len(sequences.get("spectrum", ()))
        assert (row["spectrum.hash"] == 0) == ("spectrum" not in sequences)
    # the light curve is shared by an object's two samples and by no one else
    by_object = {(row["object_id"], row["photometry.hash"]) for row in lengths}
    assert len(by_object) == len({h for _, h in by_object}) == 30
    num_spectra = sum("spectrum" in s.sequences for s in samples.values())
    assert len({row["spectrum.hash"] for row in lengths} - {0}) == num_spectra == 48


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_read_rows_in_any_order(data, tmp_path_factory, make, make_survey):
    place = tmp_path_factory.getbasetemp() / "rows"
    if not place.exists():
        write_shards(
            make_survey(make.some_samples(60)), place, row_group_bytes=2000, shard_bytes=6000
        )
    folder = ShardFolder.open(place)
    ids = folder.lengths()["sample_id"].to_pylist()
    rows = data.draw(st.lists(st.integers(0, 59), max_size=20))
    table = read_rows(folder, np.array(rows, np.int64), ["photometry.value", "sample_id"])
    assert table.column_names == ["photometry.value", "sample_id"]
    assert table["sample_id"].to_pylist() == [ids[row] for row in rows]
    samples = {s.sample_id: s for s in make.some_samples(60)}
    for row in table.to_pylist():
        truth = samples[row["sample_id"]].sequences["photometry"].value
        np.testing.assert_array_equal(np.float32(row["photometry.value"]), np.float32(truth))


@settings(max_examples=25, deadline=None)
@given(
    row_group_bytes=st.integers(1, 10**5),
    shard_bytes=st.integers(1, 10**6),
    order=st.permutations(range(30)),
    num=st.integers(1, 30),
)
def test_splits_are_disjoint_by_object_and_stable(
    row_group_bytes, shard_bytes, order, num, make, make_survey
):
    """Law 16: order, sharding and additions change no object's split."""
    samples = make.some_samples(30)
    chosen = [samples[i] for i in order[:num]]
    with tempfile.TemporaryDirectory() as place:
        sizes = {"row_group_bytes": row_group_bytes, "shard_bytes": shard_bytes}
        write_shards(make_survey(chosen), Path(place) / "data", **sizes)
        folder = ShardFolder.open(Path(place) / "data")
        labels = folder.labels().to_pylist()
        counts = folder.manifest.counts
    splits = {row["object_id"]: row["split"] for row in labels}
    assert {(row["object_id"], row["split"]) for row in labels} == set(splits.items())
    assert splits == {sample.object_id: split_of(sample.object_id) for sample in chosen}
    for split in SPLITS:
        inside = [row for row in labels if row["split"] == split]
        assert counts[split].num_samples == len(inside)
        assert counts[split].num_objects == len({row["object_id"] for row in inside})
        assert counts[split].classes == Counter(row["label.class"] for row in inside)


def test_a_survey_may_give_its_own_splits(tmp_path, make, make_survey):
    samples = [
        Sample(f"s{i}", f"o{i}", {"photometry": make.light_curve(3, i)}, split=SPLITS[i % 3])
        for i in range(9)
    ]
    write_shards(make_survey(samples), tmp_path / "data")
    folder = ShardFolder.open(tmp_path / "data")
    assert folder.labels()["split"].to_pylist() == list(SPLITS) * 3
    assert not folder.manifest.is_split_by_hash
    assert validate(tmp_path / "data") == []


def test_a_label_that_comes_late_is_null_before(tmp_path, make, make_survey):
    samples = [
        Sample(
            f"s{i}", f"o{i}", {"photometry": make.light_curve(3, i)}, {"late": 1.0} if i > 6 else {}
        )
        for i in range(10)
    ]
    write_shards(make_survey(samples), tmp_path / "data", row_group_bytes=200)
    folder = ShardFolder.open(tmp_path / "data")
    assert folder.manifest.labels == {"late": "float"}
    assert folder.labels()["label.late"].to_pylist() == [None] * 7 + [1.0] * 3
    assert read_rows(folder, np.array([9, 0]))["label.late"].to_pylist() == [1.0, None]
    assert validate(tmp_path / "data") == []


def test_ignored_and_quarantined_records_are_kept_apart(tmp_path, make, make_survey):
    records = [Ignored("LICENCE"), *make.some_samples(3), Quarantined("x.dat", "x", "no header")]
    counts = write_shards(make_survey(records), tmp_path / "data")
    assert (counts.read, counts.written, counts.quarantined, counts.ignored) == (4, 3, 1, 1)
    rows = pq.read_table(tmp_path / "data" / "quarantine.parquet").to_pylist()
    assert rows == [{"file": "x.dat", "unit": "x", "reason": "no header"}]
    assert pq.read_table(tmp_path / "data" / "ignored.parquet")["file"].to_pylist() == ["LICENCE"]


def test_table_from_samples_is_what_a_shard_holds(folder, make, make_survey):
    data = ShardFolder.open(folder)
    first = data.read_row_group(0, 0)
    samples = make.some_samples(first.num_rows)
    table = table_from_samples(samples, data.manifest.modalities, data.manifest.labels)
    assert table.equals(first)
    assert table.schema == arrow_schema(data.manifest.modalities, data.manifest.labels)
    assert columns_of(data.modalities["spectrum"]) == [
        n for n in table.column_names if n.startswith("spectrum.")
    ]


def test_folder_can_be_sent_to_another_process(folder):
    data = ShardFolder.open(folder)
    data.read_row_group(0, 0)
    sent = pickle.loads(pickle.dumps(data))
    assert sent.manifest == data.manifest
    assert sent.read_row_group(1, 0).equals(data.read_row_group(1, 0))


def test_unknown_column_is_named(folder):
    with pytest.raises(DataError, match=r"no column 'radial_velocity\.value'"):
        ShardFolder.open(folder).read_row_group(0, 0, ["radial_velocity.value"])
