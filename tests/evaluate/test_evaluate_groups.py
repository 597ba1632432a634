"""Groups of objects, the probe's confusion and the map of codes, against loops by hand."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import confusion_matrix

from daep_ray.evaluate.confusion import confusion
from daep_ray.evaluate.groups import about, by_group, group_rows, signal_to_noise
from daep_ray.evaluate.maps import FEWEST_OBJECTS, MOST_OBJECTS, map_rows, plane
from daep_ray.evaluate.probe import Coded, Told, probe, scores, told
from daep_ray.evaluate.reconstruction import SortedErrors
from daep_ray.shards.read import ShardFolder, read_rows
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.fitted import FittedRecipe


@pytest.fixture(autouse=True)
def small_map() -> None:
    """Not here: the map is looked at."""


def rows_of(folder: ShardFolder, number: int) -> pa.Table:
    return read_rows(folder, np.arange(number))


def test_signal_to_noise_is_a_median_of_ratios(folder: ShardFolder) -> None:
    rows = rows_of(folder, 20)
    found = signal_to_noise(rows, "photometry")
    magnitudes = signal_to_noise(rows, "photometry", is_magnitude=True)
    for row, ratio, of_magnitude in zip(rows.to_pylist(), found, magnitudes, strict=True):
        value, error = (np.array(row[f"photometry.{k}"]) for k in ("value", "error"))
        assert ratio == pytest.approx(np.median(np.abs(value) / error))
        assert of_magnitude == pytest.approx(np.median(1.0857362 / error))


def test_an_object_counts_once_in_a_group(folder: ShardFolder, fitted: FittedRecipe) -> None:
    rows = rows_of(folder, 200)
    order = np.argsort(np.array(rows["sample_id"].to_pylist(), dtype=str))
    told_of = {k: v[order] for k, v in about(fitted, rows, "photometry", "class").items()}
    ids, objects = (np.array(rows[c].to_pylist())[order] for c in ("sample_id", "object_id"))
    values = np.random.default_rng(0).gamma(2.0, size=len(ids))
    columns = {("mean_of_draws", "absolute_error"): values, ("from_x", "absolute_error"): values}
    ones = np.ones(len(ids))
    errors = SortedErrors(ids, objects, ones, ones, columns, about=told_of)
    found = list(group_rows(by_group(errors)))
    assert {r["estimate"] for r in found} == {"mean_of_draws"}
    classes = dict(zip(rows["sample_id"].to_pylist(), rows["label.class"].to_pylist(), strict=True))
    for row in (r for r in found if r["axis"] == "class"):
        by_object: dict[str, list[float]] = {}
        for sample, name, value in zip(ids, objects, values, strict=True):
            if classes[sample] == row["name"]:
                by_object.setdefault(name, []).append(value)
        means = [np.mean(v) for v in by_object.values()]
        assert row["count"] == len(means)
        assert row["value"] == pytest.approx(np.mean(means))
        assert row["sd"] == pytest.approx(np.std(means, ddof=1))
    assert [r["name"] for r in found if r["axis"] == "class"] == ["II", "Ia", "Ib"]
    bins = [r for r in found if r["axis"] == "signal_to_noise"]
    assert bins
    assert all(r["high"] is None or r["low"] < r["high"] for r in bins)


def random_codes(num_objects: int) -> Coded:
    rng = np.random.default_rng(1)
    ids = np.array([f"o{i:03d}" for i in range(num_objects)])
    classes = np.array(["a", "b", "c"])[rng.integers(0, 3, num_objects)]
    codes = rng.normal(size=(num_objects, 4)) + 1.2 * (classes[:, None] == ["a", "b", "c", "d"])
    return Coded(ids, ids, classes, codes)


def test_confusion_is_scikit_learn_s_and_agrees_with_the_accuracy() -> None:
    coded = random_codes(150)
    said = told(coded, 5)
    shares = {(r["truth"], r["said"]): r["value"] for r in confusion(said)}
    counts = {r["truth"]: r["count"] for r in confusion(said)}
    names = ["a", "b", "c"]
    truth, words = (np.concatenate([getattr(t, k) for t in said]) for k in ("truth", "said"))
    wanted = confusion_matrix(truth, words, labels=names, normalize="true")
    np.testing.assert_allclose([[shares[a, b] for b in names] for a in names], wanted)
    accuracy = sum(shares[a, a] * counts[a] for a in names) / sum(counts.values())
    found = {s.metric: s.value for s in probe(coded, 5)}
    assert found["probe_accuracy"] == pytest.approx(accuracy)
    assert scores(coded, said) == probe(coded, 5)


def test_confusion_weighs_objects_and_not_samples() -> None:
    truth, said = np.array(["a", "a", "a", "b"]), np.array(["a", "a", "b", "b"])
    told_of = Told(truth, said, "a", np.array([0.5, 0.5, 1.0, 1.0]))
    shares = {(r["truth"], r["said"]): r["value"] for r in confusion([told_of])}
    assert shares == {("a", "a"): 0.5, ("a", "b"): 0.5, ("b", "a"): 0.0, ("b", "b"): 1.0}
    assert list(confusion([])) == []


def test_a_class_that_is_said_and_never_scored_is_counted() -> None:
    """Samples of one object may differ in class: the shares of a class still add up to 1."""
    told_of = Told(np.array(["a", "a"]), np.array(["a", "b"]), "a", np.ones(2))
    assert [(r["said"], r["value"]) for r in confusion([told_of])] == [("a", 0.5), ("b", 0.5)]


def test_a_map_keeps_groups_apart_and_is_the_same_again() -> None:
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.normal(0, 1, (30, 6)), rng.normal(12, 1, (30, 6))])
    places = plane(codes)
    assert np.array_equal(places, plane(codes.copy()))
    assert np.array_equal(places, plane(codes * 3 + 7))  # codes have no unit
    assert np.abs(places).max() == pytest.approx(1, abs=1e-4)
    near = np.linalg.norm(places[:, None] - places[None], axis=2) + 9 * np.eye(60)
    assert (near.argmin(1) // 30 == np.arange(60) // 30).all()


@pytest.mark.parametrize("shape", [(0, 4), (FEWEST_OBJECTS - 1, 4)])
def test_few_codes_have_no_map(shape: tuple[int, int]) -> None:
    assert len(plane(np.random.default_rng(0).normal(size=shape))) == 0


def test_codes_that_are_all_the_same_have_no_map() -> None:
    assert len(plane(np.ones((40, 4)))) == 0
    assert len(plane(np.arange(40.0)[:, None])) == 40  # one float is enough


def test_a_point_per_object_of_both_splits(folder: ShardFolder, fitted: FittedRecipe) -> None:
    def encode(batch: PackedBatch) -> np.ndarray:
        value = batch.sequences["photometry"].value
        assert value is not None
        parts = value.split(batch.sequences["photometry"].lengths.tolist())
        return np.array([[float(p.mean()), float(p.std()), float(p.max())] for p in parts])

    where = (encode, folder, fitted, ("photometry",), "test", "class")
    found = list(map_rows(*where, MOST_OBJECTS, 2000))
    keys = [(r["split"], r["object_id"]) for r in found]
    assert keys == sorted(set(keys))
    counts = folder.manifest.counts
    for split in ("train", "test"):
        assert sum(k[0] == split for k in keys) == counts[split].num_objects
    assert None in {r["class"] for r in found}
    assert found == list(map_rows(*where, MOST_OBJECTS, 500))  # however it is packed
    few = list(map_rows(*where, 12, 2000))
    assert [sum(r["split"] == s for r in few) for s in ("train", "test")] == [12, 12]
