"""Laws of an evaluation: the tables against computations by hand, the oracle, packing, order."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from daep_ray.errors import ConfigError, DataError
from daep_ray.evaluate import METRICS
from daep_ray.evaluate.reconstruction import check_finite
from daep_ray.evaluate.run import evaluate, evaluate_reference
from daep_ray.evaluate.tables import SCHEMAS, Tables
from daep_ray.nn.config import ModelConfig
from daep_ray.objectives import build_objective
from daep_ray.objectives.base import Draws
from daep_ray.objectives.daep import DaepConfig
from daep_ray.objectives.vae import VaeConfig
from daep_ray.settings import override
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.bins import evaluation_batches
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.pack import layouts

from .conftest import Oracle, make_samples, settings, trained, write_survey


def metric(tables: Tables, estimate: str, name: str) -> float:
    frame = tables["metrics"].to_pandas()
    return float(frame[(frame.estimate == estimate) & (frame.metric == name)].value.iloc[0])


def same(a: Tables, b: Tables) -> bool:
    return all(a[name].equals(b[name]) for name in SCHEMAS)


def test_tables_follow_the_contract(folder: ShardFolder, fitted: FittedRecipe) -> None:
    tables = evaluate(trained(Oracle(0.1), fitted), folder, settings())
    assert {name: t.schema for name, t in tables.items()} == SCHEMAS
    found = set(tables["metrics"]["metric"].to_pylist())
    assert found <= set(METRICS)
    # one modality, no label that is a number, times counted from the first measurement
    missing = ("recall", "probe_r2", "probe_mean", "bias", "line")
    assert found == {m for m in METRICS if not m.startswith(missing)}
    estimates = set(tables["metrics"]["estimate"].to_pylist())
    usual = {"one_draw", "mean_of_draws", "one_step", "draws", "probe", "clusters"}
    assert estimates == usual | {"conformal"}


def test_an_oracle_has_no_error(folder: ShardFolder, fitted: FittedRecipe) -> None:
    tables = evaluate(trained(Oracle(), fitted), folder, settings(probe_label=None))
    for estimate in ("one_draw", "mean_of_draws", "one_step"):
        # the batch is float32, the truth float64: rounding only
        assert metric(tables, estimate, "absolute_error") < 1e-7
        assert metric(tables, estimate, "absolute_error_physical") < 1e-5
    profile = tables["profiles"].to_pandas()
    assert profile[["median", "low", "high"]].abs().to_numpy().max() < 1e-4
    example = tables["examples"].to_pandas()
    np.testing.assert_allclose(example["mean"], example["truth"], atol=1e-4)


def test_gaussian_draws_have_the_errors_that_mathematics_says(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    """E|N(0, s)| = s sqrt(2 / pi); the mean of K draws has s / sqrt(K)."""
    asked = settings(num_draws=16, probe_label=None)
    tables = evaluate(trained(Oracle(0.3), fitted), folder, asked)
    one = 0.3 * np.sqrt(2 / np.pi)
    assert metric(tables, "one_draw", "absolute_error") == pytest.approx(one, rel=0.02)
    assert metric(tables, "mean_of_draws", "absolute_error") == pytest.approx(one / 4, rel=0.05)
    assert metric(tables, "one_draw", "squared_error") == pytest.approx(0.09, rel=0.03)


def test_metrics_are_those_computed_by_hand(
    folder: ShardFolder, fitted: FittedRecipe, noisy_tables: Tables
) -> None:
    """Per sample, per object, over objects: by pandas from the measurements themselves."""
    tables, oracle, rows = noisy_tables, Oracle(0.3), []
    for batch, table in evaluation_batches(folder, fitted, ("photometry",), "test", 10**6):
        from daep_ray.diffusion.samplers import DPMSolverConfig
        from daep_ray.stream.noise import Noise

        flat = fitted.apply(table, ("photometry",))["photometry"]
        noise = Noise(0, 0, batch.sample_ids)
        draws = oracle.decode(oracle.encode(batch), batch.query(), DPMSolverConfig(), 4, noise)
        values = draws.values["photometry"].double().numpy()
        scale = fitted.statistics["photometry"].value[0]

        def physical(z: np.ndarray) -> np.ndarray:
            return np.sinh(z * scale.sd + scale.mean) * 10.0  # noqa: B023

        truth = physical(flat.value)
        index = batch.sequences["photometry"].sample_index.numpy()
        rows.append(
            pd.DataFrame(
                {
                    "object": np.array(table["object_id"])[index],
                    "sample": np.array(table["sample_id"])[index],
                    "one": np.abs(values - flat.value).mean(0),
                    "mean": np.abs(values.mean(0) - flat.value),
                    "square": (values.mean(0) - flat.value) ** 2,
                    "physical": np.abs(physical(values) - truth).mean(0),
                }
            )
        )
    per_sample = pd.concat(rows).groupby(["object", "sample"]).mean()
    per_object = per_sample.groupby("object").mean()
    for column, estimate, name in (
        ("one", "one_draw", "absolute_error"),
        ("mean", "mean_of_draws", "absolute_error"),
        ("square", "mean_of_draws", "squared_error"),
        ("physical", "one_draw", "absolute_error_physical"),
    ):
        assert metric(tables, estimate, name) == pytest.approx(per_object[column].mean(), rel=1e-12)
        found = tables["objects"].to_pandas()
        found = found[(found.estimate == estimate) & (found.metric == name)]
        np.testing.assert_allclose(
            found.set_index("object_id").value.sort_index(), per_object[column].sort_index()
        )
    frame = tables["metrics"].to_pandas().set_index(["estimate", "metric"])
    row = frame.loc[("one_draw", "absolute_error")]
    assert row["sd"] == pytest.approx(per_object["one"].std(), rel=1e-12)
    assert row["count"] == len(per_object)


@pytest.mark.parametrize("budget", [1, 100, 10**7])
def test_packing_changes_nothing_and_bounds_what_is_decoded_at_once(
    folder: ShardFolder, fitted: FittedRecipe, noisy_tables: Tables, budget: int
) -> None:
    oracle = Oracle(0.3)
    pieces = evaluate(trained(oracle, fitted), folder, settings(token_budget=budget))
    assert same(noisy_tables, pieces)
    # three chosen examples are decoded together, at most 40 points each
    assert oracle.most_tokens <= max(budget, 4 * 3 * 40)


@pytest.mark.parametrize("kind", [DaepConfig(), VaeConfig()])
def test_models_repeat_exactly_and_hardly_feel_the_packing(
    folder: ShardFolder, fitted: FittedRecipe, kind: DaepConfig | VaeConfig
) -> None:
    torch.manual_seed(0)
    model = override(
        ModelConfig(),
        {"width": 16, "num_heads": 2, "encoder.num_layers": 1, "decoder.num_layers": 1},
    )
    objective = build_objective(kind, model, layouts(fitted, ("photometry",)))
    small = settings(max_objects=12)
    first = evaluate(trained(objective, fitted), folder, small)
    assert same(first, evaluate(trained(objective, fitted), folder, small))
    packed = small.model_copy(update={"token_budget": 60, "probe_label": None})
    other = evaluate(trained(objective, fitted), folder, packed)
    for name in ("absolute_error", "squared_error"):
        for estimate in ("one_draw", "mean_of_draws", "one_step"):
            expected = metric(first, estimate, name)
            assert metric(other, estimate, name) == pytest.approx(expected, rel=1e-4)


def test_every_model_shows_the_same_examples(
    folder: ShardFolder, fitted: FittedRecipe, noisy_tables: Tables
) -> None:
    quick = settings(num_probe_splits=2)
    first = noisy_tables["examples"]
    noisy = evaluate(trained(Oracle(1.0), fitted), folder, quick)["examples"]
    pca = evaluate_reference("pca", 3, folder, fitted, ("photometry",), quick)["examples"]
    columns = ["sample_id", "object_id", "label", "percentile", "category", "position", "truth"]
    assert first.select(columns).equals(noisy.select(columns))
    assert first.select(columns).equals(pca.select(columns))
    assert set(first["percentile"].to_pylist()) == {10, 50, 90}


def test_examples_hold_the_raw_data_and_a_band_of_draws(noisy_tables: Tables) -> None:
    frame = noisy_tables["examples"].to_pandas()
    raw = {s.sample_id: s.sequences["photometry"] for s in make_samples(300)}
    for sample_id, rows in frame.groupby("sample_id"):
        sequence = raw[sample_id]
        np.testing.assert_allclose(rows["truth"], sequence.value, rtol=1e-5)
        np.testing.assert_allclose(rows["noiseless"], sequence.extras["noiseless"], rtol=1e-5)
        assert (rows["error"] == 2.0).all()
        days = sequence.positions["time"] - sequence.positions["time"].min()
        np.testing.assert_allclose(rows["position"], days, atol=1e-6)
        words = np.array(["unknown", "g", "r"])[sequence.categories["band"]]
        assert (rows["category"].to_numpy() == words).all()
    assert (frame["low"] < frame["mean"]).all()
    assert (frame["mean"] < frame["high"]).all()


def test_the_order_of_ingest_does_not_matter(
    tmp_path: Path, fitted: FittedRecipe, noisy_tables: Tables
) -> None:
    turned = write_survey(tmp_path / "data", make_samples(300)[::-1])
    there = evaluate(trained(Oracle(0.3), fitted), turned, settings())
    assert same(noisy_tables, there)


def test_a_subset_has_many_objects_and_is_the_same_for_all(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    few = settings(max_objects=10, probe_label=None)
    model = evaluate(trained(Oracle(0.3), fitted), folder, few)["objects"]
    mean = evaluate_reference("mean", None, folder, fitted, ("photometry",), few)["objects"]
    shown = set(model["object_id"].to_pylist())
    assert shown == set(mean["object_id"].to_pylist())
    assert len(shown) == 10  # one sample each, though objects have up to three


def test_data_of_another_declaration_are_refused(folder: ShardFolder, fitted: FittedRecipe) -> None:
    with pytest.raises(DataError, match="no modality 'spectrum'"):
        evaluate_reference("mean", None, folder, fitted, ("spectrum",), settings())


class Diverging(Oracle):
    """Has no number for sequences of more than 30 points."""

    def decode(self, code: Any, query: Any, *how: Any) -> Draws:
        values = super().decode(code, query, *how).values["photometry"].clone()
        sequence = query.sequences["photometry"]
        values[:, (sequence.lengths > 30)[sequence.sample_index]] = np.inf
        return Draws({"photometry": values})


@pytest.mark.parametrize("num_conformal", [0, 100])
def test_a_model_that_has_no_answer_for_hard_objects_is_not_measured_by_the_easy_ones(
    folder: ShardFolder, fitted: FittedRecipe, num_conformal: int
) -> None:
    asked = settings(num_conformal_objects=num_conformal, probe_label=None)
    with pytest.raises(ConfigError, match=r"photometry of sample 'o\d+/\d' .*not finite"):
        evaluate(trained(Diverging(0.3), fitted), folder, asked)


def test_the_sample_is_named_and_what_nothing_is_told_from_may_be_anything(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    batches = evaluation_batches(folder, fitted, ("photometry",), "test", 10**6)
    _, table = next(iter(batches))
    flat = fitted.apply(table.slice(0, 4), ("photometry",))["photometry"]
    ids = [(f"s{i}", "o") for i in range(4)]
    values = np.repeat(np.where(np.arange(4) == 2, np.nan, 1.0), flat.lengths)[None]
    lost = flat.where(np.repeat(np.arange(4) != 2, flat.lengths))
    flats = {"photometry": flat, "spectrum": lost}
    check_finite(
        ids, flats, "photometry", {"from_spectrum": values, "one_step": np.ones_like(values)}
    )
    for name in ("mean_of_draws", "draws_from_photometry"):
        with pytest.raises(ConfigError, match=rf"'s2' is reconstructed \({name}\)"):
            check_finite(ids, flats, "photometry", {name: values})
