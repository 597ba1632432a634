"""Peaks by a Gaussian process: against known ones, who has none, and what is remembered."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daep_ray.errors import DataError
from daep_ray.sample import Axis, Category, Modality, Sample, Sequence
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import table_from_samples
from daep_ray.shards.write import write_shards
from daep_ray.stream import peak as peaks_of
from daep_ray.stream.excluded import summary
from daep_ray.stream.fitted import unfitted
from daep_ray.stream.flat import list_values
from daep_ray.stream.peak import FittedPeak, Peak, brightest, find_peak
from daep_ray.stream.recipe import ModalityRecipe, Recipe, recipe_hash
from daep_ray.stream.recipe_check import check_recipe
from daep_ray.stream.selection import KeepCategory
from daep_ray.stream.statistics import excluded_samples, fit_recipe
from tests.stream.conftest import FakeSurvey

MAGNITUDES = Modality(
    name="photometry",
    value=Axis("magnitude", "mag"),
    positions=(Axis("time", "day", is_time=True, frame="observer"),),
    categories=(Category("band", ("unknown", "g", "r", "i")),),
)
RECIPE = Recipe(
    modalities={"photometry": ModalityRecipe(positions={"time": (FittedPeak(words=("r",)),)})}
)


def parabola(peak: float, times: np.ndarray) -> np.ndarray:
    """Magnitudes that are brightest at `peak`."""
    return 17.0 + 0.004 * (times - peak) ** 2


@pytest.mark.parametrize("peak", [59_990.0, 60_003.3, 60_011.7])
def test_the_peak_of_a_smooth_light_curve_is_found(peak):
    rng = np.random.default_rng(1)
    times = np.sort(60_000 + rng.uniform(-30, 40, 30))
    noisy = parabola(peak, times) + rng.normal(0, 0.03, 30)
    assert brightest(times, noisy, 500) == pytest.approx(peak, abs=1.0)


def test_a_second_implementation_agrees_with_the_curve():
    """The mean of the same process, written out: K (K + noise)^-1 y, on the same grid."""
    rng = np.random.default_rng(2)
    times = np.sort(rng.uniform(0, 60, 25))
    magnitude = parabola(22.0, times) + rng.normal(0, 0.05, 25)
    x = (times - times.mean()) / times.std()
    y = (magnitude - magnitude.mean()) / magnitude.std()
    process = peaks_of._gaussian_process(x, y)
    product, noise = process.kernel_.k1, process.kernel_.k2.noise_level
    amplitude, scale = product.k1.constant_value, product.k2.length_scale

    def covariance(a, b):
        return amplitude * np.exp(-0.5 * ((a[:, None] - b[None, :]) / scale) ** 2)

    grid = np.linspace(x[0], x[-1], 500)
    weights = np.linalg.solve(covariance(x, x) + (noise + 1e-10) * np.eye(25), y)
    best = grid[np.argmin(covariance(grid, x) @ weights)] * times.std() + times.mean()
    assert brightest(times, magnitude, 500) == pytest.approx(best, abs=0.2)


def test_the_order_of_measurements_and_other_bands_change_nothing():
    times = np.linspace(0, 50, 20)
    magnitude, words = parabola(20, times), np.array(["r"] * 20)
    alone = find_peak(FittedPeak(), times, magnitude, words)
    both = (np.append(times, 12.0), np.append(magnitude, 10.0), np.append(words, "g"))
    turned = np.random.default_rng(0).permutation(21)
    assert find_peak(FittedPeak(), *(array[turned] for array in both)).position == pytest.approx(
        alone.position, abs=1e-6
    )


@pytest.mark.parametrize(
    ("step", "times", "words", "reason"),
    [
        (FittedPeak(), [1, 2], "rr", "fewer than 3 points in r"),
        (FittedPeak(), [1, 2, 3, 4], "gggr", "fewer than 3 points in r"),
        (FittedPeak(), [20, 25, 30, 35], "rrrr", "no point of r before the peak"),
        (FittedPeak(), [1, 5, 10, 15], "rrrr", "no point of r after the peak"),
        (FittedPeak(also=("g",)), [5, 10, 20, 30, 35], "rrrrr", "no point of g before the peak"),
        (FittedPeak(also=("g",)), [1, 5, 10, 20, 30, 35], "grrrrr", "no point of g after"),
    ],
)
def test_who_has_no_peak_is_told_why(step, times, words, reason):
    times = np.array(times, float)
    found = find_peak(
        step, times, parabola(20 if len(times) > 4 else 18, times), np.array([*words])
    )
    assert np.isnan(found.position)
    assert found.reason.startswith(reason)


def test_fluxes_and_magnitudes_have_one_peak():
    times = np.linspace(0, 50, 20)
    magnitude = parabola(20, times)
    flux = Modality("photometry", Axis("flux", "FLUXCAL"), MAGNITUDES.positions)
    back = peaks_of.magnitudes(10 ** (0.4 * (27.5 - magnitude)), flux)
    np.testing.assert_allclose(back - back[0], magnitude - magnitude[0], atol=1e-12)
    assert np.isnan(peaks_of.magnitudes(np.array([0.0, -3.0]), flux)).all()


def light_curve(rng: np.random.Generator, peak: float, low: float, high: float) -> Sequence:
    times = np.sort(peak + rng.uniform(low, high, 12))
    return Sequence(
        value=parabola(peak, times) + rng.normal(0, 0.02, 12),
        error=np.full(12, 0.02),
        positions={"time": times},
        categories={"band": rng.permutation([1] * 4 + [2] * 8).astype(np.int16)},
    )


def make_samples(num: int, low: float = -20, high: float = 30, seed: int = 0) -> list[Sample]:
    rng = np.random.default_rng(seed)
    return [
        Sample(f"s{i}", f"o{i}", {"photometry": light_curve(rng, 60_000.0 + i, low, high)})
        for i in range(num)
    ]


def write(out: Path, samples: list[Sample]) -> ShardFolder:
    survey = FakeSurvey((MAGNITUDES,), lambda: iter(samples), {"format": "fake"})
    write_shards(survey, out)
    return ShardFolder.open(out)


@settings(max_examples=4)
@given(st.integers(0, 1000))
def test_positions_counted_from_a_fitted_peak_invert(seed):
    samples = make_samples(3, seed=seed)
    fitted = unfitted(RECIPE, [MAGNITUDES])
    table = table_from_samples(samples, (MAGNITUDES,))
    flat = fitted.apply(table, ["photometry"])["photometry"]
    back = fitted.invert_position("photometry", flat.position, flat)[:, 0]
    np.testing.assert_allclose(back, list_values(table, "photometry.time")[flat.kept], rtol=1e-14)


def test_the_excluded_are_counted_with_reasons_in_a_file(tmp_path: Path):
    late = [
        Sample(f"late{i}", f"late{i}", s.sequences)
        for i, s in enumerate(make_samples(4, low=5, high=40, seed=1))
    ]
    folder = write(tmp_path / "data", make_samples(10) + late)
    fitted = fit_recipe(folder, RECIPE)
    table = excluded_samples(folder, RECIPE)
    assert set(table["sample_id"].to_pylist()) == {f"late{i}" for i in range(4)}
    assert summary(table) == [("photometry", "no point of r before the peak", 4)]
    assert fitted.statistics["photometry"].num_emptied == 4
    written = (folder.path / "recipes" / recipe_hash(RECIPE) / "excluded.csv").read_text()
    assert written.count("no point of r before the peak") == 4


def test_a_peak_is_fitted_once_and_then_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write(tmp_path / "data", make_samples(6))
    first = fit_recipe(folder, RECIPE)
    table = folder.read_row_group(0, 0)
    expected = first.apply(table, ["photometry"])["photometry"]
    monkeypatch.setattr(peaks_of, "_memory", {})
    monkeypatch.setattr(peaks_of, "_read_files", set())
    monkeypatch.setattr(peaks_of, "find_peak", _not_again)
    again = fit_recipe(folder, RECIPE).apply(table, ["photometry"], epoch=3)["photometry"]
    np.testing.assert_array_equal(again.reference, expected.reference)


def _not_again(*_) -> Peak:
    raise AssertionError("a peak was fitted again")


def test_an_object_never_seen_is_fitted_when_it_comes(tmp_path: Path):
    fitted = fit_recipe(write(tmp_path / "data", make_samples(5)), RECIPE)
    other = make_samples(1, seed=99)
    flat = fitted.apply(table_from_samples(other, (MAGNITUDES,)), ["photometry"])["photometry"]
    assert flat.reference[0, 0] == pytest.approx(60_000.0, abs=2.0)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (FittedPeak(words=("R",)), "names the band 'R'.*they have g, i, r"),
        (FittedPeak(category="filter"), "names the category 'filter'.*they have band"),
        (FittedPeak(also=("z",)), "names the band 'z'"),
    ],
)
def test_a_band_that_is_not_there_is_one_clear_sentence(step, said):
    recipe = Recipe(modalities={"photometry": ModalityRecipe(positions={"time": (step,)})})
    with pytest.raises(DataError, match=said):
        check_recipe(recipe, {"photometry": MAGNITUDES})


def test_selections_come_before_the_fit():
    """Other bands left out first: the peak is the same, the positions of r alone stay."""
    part = ModalityRecipe(
        positions={"time": (FittedPeak(words=("r",)),)}, selection=(KeepCategory(words=("r",)),)
    )
    table = table_from_samples(make_samples(3), (MAGNITUDES,))
    flats = [
        unfitted(r, [MAGNITUDES]).apply(table, ["photometry"])["photometry"]
        for r in (RECIPE, Recipe(modalities={"photometry": part}))
    ]
    np.testing.assert_allclose(flats[1].reference, flats[0].reference)
    assert (flats[1].category == 2).all()
