"""Residual profiles against numpy's quantiles; the choice of examples; METRICS stays light."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.evaluate import METRICS
from daep_ray.evaluate.examples import choose
from daep_ray.evaluate.profiles import (
    EDGES,
    FEWEST,
    NUM_BINS,
    Profile,
    edges_of,
    quantiles,
    shown_position,
)
from daep_ray.evaluate.reconstruction import SortedErrors
from daep_ray.evaluate.run import evaluate
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.bins import evaluation_batches
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.position_chain import Log
from daep_ray.stream.recipe import ModalityRecipe, Recipe

from .conftest import Oracle, settings, trained


@given(st.integers(0, 1000), st.floats(0.001, 3.0), st.floats(-2.0, 2.0))
def test_histogram_quantiles_are_those_of_the_values(seed: int, sd: float, mean: float) -> None:
    values = np.random.default_rng(seed).normal(mean, sd, 4000)
    counts = np.bincount(np.searchsorted(EDGES, values), minlength=len(EDGES) + 1)
    found = np.array(quantiles(counts, (0.16, 0.5, 0.84)))
    # an empirical quantile and its neighbours, and the width of a cell (1 % of the value)
    low, high = (np.quantile(values, np.array([0.16, 0.5, 0.84]) + d) for d in (-0.01, 0.01))
    slack = 1e-4 + 0.01 * np.abs(found)
    assert (found >= low - slack).all()
    assert (found <= high + slack).all()


def test_profile_rows_are_counted_by_bin_and_band(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    """A residual that is the position itself: the median must lie inside its own bin."""
    batches = list(evaluation_batches(folder, fitted, ("photometry",), "test", 10**6))
    flat = fitted.apply(batches[0][1], ("photometry",))["photometry"]
    profile = Profile(edges_of(flat.position[:, 0]), 3)
    profile.add(flat, flat.position[:, 0])
    rows = list(profile.rows(fitted, "photometry"))
    scale = fitted.statistics["photometry"].positions[0]
    assert {row["category"] for row in rows} == {"g", "r"}
    for row in rows:
        median = row["median"] * scale.sd + scale.mean
        width = row["position_high"] - row["position_low"]
        assert row["position_low"] - 0.1 * width < median < row["position_high"] + 0.1 * width
    counts = profile.counts.sum(2)
    assert counts.sum() == len(flat.value)
    assert sum(row["count"] for row in rows) == counts[counts >= FEWEST].sum()
    assert min(row["position_low"] for row in rows) == pytest.approx(0.0, abs=1e-9)  # days


def test_edges_hold_about_as_many_each() -> None:
    position = np.random.default_rng(0).lognormal(size=10_000)
    counts = np.histogram(position, edges_of(position))[0]
    assert len(counts) == NUM_BINS
    assert counts.max() < 1.05 * counts.min()
    assert len(edges_of(np.zeros(10))) == 2
    assert len(edges_of(np.zeros(0))) == 2


def test_a_logarithmic_position_is_shown_in_its_unit(fitted: FittedRecipe) -> None:
    recipe = Recipe(modalities={"photometry": ModalityRecipe(positions={"time": (Log(),)})})
    changed = type(fitted)(recipe, fitted.modalities, fitted.statistics)
    scale = fitted.statistics["photometry"].positions[0]
    z = (np.log(np.array([10.0, 20.0])) - scale.mean) / scale.sd
    np.testing.assert_allclose(shown_position(changed, "photometry", z), [10.0, 20.0])


def test_examples_are_percentiles_of_long_enough_samples() -> None:
    ids = np.array([f"s{i:03d}" for i in range(101)])
    amplitudes = np.random.default_rng(0).permutation(101).astype(float)
    lengths = np.full(101, 50)
    errors = SortedErrors(ids, ids, lengths, amplitudes, {})
    found = choose(errors, (10, 50, 90))
    by_id = dict(zip(ids, amplitudes, strict=True))
    assert {percentile: by_id[s] for s, percentile in found.items()} == {10: 10, 50: 50, 90: 90}
    lengths[amplitudes == 50] = 24
    assert 50 not in {by_id[s] for s in choose(errors, (10, 50, 90))}


@pytest.mark.parametrize("num", [1, 2, 3])
def test_few_samples_give_few_examples(num: int) -> None:
    ids = np.array([f"s{i}" for i in range(num)])
    errors = SortedErrors(ids, ids, np.full(num, 5), np.arange(num, dtype=float), {})
    found = choose(errors, (10, 50, 90))
    assert 1 <= len(found) <= num


def test_metrics_and_tables_need_no_torch() -> None:
    """Reports read them on a laptop."""
    code = (
        "import sys, daep_ray.evaluate, daep_ray.evaluate.tables; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'ray', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert all(
        m.unit in ("z", "physical", "label", "fraction", "count", "Angstrom")
        for m in METRICS.values()
    )


def test_a_profile_shows_the_spread_of_the_residuals(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    table = evaluate(trained(Oracle(0.2), fitted), folder, settings())["profiles"].to_pandas()
    # Gaussian draws, mean of four: 16 and 84 % lie one standard deviation from the median
    np.testing.assert_allclose(table["high"] - table["low"], 2 * 0.1, rtol=0.5)
    weighted = np.average(table["high"] - table["low"], weights=table["count"])
    assert weighted == pytest.approx(0.2, rel=0.1)
