"""PCA and the mean as references: exact where the data are linear, blind to the test split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from daep_ray.evaluate.references import LEAST_WEIGHT, Reference, _gridded, fit_reference
from daep_ray.evaluate.run import evaluate_reference
from daep_ray.evaluate.tables import Tables
from daep_ray.sample import Sample, Sequence
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.split import split_of
from daep_ray.stream.bins import evaluation_batches
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.recipe import ModalityRecipe, Recipe
from daep_ray.stream.statistics import fit_recipe

from .conftest import make_samples, settings, write_survey

PLAIN = Recipe(modalities={"photometry": ModalityRecipe()})
NAMES = ("photometry",)
TIMES = np.linspace(0.0, 99.0, 100)


def linear_sequence(rng: np.random.Generator, scores: np.ndarray, offset: float = 0.0) -> Sequence:
    """A random part of a curve that is linear in three scores, on a regular grid, two bands."""
    keep = np.sort(rng.choice(len(TIMES), rng.integers(40, 90), replace=False))
    band = rng.integers(1, 3, len(keep)).astype(np.int16)
    phase = TIMES[keep] / 100
    basis = np.stack([np.sin(3 * phase), np.cos(5 * phase), phase * band], axis=1)
    value = 3.0 * band + basis @ scores + offset
    extras = {"noiseless": value}
    return Sequence(value, {"time": TIMES[keep]}, None, {"band": band}, {}, extras)


def linear_samples(num: int, offset_of_test: float = 0.0) -> list[Sample]:
    rng = np.random.default_rng(0)
    samples = []
    for i in range(num):
        offset = offset_of_test if split_of(f"o{i}") == "test" else 0.0
        sequence = linear_sequence(rng, rng.normal(size=3) * [4, 2, 2], offset)
        samples.append(Sample(f"o{i}", f"o{i}", {"photometry": sequence}, {"class": "Ia"}))
    return samples


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> ShardFolder:
    return write_survey(tmp_path_factory.mktemp("linear") / "data", linear_samples(400))


@pytest.fixture(scope="module")
def linear_fitted(linear: ShardFolder) -> FittedRecipe:
    return fit_recipe(linear, PLAIN)


def error(tables: Tables, metric: str = "absolute_error") -> float:
    frame = tables["metrics"].to_pandas().set_index("metric")
    return float(frame.loc[metric, "value"])


def test_linear_data_need_as_many_floats_as_they_have_scores(
    linear: ShardFolder, linear_fitted: FittedRecipe
) -> None:
    where = (linear, linear_fitted, NAMES, settings(num_conformal_objects=0))
    errors = [error(evaluate_reference("pca", q, *where)) for q in (1, 2, 3)]
    mean = error(evaluate_reference("mean", None, *where))
    assert mean > errors[0] > errors[1] > errors[2]
    # what is left is the interpolation of 100 points by 100 bins
    assert errors[2] < 0.01 * mean


def test_the_mean_is_that_of_the_training_split(
    linear: ShardFolder, linear_fitted: FittedRecipe
) -> None:
    """At the grid's own points: the mean over training samples per time and band, by hand."""
    values: dict[tuple[float, int], list[float]] = {}
    for sample in linear_samples(400):
        if split_of(sample.object_id) == "train":
            s = sample.sequences["photometry"]
            for t, b, v in zip(s.positions["time"], s.categories["band"], s.value, strict=True):
                values.setdefault((float(t), int(b)), []).append(float(v))
    mean = fit_reference(0, linear, linear_fitted, NAMES, 10_000)
    scale = linear_fitted.statistics["photometry"].value[0]
    assert len(mean.grids["photometry"].centres[0]) >= 100, "bins must resolve the regular grid"
    batch, table = next(evaluation_batches(linear, linear_fitted, NAMES, "test", 1000))
    predicted = mean.predict(batch)["photometry"]["reference"][0] * scale.sd + scale.mean
    times = np.concatenate(table["photometry.time"].to_pylist())
    bands = np.concatenate(table["photometry.band"].to_pylist())
    expected = [np.mean(values[float(t), int(b)]) for t, b in zip(times, bands, strict=True)]
    np.testing.assert_allclose(predicted, expected, atol=0.15)
    assert np.abs(predicted - expected).mean() < 0.02


def test_nothing_is_learnt_from_the_test_split(
    tmp_path: Path, linear: ShardFolder, linear_fitted: FittedRecipe
) -> None:
    other = write_survey(tmp_path / "data", linear_samples(400, offset_of_test=1e3))
    here = fit_reference(3, linear, linear_fitted, NAMES, 10_000)
    there = fit_reference(3, other, fit_recipe(other, PLAIN), NAMES, 10_000)
    np.testing.assert_array_equal(here.model.directions, there.model.directions)
    np.testing.assert_array_equal(here.model.mean, there.model.mean)


def test_gridded_values_are_weighted_means_by_hand(
    linear: ShardFolder, linear_fitted: FittedRecipe
) -> None:
    reference = fit_reference(1, linear, linear_fitted, NAMES, 10_000)
    grid = reference.grids["photometry"]
    centres, num_bins = grid.centres[0], len(grid.centres[0])
    batch, _ = next(evaluation_batches(linear, linear_fitted, NAMES, "test", 300))
    sequence = batch.sequences["photometry"]
    assert sequence.value is not None
    found = _gridded(batch, reference.grids)
    of_sample = sequence.sample_index.numpy()
    # a centre well inside, and its neighbours: the hat that linear interpolation makes
    for sample in range(batch.num_samples):
        for band in (1, 2):
            for place in (20, 50, 80):
                low, here, high = centres[place - 1 : place + 2]
                mine = (of_sample == sample) & (sequence.category[:, 0].numpy() == band)
                position = sequence.position[:, 0].double().numpy()[mine]
                hat = np.interp(position, [low, here, high], [0.0, 1.0, 0.0])
                value = found[sample, band * num_bins + place]
                if hat.sum() <= LEAST_WEIGHT:
                    assert np.isnan(value)
                else:
                    expected = np.average(sequence.value.double().numpy()[mine], weights=hat)
                    assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_code_is_the_least_squares_solution(
    linear: ShardFolder, linear_fitted: FittedRecipe
) -> None:
    reference = fit_reference(3, linear, linear_fitted, NAMES, 10_000)
    batch, _ = next(evaluation_batches(linear, linear_fitted, NAMES, "test", 10_000))
    sequence = batch.sequences["photometry"]
    mean, basis = reference._design("photometry", sequence)
    assert sequence.value is not None
    residual = sequence.value.numpy() - mean
    for i, code in enumerate(reference.codes(batch)):
        part = slice(int(sequence.offsets[i]), int(sequence.offsets[i + 1]))
        best = np.linalg.lstsq(basis[part], residual[part], rcond=None)[0]
        np.testing.assert_allclose(code, best, atol=1e-3)


def test_a_code_does_not_depend_on_the_batch(folder: ShardFolder, fitted: FittedRecipe) -> None:
    reference = fit_reference(6, folder, fitted, NAMES, 10_000)

    def codes(budget: int) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for batch, _ in evaluation_batches(folder, fitted, NAMES, "test", budget):
            found.update(zip(batch.sample_ids, reference.codes(batch), strict=True))
        return found

    alone, together = codes(1), codes(100_000)
    assert alone.keys() == together.keys()
    for sample_id, code in alone.items():
        np.testing.assert_allclose(code, together[sample_id], rtol=1e-9, atol=1e-12)


def test_a_sample_with_fewer_points_than_floats_has_a_finite_code(
    tmp_path: Path,
) -> None:
    samples = make_samples(120)
    samples.append(
        Sample("short", "short", {"photometry": first_points(samples[0], 1)}, {}, "test")
    )
    folder = write_survey(tmp_path / "data", samples)
    fitted = fit_recipe(folder, PLAIN)
    reference = fit_reference(16, folder, fitted, NAMES, 10_000)
    largest = max(
        np.abs(reference.codes(batch)).max()
        for batch, _ in evaluation_batches(folder, fitted, NAMES, "test", 10_000)
    )
    assert largest < 100  # scores have unit variance


def first_points(sample: Sample, num: int) -> Sequence:
    s = sample.sequences["photometry"]
    assert s.error is not None
    cut = {name: values[:num] for name, values in s.positions.items()}
    bands, truth = s.categories["band"][:num], s.extras["noiseless"][:num]
    return Sequence(s.value[:num], cut, s.error[:num], {"band": bands}, {}, {"noiseless": truth})


def test_one_seed_one_table(folder: ShardFolder, fitted: FittedRecipe) -> None:
    first = evaluate_reference("pca", 4, folder, fitted, NAMES, settings())
    again = evaluate_reference("pca", 4, folder, fitted, NAMES, settings())
    assert all(first[name].equals(again[name]) for name in first)


def test_the_reference_of_two_modalities_shares_its_floats(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    """The same modality twice under two names: one code explains both."""
    reference = fit_reference(4, folder, fitted, NAMES, 10_000)
    grid = reference.grids["photometry"]
    model = reference.model
    twice = Reference(
        ("photometry", "copy"),
        {"photometry": grid, "copy": grid},
        type(model)(np.tile(model.mean, 2), np.concatenate([model.directions] * 2), model.variance),
    )
    batch, _ = next(evaluation_batches(folder, fitted, NAMES, "test", 10_000))
    sequences = dict.fromkeys(twice.grids, batch.sequences["photometry"])
    doubled = type(batch)(batch.sample_ids, sequences)
    codes = twice.codes(doubled)
    assert codes.shape == (batch.num_samples, 4)
    predictions = twice.predict(doubled)
    np.testing.assert_allclose(
        predictions["photometry"]["reference"], predictions["copy"]["reference"]
    )
    # twice the data against the same ridge: the code of one copy with half of it
    halved = Reference(NAMES, {"photometry": grid}, replace(model, variance=model.variance / 2))
    np.testing.assert_allclose(codes, halved.codes(batch), rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_snid_gives_the_figures_of_an_independent_prototype(
    shared_data: Path, tmp_path: Path
) -> None:
    """128 points per spectrum, held-out supernovae: 0.269 and 0.225 with 8 and 16 floats, mean
    0.583 over spectra of another split; a split of 39 supernovae differs by some 5 %."""
    from daep_ray.shards.ingest import ingest

    out = tmp_path / "snid"
    ingest("snid", shared_data / "snid_templates.tar.xz", out)
    folder = ShardFolder.open(out)
    fitted = fit_recipe(folder, Recipe(modalities={"spectrum": ModalityRecipe(max_length=128)}))
    where = (folder, fitted, ("spectrum",), settings(probe_label=None, num_conformal_objects=0))
    assert error(evaluate_reference("pca", 8, *where)) == pytest.approx(0.269, rel=0.08)
    assert error(evaluate_reference("pca", 16, *where)) == pytest.approx(0.225, rel=0.08)
