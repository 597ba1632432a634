"""Conformal intervals: they keep their promise where points of an object are alike."""

from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from daep_ray.evaluate.calibration import LEVELS, judge
from daep_ray.evaluate.conformal import Residuals
from daep_ray.evaluate.intervals import IntervalSums, normal, symmetric
from daep_ray.evaluate.run import evaluate, evaluate_reference
from daep_ray.evaluate.tables import Tables
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import FlatSequence, offsets_of

from .conftest import Oracle, trained
from .conftest import settings as evaluation


def flat_of(values: list[np.ndarray]) -> FlatSequence:
    offsets = offsets_of(np.array([len(v) for v in values]))
    num = int(offsets[-1])
    return FlatSequence(
        value=np.concatenate(values),
        error=None,
        position=np.linspace(0, 1, num)[:, None],
        category=np.zeros((num, 0), np.int64),
        offsets=offsets,
        kept=np.arange(num),
        raw_start=offsets[:-1],
        metadata={},
        reference=np.zeros((len(values), 1)),
        one_plus_redshift=np.ones((len(values), 1)),
        log_scale=np.zeros(len(values)),
    )


def residuals_of(parts: dict[tuple[str, str], np.ndarray], batch: int = 10**6) -> Residuals:
    """Of residuals by (sample, object), told in batches of so many samples."""
    found, keys = Residuals(), list(parts)
    for start in range(0, len(keys), batch):
        ids = keys[start : start + batch]
        flat = flat_of([parts[key] for key in ids])
        found.add(ids, flat, np.zeros(len(flat.value)))
    return found


def group(rng: np.random.Generator) -> np.ndarray:
    """An object's residuals: a scale of its own, and the objects that are easy are long."""
    scale = np.exp(rng.normal(0, 0.8))
    return rng.normal(0, scale, 3 + int(200 / scale**2) % 400)


def test_the_promise_holds_over_objects_and_the_pooled_one_does_not() -> None:
    """Many calibration sets of 60 objects: mean coverage of a new object's points."""
    rng = np.random.default_rng(0)
    fresh = [np.abs(group(rng)) for _ in range(2000)]
    levels = (50, 90)
    ours: dict[int, list[float]] = {p: [] for p in levels}
    naive: dict[int, list[float]] = {p: [] for p in levels}
    for _ in range(100):
        parts = {(f"s{i}", f"o{i}"): group(rng) for i in range(60)}
        halves = residuals_of(parts).halves(levels)
        pooled = np.abs(np.concatenate(list(parts.values())))
        some = rng.choice(len(fresh), 100, replace=False)
        for level in levels:
            plain = np.quantile(pooled, min(1, level / 100 * (1 + 1 / len(pooled))))
            ours[level].append(np.mean([(fresh[i] <= halves[level]).mean() for i in some]))
            naive[level].append(np.mean([(fresh[i] <= plain).mean() for i in some]))
    for level in levels:
        share, error = np.mean(ours[level]), np.std(ours[level]) / 10
        assert level / 100 - 3 * error < share < level / 100 + 2 / 61 + 3 * error
        assert np.mean(naive[level]) < level / 100 - 0.05


def test_points_that_are_all_alike_count_once() -> None:
    """Ten objects whose points are one number each: no interval promises 95 %, nor does the
    pooled quantile keep it, however many points there are."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(300):
        parts = {(f"s{i}", f"o{i}"): np.full(100, rng.normal()) for i in range(10)}
        halves = residuals_of(parts).halves()
        assert set(halves) == {50, 68, 90}
        pooled = np.quantile(np.abs(np.concatenate(list(parts.values()))), 0.95)
        covered.append(abs(rng.normal()) <= pooled)
    assert np.mean(covered) < 0.93


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from(LEVELS))
def test_the_half_width_is_the_least_that_a_loop_finds(seed: int, num: int, level: int) -> None:
    """Objects of one to three samples; packed one by one or together."""
    rng = np.random.default_rng(seed)
    parts = {
        (f"o{i}/{j}", f"o{i}"): rng.normal(size=rng.integers(1, 5))
        for i in rng.permutation(num).tolist()
        for j in range(int(rng.integers(1, 4)))
    }

    def promised(half: float) -> float:
        shares: dict[str, list[float]] = {}
        for (_, owner), values in parts.items():
            shares.setdefault(owner, []).append(float((np.abs(values) <= half).mean()))
        return float(sum(np.mean(s) for s in shares.values()) / (num + 1))

    # the promise grows with the width, so the first that keeps it may be searched by halving
    candidates = sorted(np.abs(np.concatenate(list(parts.values()))))
    place = bisect_left(candidates, level / 100 - 1e-9, key=promised)
    expected = candidates[place] if place < len(candidates) else None
    together, apart = residuals_of(parts), residuals_of(parts, batch=1)
    assert together.halves((level,)).get(level) == expected
    assert apart.halves((level,)) == together.halves((level,))


def test_hidden_points_and_absent_sources_alone_count() -> None:
    flat = flat_of([np.array([1.0, 9.0]), np.array([2.0]), np.array([3.0])])
    source = flat_of([np.zeros(1), np.zeros(0), np.zeros(2)])
    found = Residuals()
    hidden = np.array([True, False, True, True])
    found.add([("a", "a"), ("b", "b"), ("c", "c")], flat, np.zeros(4), hidden, source)
    assert found.object_ids == ["a", "c"]
    assert [v.tolist() for v in found.values] == [[1.0], [3.0]]


def test_a_normal_distribution_is_judged_as_many_of_its_draws() -> None:
    rng = np.random.default_rng(2)
    mean, sd, truth = rng.normal(size=5), rng.uniform(0.5, 2, 5), rng.normal(size=5)
    exact = normal(mean, sd, truth)
    drawn = judge(rng.normal(mean, sd, (40_000, 5)), truth).by_point()
    for metric, values in exact.items():
        # the sd of an empirical quantile's width is below 0.02 of these
        np.testing.assert_allclose(values, drawn[metric], atol=0.06, err_msg=metric)


def test_sums_are_those_of_a_loop_whatever_the_batches() -> None:
    rng = np.random.default_rng(3)
    values = [rng.normal(size=n) for n in (30, 50, 41)]
    edges, widths = np.array([0.0, 0.3, 1.0]), {50: 0.7, 90: 1.6}
    whole, halves = IntervalSums(edges), [IntervalSums(edges), IntervalSums(edges)]
    flat = flat_of(values)
    by_point = symmetric(np.zeros(len(flat.value)), widths, flat.value)
    whole.add(flat, by_point)
    cut = np.arange(len(flat.value)) < 47
    for part, some in zip(halves, (cut, ~cut), strict=True):
        part.add(flat, by_point, some)
    halves[0].join(halves[1].arrays())
    joined = halves[0].arrays()
    assert all((joined[name] == values).all() for name, values in whole.arrays().items())
    inside = flat.position[:, 0] < 0.3
    expected = np.mean(np.abs(flat.value[inside]) <= 0.7)
    assert whole.sums["coverage_50"][0] * 2.0**-20 / whole.counts[0] == pytest.approx(expected)
    assert {r["metric"]: r["value"] for r in whole.summary()} == {
        "coverage_50_target": 0.5,
        "coverage_90_target": 0.9,
    }


def numbers(tables: Tables, estimate: str) -> dict[str, float]:
    rows = tables["metrics"].to_pylist()
    return {r["metric"]: r["value"] for r in rows if r["estimate"] == estimate}


@pytest.fixture(scope="module")
def oracle_tables(folder: ShardFolder, fitted: FittedRecipe) -> Tables:
    return evaluate(trained(Oracle(0.1), fitted), folder, evaluation(probe_label=None))


def test_any_model_has_intervals_that_cover_what_they_promise(
    folder: ShardFolder, fitted: FittedRecipe, oracle_tables: Tables
) -> None:
    """The training mean knows nothing of how wrong it is; its intervals are the widest."""
    where = (folder, fitted, ("photometry",), evaluation(probe_label=None))
    mean = numbers(evaluate_reference("mean", None, *where), "conformal")
    pca = numbers(evaluate_reference("pca", 4, *where), "conformal")
    oracle = numbers(oracle_tables, "conformal")
    for found in (mean, pca, oracle):
        for level in (50, 90):
            # some 30 objects of either split: the sd of the coverage is below 0.06
            assert found[f"coverage_{level}"] == pytest.approx(level / 100, abs=0.12)
            assert found[f"coverage_{level}_target"] == level / 100
    assert mean["width_90"] > pca["width_90"] > oracle["width_90"]
    # the mean of four draws of sd 0.1 is off by 0.05; so few objects add one to their number
    num_objects = folder.manifest.counts["validation"].num_objects
    half = 0.05 * ndtri(0.5 + 0.45 * (num_objects + 1) / num_objects)
    assert oracle["width_90"] == pytest.approx(2 * half, rel=0.05)


def test_intervals_need_objects_set_aside(folder: ShardFolder, fitted: FittedRecipe) -> None:
    model = trained(Oracle(0.1), fitted)
    for changes in ({"num_conformal_objects": 0}, {"split": "validation"}, {"split": "train"}):
        asked = evaluation(**changes, probe_label=None, max_objects=40)
        assert not numbers(evaluate(model, folder, asked), "conformal")
    asked = evaluation(num_conformal_objects=10, probe_label=None, max_objects=40)
    few = numbers(evaluate(model, folder, asked), "conformal")
    assert "coverage_90" in few
    assert "coverage_95" not in few


def test_intervals_stand_beside_the_draws_by_position(oracle_tables: Tables) -> None:
    rows = [r for r in oracle_tables["calibration"].to_pylist() if r["axis"] == "position"]
    found = {e: [r for r in rows if r["estimate"] == e] for e in ("draws", "conformal")}
    places = {e: {(r["low"], r["high"], r["count"]) for r in found[e]} for e in found}
    assert places["draws"] == places["conformal"]
    covered = [r for r in found["conformal"] if r["metric"] == "coverage_90"]
    total = sum(r["value"] * r["count"] for r in covered) / sum(r["count"] for r in covered)
    assert total == pytest.approx(0.9, abs=0.05)
    assert {r["target"] for r in covered} == {0.9}
