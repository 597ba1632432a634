"""Study statistics against scipy and against data whose answer is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from daep_ray.study.statistics import (
    holm,
    luck_of_seeds,
    paired_difference,
    passes_gate,
    repeat_over_seeds,
    seed_interval,
)


def errors(values: np.ndarray) -> dict[tuple[int, str], float]:
    """(S, O) values by seed and object."""
    return {(s, f"o{o}"): float(v) for (s, o), v in np.ndenumerate(values)}


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8), st.sampled_from([0.68, 0.95]))
def test_the_interval_over_seeds_is_students(values: list[float], level: float) -> None:
    found = seed_interval(values, level)
    scale = stats.sem(values)
    if scale < 1e-9:
        assert found.half_width == pytest.approx(0, abs=1e-6)
        return
    low, high = stats.t.interval(level, len(values) - 1, np.mean(values), scale)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)
    assert found.count == len(values)


def test_one_seed_has_a_mean_and_no_interval() -> None:
    found = seed_interval([0.3])
    assert found.mean == 0.3
    assert math.isnan(found.low)
    assert math.isnan(seed_interval([]).mean)


def test_a_difference_over_objects_matches_normal_theory() -> None:
    rng = np.random.default_rng(1)
    d = rng.normal(-0.1, 0.5, (1, 400))
    control = rng.normal(1, 3, (1, 400))  # shared difficulty of the objects must cancel
    found = paired_difference(errors(control + d), errors(control))
    half = 1.96 * d.std() / math.sqrt(400)
    assert found.mean == pytest.approx(d.mean())
    assert found.low == pytest.approx(d.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(d.mean() + half, abs=0.1 * half)
    assert found.p == pytest.approx(2 * stats.norm.sf(-d.mean() / (half / 1.96)), abs=0.01)
    assert found.share_better == pytest.approx((d < 0).mean())


def test_a_difference_between_seeds_widens_the_interval() -> None:
    d = np.array([[-1.0], [1.0], [-1.0], [1.0]]) + np.zeros((4, 300))
    found = paired_difference(errors(d), errors(np.zeros_like(d)))
    assert found.low < -0.4
    assert found.high > 0.4
    assert found.p > 0.5


def test_several_seeds_are_a_t_test_where_one_thing_varies() -> None:
    """Of the seeds' differences, of two groups of seeds, or of the objects."""
    rng = np.random.default_rng(5)
    luck = rng.normal(0.3, 0.2, (2, 4))
    a, b = (np.broadcast_to(one[:, None], (4, 80)) for one in luck)
    found = paired_difference(errors(a), errors(b))
    assert found.p == pytest.approx(stats.ttest_rel(*luck).pvalue, rel=1e-6)
    pooled = luck_of_seeds([errors(a), errors(b)])
    assert pooled is not None
    found = paired_difference(errors(a), errors(b), luck=pooled.of_difference())
    assert found.p == pytest.approx(stats.ttest_ind(*luck).pvalue, rel=1e-6)

    objects = rng.normal(0.1, 0.5, 80)
    a, b = np.broadcast_to(objects, (4, 80)), np.zeros((4, 80))
    found = paired_difference(errors(a), errors(b), num_draws=20_000)
    assert found.p == pytest.approx(stats.ttest_1samp(objects, 0).pvalue, abs=0.01)


def test_the_luck_of_seeds_is_the_two_way_layouts() -> None:
    """Against means written out; objects that a seed lacks do not count."""
    v = np.random.default_rng(1).normal(size=(3, 50)) + np.array([[0.0], [0.4], [-0.3]])
    group = errors(v) | {(0, "alone"): 7.0}
    found = luck_of_seeds([group, errors(v[:1])])  # one seed adds nothing
    assert found is not None
    inside = sum(
        (v[s, o] - v[s].mean() - v[:, o].mean() + v.mean()) ** 2
        for s in range(3)
        for o in range(50)
    )
    assert found.square == pytest.approx(50 * np.var(v.mean(axis=1), ddof=1))
    assert found.rest == pytest.approx(inside / (2 * 49))
    assert (found.freedom, found.num_objects) == (2, 50)
    assert luck_of_seeds([errors(v[:1])]) is None


def test_the_same_errors_differ_by_nothing() -> None:
    same = errors(np.random.default_rng(0).random((2, 30)))
    found = paired_difference(same, same)
    assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert found.share_better == 0.5


def test_only_pairs_that_both_have_count() -> None:
    model = errors(np.zeros((2, 5)))
    control = {key: 1.0 for key in model if key[1] != "o3"} | {(7, "o0"): 9.0}
    found = paired_difference(model, control)
    assert (found.num_objects, found.num_seeds, found.mean) == (4, 2, -1.0)
    assert math.isnan(paired_difference(model, {}).mean)


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_one_object_alone_tells_nothing_of_others(num_seeds: int) -> None:
    """However far apart the two are on it."""
    found = paired_difference(errors(np.zeros((num_seeds, 1))), errors(np.ones((num_seeds, 1))))
    assert (found.num_objects, found.num_seeds) == (1, num_seeds)
    assert all(map(math.isnan, (found.mean, found.low, found.high, found.p)))


def test_a_bootstrap_is_repeatable_and_says_how_small_p_can_be() -> None:
    rng = np.random.default_rng(3)
    a, b = errors(rng.random((1, 50))), errors(rng.random((1, 50)) + 5)
    once = paired_difference(a, b, num_draws=200)
    assert once == paired_difference(a, b, num_draws=200)
    assert once.p == pytest.approx(2 / 201)


def test_a_reference_is_paired_with_every_seed() -> None:
    model = errors(np.full((3, 4), 0.5))
    reference = repeat_over_seeds({f"o{i}": 1.0 for i in range(4)}, [0, 1, 2])
    found = paired_difference(model, reference)
    assert (found.mean, found.num_seeds) == (-0.5, 3)


def test_holm_on_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert math.isnan(holm([math.nan, 0.01])[0])
    assert holm([math.nan, 0.01])[1] == 0.01


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_lies_between_nothing_and_bonferroni(p: list[float]) -> None:
    corrected = holm(p)
    for raw, found in zip(p, corrected, strict=True):
        assert raw <= found <= min(1, raw * len(p)) + 1e-12 or found == max(corrected)


@pytest.mark.parametrize(("error", "passes"), [(0.79, True), (0.8, True), (0.81, False)])
def test_the_gate_is_a_fifth_below_the_mean(error: float, passes: bool) -> None:
    assert passes_gate(error, 1.0) is passes
    assert not passes_gate(math.nan, 1.0)
