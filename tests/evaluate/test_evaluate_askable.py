"""Who is asked for a label: those that have it, where many have none; against loops by hand."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from daep_ray.evaluate import askable as module
from daep_ray.evaluate.askable import askable, labelled_rows
from daep_ray.evaluate.codes import encoded_samples
from daep_ray.evaluate.labelled import labelled
from daep_ray.evaluate.probes import probes
from daep_ray.evaluate.run import evaluate_reference
from daep_ray.sample import Sample
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.fair import fair_keys
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.statistics import fit_recipe

from .conftest import CLASSES, RECIPE, light_curve, settings, write_survey

ONLY = ("photometry",)
MOST = 60  # samples of a split, here


def sparse_samples(num_objects: int) -> list[Sample]:
    """Of 20 objects one has a class, another one a number, and a third one both; one in four has
    two light curves. What an object is does not depend on how many others there are."""
    samples = []
    for number in range(num_objects):
        rng = np.random.default_rng(number)
        kind = number // 20 % 2
        word = CLASSES[kind] if number % 20 in (3, 11) else None
        value = float(rng.normal()) if number % 20 in (7, 11) else None
        for turn in range(2 if number % 4 == 3 else 1):
            curve = light_curve(rng, 3 * kind, 12)
            labels = {"class": word, "stretch": value}
            name = f"o{number}"
            samples.append(Sample(f"{name}/{turn}", name, {"photometry": curve}, labels))
    return samples


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> ShardFolder:
    return write_survey(tmp_path_factory.mktemp("sparse") / "data", sparse_samples(1200))


@pytest.fixture(scope="module")
def sparse_fitted(sparse: ShardFolder) -> FittedRecipe:
    return fit_recipe(sparse, RECIPE)


@pytest.fixture
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SAMPLES", MOST)


def with_label(folder: ShardFolder, label: str) -> dict[str, set[str]]:
    """Objects by split."""
    found: dict[str, set[str]] = {}
    for row in folder.labels().to_pylist():
        if row[f"label.{label}"] is not None:
            found.setdefault(row["split"], set()).add(row["object_id"])
    return found


@pytest.mark.usefixtures("few_at_a_time")
def test_where_few_of_many_have_a_class_all_of_them_are_probed(
    sparse: ShardFolder, sparse_fitted: FittedRecipe
) -> None:
    """Of any 60 samples about six have one."""
    known = with_label(sparse, "class")
    num_objects = sum(min(len(objects), MOST) for objects in known.values())
    assert sum(map(len, known.values())) == 120
    assert num_objects > 70
    found = evaluate_reference(
        "pca", 4, sparse, sparse_fitted, ONLY, settings(num_probe_splits=3, max_objects=20)
    )["metrics"]
    frame = found.to_pandas().set_index(["estimate", "metric"])["value"]
    assert frame["probe", "probe_num_objects"] == num_objects
    assert frame["probe", "probe_accuracy"] > 0.9 > frame["probe", "probe_majority_accuracy"]
    numbered = with_label(sparse, "stretch")
    told = frame["probe_stretch", "probe_num_objects"]
    assert told == sum(min(len(objects), MOST) for objects in numbered.values())


@pytest.mark.parametrize("label", ["class", "stretch"])
@pytest.mark.parametrize("most", [7, 60, 10_000])
def test_the_choice_is_fair_among_those_that_have_the_label(
    sparse: ShardFolder, sparse_fitted: FittedRecipe, label: str, most: int
) -> None:
    """Against a loop: the objects in the order of their keys, a sample of each, then a second."""
    splits = ("train", "validation", "test")
    found = labelled_rows(sparse, sparse_fitted, ONLY, splits, [label, "class"], most)
    rows = sparse.labels().to_pylist()
    objects, samples = fair_keys(sparse.labels().select(["object_id", "sample_id"]), 0)
    for split in splits:
        have = [
            i for i, r in enumerate(rows) if r["split"] == split and r[f"label.{label}"] is not None
        ]
        order = []
        for i in have:
            turn = sum(objects[j] == objects[i] and samples[j] < samples[i] for j in have)
            order.append((turn, objects[i], i))
        assert found[label, split].tolist() == sorted(i for _, _, i in sorted(order)[:most])


@pytest.mark.usefixtures("few_at_a_time")
def test_the_choice_does_not_hang_on_those_without_the_label(
    sparse: ShardFolder, sparse_fitted: FittedRecipe, tmp_path: Path
) -> None:
    kept = [s for s in sparse_samples(1200) if any(v is not None for v in s.labels.values())]
    alone = write_survey(tmp_path / "data", kept)
    fitted = fit_recipe(alone, RECIPE)
    for split in ("train", "test"):
        many = askable(sparse, sparse_fitted, ONLY, split, ["class", "stretch"])
        few = askable(alone, fitted, ONLY, split, ["class", "stretch"])
        assert set(many) == set(few) == {"class", "stretch"}
        for label in many:
            assert many[label].sample_ids.tolist() == few[label].sample_ids.tolist()
            assert many[label].labels.tolist() == few[label].labels.tolist()
            assert many[label].splits == few[label].splits


@pytest.mark.usefixtures("few_at_a_time")
def test_a_sample_is_encoded_once_whatever_it_is_asked_for(
    sparse: ShardFolder, sparse_fitted: FittedRecipe
) -> None:
    seen: list[str] = []

    def encode(batch: PackedBatch) -> np.ndarray:
        seen.extend(batch.sample_ids)
        return np.random.default_rng(0).normal(size=(batch.num_samples, 2))

    asked = settings(num_probe_splits=2)
    probes(encode, sparse, sparse_fitted, ONLY, asked, "class", 300)
    asks = askable(sparse, sparse_fitted, ONLY, "test", ["class", "stretch"])
    wanted = {name for ask in asks.values() for name in ask.sample_ids.tolist()}
    assert len(wanted) < sum(len(ask.sample_ids) for ask in asks.values())  # some have both
    assert sorted(seen) == sorted(wanted)


def test_every_sample_gets_its_own_code_and_label(
    sparse: ShardFolder, sparse_fitted: FittedRecipe
) -> None:
    """A code that is the sample's own number."""
    rows = sparse.labels().to_pylist()
    number = {r["sample_id"]: i for i, r in enumerate(rows)}
    asks = askable(sparse, sparse_fitted, ONLY, "train", ["class", "stretch", "nobody"])
    assert set(asks) == {"class", "stretch"}
    both = np.union1d(asks["class"].rows["train"], asks["stretch"].rows["train"])
    encoded = encoded_samples(
        lambda batch: np.array([[number[s]] for s in batch.sample_ids], float),
        *(sparse, sparse_fitted, ONLY, {"train": both}, 200),
    )
    classes = encoded.of_classes(asks["class"])
    numbers, values = encoded.of_numbers(asks["stretch"])
    for coded, told, label in (
        (classes, classes.classes, "class"),
        (numbers, values, "stretch"),
    ):
        own = [rows[int(code)] for code in coded.codes[:, 0]]
        assert coded.sample_ids.tolist() == sorted(r["sample_id"] for r in own)
        assert coded.sample_ids.tolist() == [r["sample_id"] for r in own]
        assert coded.object_ids.tolist() == [r["object_id"] for r in own]
        assert told.tolist() == [r[f"label.{label}"] for r in own]


def test_a_number_that_is_not_finite_is_no_label() -> None:
    column = pa.chunked_array([[1.0, None, float("nan")], [float("inf"), -2.0]])
    assert module._is_known(column).tolist() == [True, False, False, False, True]


def test_a_classifier_learns_from_objects_with_a_class_alone(
    sparse: ShardFolder, sparse_fitted: FittedRecipe
) -> None:
    some = labelled(sparse, sparse_fitted, "photometry", "train", num_objects=30)
    assert len(some) == 30
    everyone = labelled(sparse, sparse_fitted, "photometry", "train")
    assert len(everyone) == len(with_label(sparse, "class")["train"])
    assert set(some.sample_ids) <= {*everyone.sample_ids} | {
        name.replace("/0", "/1") for name in everyone.sample_ids
    }
