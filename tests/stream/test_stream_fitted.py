"""A fitted recipe: statistics against plain loops, inversion, cache, and what is counted."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.errors import DataError
from daep_ray.sample import Sample
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import table_from_samples
from daep_ray.shards.split import split_of
from daep_ray.stream import statistics as fitting
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import list_values
from daep_ray.stream.position_chain import DivideByOnePlus, Log, Reference
from daep_ray.stream.recipe import ModalityRecipe, Recipe, recipe_hash
from daep_ray.stream.selection import Crop, SignalToNoise
from daep_ray.stream.statistics import Moments, fit_recipe
from daep_ray.stream.value_chain import Arcsinh, Log10, Magnitude, ScaleByMedian
from tests.stream.conftest import PHOTOMETRY, RECIPE, SPECTRUM, make_samples, write_survey

MODALITIES = (PHOTOMETRY, SPECTRUM)


def test_statistics_are_those_of_a_plain_loop(samples: list[Sample], fitted: FittedRecipe):
    """Training split, a shared light curve once, bands apart, float64."""
    values: dict[int, list[float]] = {1: [], 2: [], 3: []}
    days: list[float] = []
    seen = set()
    for sample in samples:
        if split_of(sample.object_id) != "train" or "photometry" not in sample.sequences:
            continue
        if sample.object_id in seen:
            continue
        seen.add(sample.object_id)
        curve = sample.sequences["photometry"]
        flux = curve.value.astype(np.float32).astype(float)
        for band, value in zip(curve.categories["band"], np.arcsinh(flux / 5.0), strict=True):
            values[int(band)].append(value)
        days += list(curve.positions["time"] - curve.positions["time"][np.argmax(flux)])
    statistics = fitted.statistics["photometry"]
    assert statistics.num_sequences == len(seen)
    assert statistics.num_measurements == len(days)
    for band, found in values.items():
        assert statistics.value[band].mean == pytest.approx(np.mean(found))
        assert statistics.value[band].sd == pytest.approx(np.std(found))
    assert statistics.positions[0].mean == pytest.approx(np.mean(days))
    assert statistics.positions[0].sd == pytest.approx(np.std(days))


def test_model_inputs_of_the_training_split_are_standardised(
    folder: ShardFolder, fitted: FittedRecipe
):
    table = folder.read_row_group(0, 0)
    sd = fitted.statistics["spectrum"].value[0].sd
    flat = fitted.apply(table, ["spectrum"])["spectrum"]
    raw = list_values(table, "spectrum.value").astype(float)
    error = list_values(table, "spectrum.error").astype(float)
    scale = 10.0 ** np.repeat(flat.log_scale, flat.lengths)
    expected = (np.arcsinh(raw / scale) - fitted.statistics["spectrum"].value[0].mean) / sd
    np.testing.assert_allclose(flat.value, expected)
    np.testing.assert_allclose(flat.error, error / np.hypot(raw, scale) / sd, rtol=1e-6)


def test_only_the_training_split_is_looked_at(tmp_path: Path):
    samples = make_samples(60)
    other = [s if split_of(s.object_id) == "train" else _brighter(s) for s in samples]
    found = [
        fit_recipe(write_survey(tmp_path / name, content), RECIPE)
        for name, content in (("a", samples), ("b", other), ("c", [_brighter(s) for s in samples]))
    ]
    assert found[0].statistics == found[1].statistics
    assert found[0].statistics != found[2].statistics


def _brighter(sample: Sample) -> Sample:
    sequences = {m: replace(s, value=3 * s.value + 1) for m, s in sample.sequences.items()}
    return replace(sample, sequences=sequences)


PHOTOMETRY_CHAINS = [(), (Arcsinh(scale=3.0),), (ScaleByMedian(),), (Log10(),), (Magnitude(),)]
TIME_CHAINS = [
    (),
    (Reference(),),
    (Reference(at="column:peak", otherwise="first"), DivideByOnePlus()),
    (DivideByOnePlus(), Log()),
]


@given(
    st.sampled_from(PHOTOMETRY_CHAINS),
    st.sampled_from(TIME_CHAINS),
    st.sampled_from([None, 4]),
    st.sampled_from(["modality", "category:band"]),
    st.integers(0, 1000),
)
def test_a_recipe_inverts(chain, time_chain, max_length, z_score, seed):
    samples = make_samples(6, seed)
    part = ModalityRecipe(
        value=chain, positions={"time": time_chain}, max_length=max_length, z_score=z_score
    )
    fitted = _fitted_to(samples, Recipe(modalities={"photometry": part}))
    table = table_from_samples(samples, MODALITIES)
    flat = fitted.apply(table, ["photometry"])["photometry"]
    raw = list_values(table, "photometry.value")[flat.kept].astype(float)
    np.testing.assert_allclose(
        fitted.invert_value("photometry", flat.value, flat), raw, rtol=1e-9, atol=1e-9
    )
    draws = np.stack([flat.value, flat.value + 1.0])[:, None]
    inverted = fitted.invert_value("photometry", draws, flat)
    assert inverted.shape == draws.shape
    np.testing.assert_allclose(inverted[0, 0], raw, rtol=1e-9, atol=1e-9)
    time = list_values(table, "photometry.time")[flat.kept]
    back = fitted.invert_position("photometry", flat.position, flat)
    np.testing.assert_allclose(back[:, 0], time, rtol=1e-12)


def _fitted_to(samples: list[Sample], recipe: Recipe) -> FittedRecipe:
    """Statistics that are neither 0 nor 1, without shards."""
    from daep_ray.stream.fitted import ModalityStatistics, Scale, unfitted

    draft = unfitted(recipe, MODALITIES)
    statistics = {
        name: ModalityStatistics(
            value=tuple(Scale(0.3 + i, 1.7 + i) for i in range(len(s.value))),
            positions=tuple(Scale(2.0, 31.0) for _ in s.positions),
            metadata=s.metadata,
        )
        for name, s in draft.statistics.items()
    }
    return FittedRecipe(recipe, draft.modalities, statistics)


def test_json_holds_everything(folder: ShardFolder, fitted: FittedRecipe):
    again = FittedRecipe.from_json(json.loads(json.dumps(fitted.to_json(), allow_nan=False)))
    assert again == fitted
    assert again.lengths(folder).equals(fitted.lengths(folder))


def test_lengths_after_selection_are_those_of_apply(tmp_path: Path):
    folder = write_survey(tmp_path / "data", make_samples(80))
    recipe = Recipe(
        modalities={
            "photometry": ModalityRecipe(selection=(SignalToNoise(minimum=25.0),), max_length=20),
            "spectrum": ModalityRecipe(
                selection=(Crop(position="wavelength", low=5000, high=5100),)
            ),
        }
    )
    fitted = fit_recipe(folder, recipe)
    lengths = fitted.lengths(folder)
    before = folder.lengths()
    assert lengths.column("sample_id").equals(before.column("sample_id"))
    row = 0
    for shard, group in folder.row_groups():
        table = folder.read_row_group(shard, group)
        for name, flat in fitted.apply(table, ["photometry", "spectrum"]).items():
            found = lengths.column(f"{name}.length").slice(row, len(table)).to_numpy()
            assert np.array_equal(found, flat.lengths)
        row += len(table)
    for name in ("photometry", "spectrum"):
        raw = before.column(f"{name}.length").to_numpy()
        assert np.array_equal(lengths.column(f"{name}.raw_length").to_numpy(), raw)
        kept = lengths.column(f"{name}.length").to_numpy()
        emptied = int(((raw > 0) & (kept == 0)).sum())
        assert fitted.statistics[name].num_emptied == emptied
        assert emptied > 0


@pytest.fixture
def own_folder(tmp_path: Path) -> ShardFolder:
    return write_survey(tmp_path / "data", make_samples(40))


def test_the_cache_is_read_and_not_written_twice(own_folder, monkeypatch):
    first = fit_recipe(own_folder, RECIPE)
    lengths = first.lengths(own_folder)
    monkeypatch.setattr(fitting, "_fit", _not_again)
    assert fit_recipe(own_folder, RECIPE) == first
    assert first.lengths(own_folder).equals(lengths)
    assert [p.name for p in (own_folder.path / "recipes").iterdir()] == [recipe_hash(RECIPE)]


def _not_again(*_):
    raise AssertionError("the shards were scanned again")


def test_a_damaged_or_foreign_cache_is_replaced(own_folder):
    first = fit_recipe(own_folder, RECIPE)
    cache = own_folder.path / "recipes" / recipe_hash(RECIPE)
    (cache / "lengths.arrow").write_bytes(b"cut")
    fitting._fit_in_memory.cache_clear()
    assert fit_recipe(own_folder, RECIPE) == first
    content = json.loads((cache / "statistics.json").read_text())
    (cache / "statistics.json").write_text(json.dumps({**content, "manifest": "another"}))
    assert fit_recipe(own_folder, RECIPE) == first
    assert json.loads((cache / "statistics.json").read_text()) == content
    assert len(list((own_folder.path / "recipes").iterdir())) == 1


def test_two_at_once_leave_one_whole_cache(own_folder):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fit_recipe(own_folder, RECIPE), range(4)))
    assert all(f == found[0] for f in found)
    assert [p.name for p in (own_folder.path / "recipes").iterdir()] == [recipe_hash(RECIPE)]


def test_a_folder_that_cannot_be_written_is_fitted_in_memory(own_folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr(fitting.tempfile, "mkdtemp", refuse)
    scans = []
    original = fitting._fit
    monkeypatch.setattr(fitting, "_fit", lambda *a: scans.append(1) or original(*a))
    fitted = fit_recipe(own_folder, RECIPE)
    assert fitted.lengths(own_folder).num_rows == own_folder.manifest.num_written
    assert len(scans) == 1
    shutil.rmtree(own_folder.path / "recipes", ignore_errors=True)


def test_a_recipe_that_does_not_fit_is_refused(own_folder):
    recipe = Recipe(modalities={"images": ModalityRecipe()})
    with pytest.raises(DataError, match="images"):
        fit_recipe(own_folder, recipe)


@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=20), min_size=1, max_size=6))
def test_moments_merge(parts):
    moments = Moments.zero(2)
    for part in parts:
        moments.add(np.array(part), np.ones(len(part), np.int64))
    whole = np.array([v for part in parts for v in part])
    empty, scale = moments.scales()
    assert (empty.mean, empty.sd) == (0.0, 1.0)
    if len(whole):
        assert scale.mean == pytest.approx(whole.mean(), abs=1e-6)
        expected = whole.std()
        if expected > 1e-9 * np.abs(whole).max():
            assert scale.sd == pytest.approx(expected, rel=1e-6)


def test_a_constant_has_spread_one():
    moments = Moments.zero(1)
    for _ in range(3):
        moments.add(np.full(10, 0.1))
    assert moments.scales()[0].sd == 1.0
