"""The probe: splits disjoint by object, numbers as scikit-learn gives them by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from daep_ray.evaluate.askable import askable
from daep_ray.evaluate.probe import FEWEST_OBJECTS, Coded, Score, probe, splits
from daep_ray.evaluate.run import evaluate_reference
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.statistics import fit_recipe

from .conftest import CLASSES, RECIPE, make_samples, settings, write_survey


def random_codes(
    seed: int, num_objects: int, num_classes: int = 3, most_samples: int = 4, shift: float = 1.0
) -> Coded:
    """Objects with 1 to `most_samples` samples; the class moves the first code."""
    rng = np.random.default_rng(seed)
    of_object = rng.integers(0, num_classes, num_objects)
    sizes = rng.integers(1, most_samples + 1, num_objects)
    objects = np.repeat(np.arange(num_objects), sizes)
    codes = rng.normal(size=(len(objects), 4)) * [1, 5, 0.01, 100]
    codes[:, 0] += shift * of_object[objects]
    names = np.array([f"o{n:04d}" for n in objects])
    ids = np.array([f"{n}/{i:05d}" for i, n in enumerate(names)])
    return Coded(ids, names, np.array(["a", "b", "c", "d"])[of_object[objects]], codes)


def value(scores: list[Score], metric: str) -> float:
    return next(s.value for s in scores if s.metric == metric)


@given(st.integers(0, 10**6), st.integers(30, 120))
def test_no_object_is_on_both_sides_and_none_is_lost(seed: int, num_objects: int) -> None:
    coded = random_codes(seed, num_objects, num_classes=2)
    for fit, scored in splits(coded, 3):
        assert not set(coded.object_ids[fit]) & set(coded.object_ids[scored])
        assert sorted([*fit, *scored]) == list(range(len(coded.codes)))


def test_splits_are_ten_different_ones_and_stratified() -> None:
    coded = random_codes(0, 200)
    drawn = [tuple(scored) for _, scored in splits(coded, 10)]
    assert len(set(drawn)) == 10
    _, first = np.unique(coded.object_ids, return_index=True)
    whole = np.unique(coded.classes[first], return_counts=True)[1]
    for _, scored in splits(coded, 10):
        _, first = np.unique(coded.object_ids[scored], return_index=True)
        counts = np.unique(coded.classes[scored][first], return_counts=True)[1]
        np.testing.assert_allclose(counts, 0.3 * whole, atol=1)


def test_scores_are_those_of_scikit_learn_by_hand() -> None:
    """One sample per object, so that weights are 1: the plain recipe, metrics from counts."""
    coded = random_codes(1, 150, most_samples=1)
    kinds = ("accuracy", "balanced", "majority", "majority f1", "f1")
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for fit, scored in splits(coded, 10):
        mean, sd = coded.codes[fit].mean(0), coded.codes[fit].std(0)
        model = LogisticRegression(max_iter=10_000)
        model.fit((coded.codes[fit] - mean) / sd, coded.classes[fit])
        said = model.predict((coded.codes[scored] - mean) / sd)
        truth = coded.classes[scored]
        found["accuracy"].append((said == truth).mean())
        found["balanced"].append(np.mean([(said == truth)[truth == c].mean() for c in "abc"]))
        names, counts = np.unique(coded.classes[fit], return_counts=True)
        share = (truth == names[counts.argmax()]).mean()
        found["majority"].append(share)
        found["majority f1"].append(2 * share / (1 + share) / 3)
        hits = [((said == c) & (truth == c)).sum() for c in "abc"]
        both = [(said == c).sum() + (truth == c).sum() for c in "abc"]
        found["f1"].append(np.mean([2 * h / b for h, b in zip(hits, both, strict=True)]))
    scores = probe(coded, 10)
    for name, metric in (
        ("accuracy", "probe_accuracy"),
        ("balanced", "probe_balanced_accuracy"),
        ("majority", "probe_majority_accuracy"),
        ("majority f1", "probe_majority_macro_f1"),
        ("f1", "probe_macro_f1"),
    ):
        assert value(scores, metric) == pytest.approx(np.mean(found[name]), abs=1e-12)
    accuracy = next(s for s in scores if s.metric == "probe_accuracy")
    assert accuracy.sd == pytest.approx(np.std(found["accuracy"], ddof=1))
    assert accuracy.count == 10


def test_the_scale_of_a_code_does_not_matter() -> None:
    coded = random_codes(2, 150)
    other = Coded(coded.sample_ids, coded.object_ids, coded.classes, coded.codes * 1e3 + 7.0)
    for a, b in zip(probe(coded, 5), probe(other, 5), strict=True):
        assert a.value == pytest.approx(b.value, abs=1e-9)


def test_codes_that_know_the_class_are_perfect_and_noise_is_the_majority() -> None:
    clear = probe(random_codes(3, 200, shift=50.0), 10)
    assert value(clear, "probe_accuracy") == 1.0
    noise = probe(random_codes(3, 200, shift=0.0), 10)
    assert abs(value(noise, "probe_accuracy") - 1 / 3) < 0.1
    assert abs(value(noise, "probe_balanced_accuracy") - 1 / 3) < 0.1


def test_an_object_with_many_samples_weighs_as_much_as_any() -> None:
    """Copying every sample of one object changes neither fit nor score."""
    coded = random_codes(4, 100, most_samples=1)
    again = np.concatenate([np.arange(100), np.full(30, 17)])
    more = Coded(
        coded.sample_ids[again], coded.object_ids[again], coded.classes[again], coded.codes[again]
    )
    for a, b in zip(probe(coded, 5), probe(more, 5), strict=True):
        assert a.value == pytest.approx(b.value, abs=1e-6), a.metric


def test_rare_classes_are_left_out_and_counted() -> None:
    coded = random_codes(5, 60, num_classes=2)
    names = np.unique(coded.object_ids)
    rare = np.isin(coded.object_ids, names[: FEWEST_OBJECTS - 1])
    classes = np.where(rare, "rare", coded.classes)
    scores = probe(Coded(coded.sample_ids, coded.object_ids, classes, coded.codes), 4)
    assert value(scores, "probe_num_classes") == 2
    assert value(scores, "probe_num_objects") == 60 - (FEWEST_OBJECTS - 1)


def test_one_class_cannot_be_probed() -> None:
    coded = random_codes(6, 50, num_classes=1)
    assert probe(coded, 4) == []


def test_a_large_split_is_probed_alone_and_a_small_one_with_the_others(
    folder: ShardFolder, fitted: FittedRecipe, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def asked(folder: ShardFolder, split: str) -> tuple[str, ...]:
        found = askable(folder, fitted, ("photometry",), split, ["class", "no_such_label"])
        assert set(found) == {"class"}
        return found["class"].splits

    assert asked(folder, "test") == ("train", "validation", "test")
    assert asked(folder, "validation") == ("train", "validation")
    assert asked(folder, "train") == ("train",)
    large = write_survey(tmp_path_factory.mktemp("large") / "data", make_samples(1000))
    fitted = fit_recipe(large, RECIPE)
    assert asked(large, "test") == ("test",)
    metrics = evaluate_reference(
        "pca", 4, large, fitted, ("photometry",), settings(num_probe_splits=4)
    )["metrics"]
    frame = metrics.to_pandas().set_index("metric")
    assert frame.loc["probe_accuracy", "split"] == "test"
    assert frame.loc["probe_num_classes", "value"] == len(CLASSES)
    # the width of the bump is the class: PCA sees it
    assert (
        frame.loc["probe_accuracy", "value"] > 0.9 > frame.loc["probe_majority_accuracy", "value"]
    )
