"""The reference `gp` on a survey: every point by the others of its light curve, and no more."""

from dataclasses import replace

import numpy as np
import pytest

from daep_ray.errors import DataError
from daep_ray.evaluate.gaussian_process import Points, from_the_others
from daep_ray.evaluate.intervals import SPREAD
from daep_ray.evaluate.other_points import OtherPoints, fit_other_points
from daep_ray.evaluate.run import evaluate_reference
from daep_ray.sample import Axis
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.bins import evaluation_batches
from daep_ray.stream.fitted import FittedRecipe

from .conftest import PHOTOMETRY, settings

NAMES = ("photometry",)


@pytest.fixture(scope="module")
def reference(folder: ShardFolder, fitted: FittedRecipe) -> OtherPoints:
    return fit_other_points(folder, fitted, NAMES, 10_000)


def predictions(
    reference: OtherPoints, folder: ShardFolder, fitted: FittedRecipe, budget: int
) -> dict[str, np.ndarray]:
    """(2, n) mean and standard deviation by sample."""
    found = {}
    for batch, _ in evaluation_batches(folder, fitted, NAMES, "test", budget):
        told = reference.predict(batch)["photometry"]
        both = np.concatenate([told["reference"], told[SPREAD]])
        offsets = batch.sequences["photometry"].offsets.tolist()
        for name, low, high in zip(batch.sample_ids, offsets[:-1], offsets[1:], strict=True):
            found[name] = both[:, low:high]
    return found


def test_a_prediction_is_that_of_the_light_curve_alone(
    reference: OtherPoints, folder: ShardFolder, fitted: FittedRecipe
) -> None:
    found = predictions(reference, folder, fitted, 10_000)
    for batch, table in evaluation_batches(folder, fitted, NAMES, "test", 1):
        flat = fitted.apply(table, NAMES)["photometry"]
        assert flat.error is not None
        points = Points(flat.position, flat.category, flat.value, flat.error**2)
        expected = from_the_others(reference.kernels["photometry"], points)
        np.testing.assert_allclose(found[batch.sample_ids[0]], expected, rtol=1e-3, atol=1e-4)


def test_packing_does_not_matter(
    reference: OtherPoints, folder: ShardFolder, fitted: FittedRecipe
) -> None:
    alone = predictions(reference, folder, fitted, 1)
    together = predictions(reference, folder, fitted, 100_000)
    assert alone.keys() == together.keys()
    assert all((alone[name] == together[name]).all() for name in alone)


def test_it_predicts_and_knows_how_well(
    reference: OtherPoints, folder: ShardFolder, fitted: FittedRecipe
) -> None:
    off, size, inside = [], [], []
    for batch, _ in evaluation_batches(folder, fitted, NAMES, "test", 10_000):
        told, value = reference.predict(batch)["photometry"], batch.sequences["photometry"].value
        assert value is not None
        missed = np.abs(told["reference"][0] - value.double().numpy())
        off.append(missed)
        size.append(np.abs(value.double().numpy()))
        inside.append(missed < 1.645 * told[SPREAD][0])
    assert np.concatenate(off).mean() < 0.4 * np.concatenate(size).mean()
    assert np.concatenate(inside).mean() == pytest.approx(0.9, abs=0.04)


def test_without_a_time_there_is_no_such_reference(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    spectrum = replace(PHOTOMETRY, positions=(Axis("wavelength", "Angstrom"),))
    assert PHOTOMETRY.is_timed
    assert not spectrum.is_timed
    untimed = replace(fitted, modalities={"photometry": spectrum})
    with pytest.raises(DataError, match="has a position in time"):
        fit_other_points(folder, untimed, NAMES, 10_000)


def test_its_tables_are_those_of_any_reference(folder: ShardFolder, fitted: FittedRecipe) -> None:
    tables = evaluate_reference("gp", None, folder, fitted, NAMES, settings())
    rows = tables["metrics"].to_pylist()
    found = {(r["estimate"], r["metric"]): r["value"] for r in rows}
    assert {estimate for estimate, _ in found} == {"reference", "predictive", "conformal"}
    assert found["predictive", "coverage_90"] == pytest.approx(0.9, abs=0.06)
    assert found["predictive", "coverage_90_target"] == 0.9
    assert 0 < found["predictive", "crps"] < found["reference", "absolute_error"]
    mean = evaluate_reference("mean", None, folder, fitted, NAMES, settings())
    errors = {r["metric"]: r["value"] for r in mean["metrics"].to_pylist()}
    assert found["reference", "absolute_error"] < 0.5 * errors["absolute_error"]
    axes = {(r["estimate"], r["axis"]) for r in tables["calibration"].to_pylist()}
    assert ("predictive", "position") in axes
    assert tables["codes"].num_rows == tables["confusion"].num_rows == 0
    shown = tables["examples"].to_pylist()
    assert all(row["low"] < row["mean"] < row["high"] for row in shown)
