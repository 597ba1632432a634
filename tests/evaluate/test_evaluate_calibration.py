"""Calibration against loops and order statistics; honest draws pass, planted faults are found."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.evaluate.calibration import (
    FEWEST_DRAWS,
    LEVELS,
    Calibration,
    covered,
    drawn,
    judge,
    target,
)
from daep_ray.evaluate.profiles import FEWEST, edges_of
from daep_ray.evaluate.run import evaluate, evaluate_reference
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.bins import evaluation_batches
from daep_ray.stream.fitted import FittedRecipe

from .conftest import Oracle, settings, trained


def metric(tables: dict, estimate: str, name: str) -> float:
    rows = tables["metrics"].to_pylist()
    return next(r["value"] for r in rows if (r["estimate"], r["metric"]) == (estimate, name))


@given(st.integers(FEWEST_DRAWS, 60), st.sampled_from(LEVELS))
def test_uniform_ranks_are_covered_as_the_formula_says(num_draws: int, level: int) -> None:
    """Exactly, whatever the distribution: of one more draw every rank is as likely."""
    assert covered(num_draws, level).mean() == pytest.approx(target(num_draws, level), abs=1e-12)


def test_the_targets_are_those_of_the_field_note() -> None:
    found = [round(target(n, 90), 3) for n in (50, 100, 1000)]
    assert found == [0.865, 0.882, 0.898]


@given(st.integers(0, 10**6), st.integers(FEWEST_DRAWS, 20))
def test_crps_width_and_rank_are_those_of_a_loop(seed: int, num_draws: int) -> None:
    rng = np.random.default_rng(seed)
    draws, truth = rng.normal(size=(num_draws, 7)), rng.normal(size=7)
    judged = judge(draws, truth)
    for n in range(7):
        x, y = draws[:, n], truth[n]
        pairs = [abs(x[i] - x[j]) for i in range(num_draws) for j in range(num_draws) if i != j]
        crps = np.mean([abs(v - y) for v in x]) - 0.5 * np.mean(pairs)
        assert judged.crps[n] == pytest.approx(crps, abs=1e-12)
        assert judged.ranks[n] == sum(v < y for v in x)
        for level, width in zip(LEVELS, judged.widths[:, n], strict=True):
            low, high = np.quantile(x, [0.5 - level / 200, 0.5 + level / 200])
            assert width == pytest.approx(high - low, abs=1e-12)


@given(st.integers(0, 10**6), st.integers(FEWEST_DRAWS, 20), st.sampled_from(LEVELS))
def test_coverage_mixes_two_intervals_of_order_statistics(
    seed: int, num_draws: int, level: int
) -> None:
    """And is 1 in the interval of linear quantiles' core, 0 beyond its neighbours."""
    rng = np.random.default_rng(seed)
    draws, truth = rng.normal(size=(num_draws, 1)), rng.normal(size=1)
    found = judge(draws, truth).by_point()[f"coverage_{level}"][0]
    x, exact = np.sort(draws[:, 0]), (num_draws - 1) * (1 - level / 100) / 2
    place, weight = int(exact), exact - int(exact)
    inside = [x[j] <= truth[0] <= x[num_draws - 1 - j] for j in (place, place + 1)]
    assert found == pytest.approx((1 - weight) * inside[0] + weight * inside[1], abs=1e-9)


def test_crps_of_many_draws_is_that_of_the_normal_distribution() -> None:
    """Gneiting and Raftery 2007: y (2 F(y) - 1) + 2 f(y) - 1 / sqrt(pi), whatever their number."""
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    truth = np.repeat([-1.0, 0.3, 2.0], 40_000)
    for num_draws in (3, 10):
        crps = judge(rng.normal(size=(num_draws, len(truth))), truth).crps.reshape(3, -1)
        y = truth[::40_000]
        expected = y * (2 * norm.cdf(y) - 1) + 2 * norm.pdf(y) - 1 / np.sqrt(np.pi)
        error = crps.std(1) / np.sqrt(crps.shape[1])
        assert (np.abs(crps.mean(1) - expected) < 4 * error).all()


@pytest.mark.parametrize("num_draws", [3, 8, 50])
@pytest.mark.parametrize("shape", ["normal", "uniform", "lognormal"])
def test_honest_draws_pass_within_their_binomial_error(num_draws: int, shape: str) -> None:
    rng, num = np.random.default_rng(1), 20_000
    values = getattr(rng, shape)(size=(num_draws + 1, num))
    judged = judge(values[1:], values[0])
    for level in LEVELS:
        share = judged.by_point()[f"coverage_{level}"].mean()
        expected = target(num_draws, level)
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / num)
    counts = np.bincount(judged.ranks, minlength=num_draws + 1)
    expected = num / (num_draws + 1)
    # chi-squared of num_draws degrees of freedom: mean and sd
    assert ((counts - expected) ** 2 / expected).sum() < num_draws + 4 * np.sqrt(2 * num_draws)


@pytest.mark.parametrize(("scale", "shift"), [(0.8, 0.0), (1.25, 0.0), (1.0, 0.3)])
def test_a_planted_fault_is_found_and_named(
    folder: ShardFolder, fitted: FittedRecipe, scale: float, shift: float
) -> None:
    """Too narrow, too wide, too high: in one bin alone, and the others stay clean."""
    _, table = next(iter(evaluation_batches(folder, fitted, ("photometry",), "train", 10**6)))
    flat = fitted.apply(table, ("photometry",))["photometry"]
    rng, num_draws = np.random.default_rng(2), 20
    position = flat.position[:, 0]
    edges = np.quantile(position, [0, 0.25, 0.5, 0.75, 1])
    is_bad = (position >= edges[1]) & (position < edges[2])
    noise = rng.normal(size=(num_draws, len(position)))
    centre = flat.value - rng.normal(size=len(position))
    draws = centre + np.where(is_bad, scale * noise + shift, noise)
    sums = Calibration(edges, num_draws)
    sums.add(flat, judge(draws, flat.value))
    rows = [r for r in sums.position_rows(fitted, "photometry") if r["metric"] == "coverage_90"]
    error = [np.sqrt(r["target"] * (1 - r["target"]) / r["count"]) for r in rows]
    off = [(r["value"] - r["target"]) / e for r, e in zip(rows, error, strict=True)]
    assert all(abs(off[i]) < 4 for i in (0, 2, 3))
    summary = dict(sums.summary())
    whole = Calibration(np.array([-1e9, 1e9]), num_draws)
    whole.add(flat, judge(draws, flat.value), is_bad)
    bad = dict(whole.summary())
    if shift:
        # P(draw < truth) of normals a distance apart
        from scipy.stats import norm

        assert bad["rank_bias"] == pytest.approx(norm.cdf(-shift / np.sqrt(2)) - 0.5, abs=0.03)
        assert bad["rank_bias"] < 4 * summary["rank_bias"] / 2 < 0
    else:
        assert np.sign(off[1]) == np.sign(scale - 1)
        assert abs(off[1]) > 4
        assert (bad["rank_spread"] > 1) == (scale < 1)
        assert abs(bad["rank_spread"] - 1) > 0.1


def test_bins_are_those_of_a_loop_and_their_order_does_not_matter(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    batches = list(evaluation_batches(folder, fitted, ("photometry",), "test", 200))
    flats = [fitted.apply(t, ("photometry",))["photometry"] for _, t in batches]
    edges = edges_of(np.concatenate([f.position[:, 0] for f in flats]))[::4]
    rng = np.random.default_rng(3)
    told = [f.value + rng.normal(0, 0.3, (5, len(f.value))) for f in flats]
    some = [rng.random(len(f.value)) < 0.8 for f in flats]
    one, other = Calibration(edges, 5), Calibration(edges, 5)
    order = list(zip(flats, told, some, strict=True))
    for sums, parts in ((one, order), (other, order[::-1])):
        for flat, draws, chosen in parts:
            sums.add(flat, judge(draws, flat.value), chosen)
    rows = list(one.position_rows(fitted, "photometry"))
    assert rows == list(other.position_rows(fitted, "photometry"))
    position = np.concatenate([f.position[c, 0] for f, _, c in order])
    points = [judge(d, f.value).by_point() for f, d, _ in order]
    for metric_name in ("coverage_68", "width_90", "crps"):
        values = np.concatenate([p[metric_name][c] for p, c in zip(points, some, strict=True)])
        found = [r for r in rows if r["metric"] == metric_name]
        last = len(edges) - 2
        for place, (low, high) in enumerate(pairwise(edges)):
            inside = ((position >= low) | (place == 0)) & ((position < high) | (place == last))
            assert inside.sum() >= FEWEST
            assert found[place]["count"] == inside.sum()
            assert found[place]["value"] == pytest.approx(values[inside].mean(), abs=1e-6)


def test_an_evaluation_of_gaussian_draws_about_the_truth(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    """The oracle knows the truth, so its draws are too wide: every rank is near the middle."""
    tables = evaluate(trained(Oracle(0.3), fitted), folder, settings(num_draws=8, probe_label=None))
    assert metric(tables, "draws", "coverage_90_target") == pytest.approx(0.7)
    # within the outermost of 8 draws: all but 2 / 2^8; the next interval: all but 2 (1 + 8) / 2^8
    weight = 7 * 0.05
    expected = (1 - weight) * (1 - 2 / 256) + weight * (1 - 18 / 256)
    assert metric(tables, "draws", "coverage_90") == pytest.approx(expected, abs=0.01)
    assert metric(tables, "draws", "rank_spread") < 0.5
    frame = tables["calibration"].to_pandas()
    ranks = frame[frame.axis == "rank"]
    assert ranks["low"].tolist() == list(range(9))
    assert ranks["value"].sum() == pytest.approx(1.0)
    np.testing.assert_allclose(ranks["target"], 1 / 9)
    assert ranks["value"].iloc[4] == ranks["value"].max()
    # E|x - y| of normals: 0.3 sqrt(2 / pi) - 0.3 / sqrt(pi)
    crps = 0.3 * (np.sqrt(2) - 1) / np.sqrt(np.pi)
    assert metric(tables, "draws", "crps") == pytest.approx(crps, rel=0.05)
    by_position = frame[(frame.axis == "position") & (frame.metric == "crps")]
    assert np.average(by_position["value"], weights=by_position["count"]) == pytest.approx(
        crps, rel=0.05
    )


def test_what_has_no_draws_has_no_calibration(folder: ShardFolder, fitted: FittedRecipe) -> None:
    alone = settings(num_conformal_objects=0)
    mean = evaluate_reference("mean", None, folder, fitted, ("photometry",), alone)
    kinds = {(r["axis"], r["metric"].rpartition("_")[2]) for r in mean["calibration"].to_pylist()}
    assert kinds == {("scale", "power"), ("position", "error")}
    few = evaluate(trained(Oracle(0.3), fitted), folder, settings(num_draws=2, probe_label=None))
    assert "draws" not in few["metrics"]["estimate"].to_pylist()
    assert list(drawn({"one_draw": np.zeros((2, 5)), "from_spectrum": np.zeros((9, 5))})) == []
