"""Equivalent widths and centroids: planted lines come back, against direct integration."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from daep_ray.config import EvaluationConfig
from daep_ray.evaluate.lines import (
    BIAS,
    CENTROID,
    STAR,
    SUPERNOVA,
    WIDTH,
    Window,
    continuum,
    find,
    line_errors,
    lines_of,
    measure,
    rest_wavelengths,
)
from daep_ray.evaluate.references import fit_reference
from daep_ray.evaluate.run import evaluate_reference
from daep_ray.evaluate.tables import Tables
from daep_ray.sample import Axis, Modality
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.bins import evaluation_batches
from daep_ray.stream.fitted import FittedRecipe, unfitted
from daep_ray.stream.flat import FlatSequence, offsets_of
from daep_ray.stream.recipe import ModalityRecipe, Recipe, default_recipe
from daep_ray.stream.statistics import fit_recipe
from daep_ray.stream.value_chain import Log10

STELLAR = Modality(
    name="spectrum",
    value=Axis("flux", "relative"),
    positions=(Axis("wavelength", "Angstrom", frame="rest"),),
)
GRID = np.arange(3500.0, 9200.0, 2.0)
SODIUM = next(line for line in STAR if line.name == "Na D")
SILICON = next(line for line in SUPERNOVA if line.name == "Si II 6355")


def planted(
    wavelength: np.ndarray, at: float, width: float, sigma: float, slope: float = 2e-4
) -> np.ndarray:
    """A Gaussian line of equivalent width `width` (Angstrom) on a sloped continuum."""
    depth = width / (sigma * np.sqrt(2 * np.pi))
    profile = depth * np.exp(-0.5 * ((wavelength - at) / sigma) ** 2)
    return (1.0 + slope * (wavelength - 6000)) * (1.0 - profile)


def spectra(fluxes: list[np.ndarray], wavelengths: list[np.ndarray], **known) -> FlatSequence:
    offsets = offsets_of(np.array([len(f) for f in fluxes]))
    num = int(offsets[-1])
    return FlatSequence(
        value=np.concatenate(fluxes),
        error=None,
        position=np.concatenate(wavelengths)[:, None],
        category=np.zeros((num, 0), np.int64),
        offsets=offsets,
        kept=np.arange(num),
        raw_start=offsets[:-1],
        metadata=known,
        reference=np.zeros((len(fluxes), 1)),
        one_plus_redshift=np.ones((len(fluxes), 1)),
        log_scale=np.zeros(len(fluxes)),
    )


def plain(modality: Modality, *steps) -> FittedRecipe:
    return unfitted(Recipe(modalities={"spectrum": ModalityRecipe(value=steps)}), [modality])


@given(st.floats(0.2, 8.0), st.floats(-3.0, 3.0), st.booleans(), st.floats(-2e-4, 2e-4))
def test_a_planted_line_has_its_width_and_place(
    width: float, shift: float, is_emission: bool, slope: float
) -> None:
    """Within what lies outside the band and what 2 Angstrom resolve."""
    width = -width if is_emission else width
    at = 5893.0 + shift
    flux = planted(GRID, at, width, 4.0, slope)
    window = find(SODIUM, GRID, flux)
    assert window is not None
    found, centroid, _ = measure(window, GRID, flux[None])
    assert found[0] == pytest.approx(width, rel=0.02)
    assert centroid[0] == pytest.approx(at, abs=0.15)


def test_a_measurement_is_that_of_direct_integration() -> None:
    """Of the piecewise linear spectrum, noise and all, by adaptive quadrature."""
    rng = np.random.default_rng(0)
    wavelength = np.sort(rng.uniform(5800, 6000, 150))
    flux = planted(wavelength, 5893.0, 3.0, 4.0) + rng.normal(0, 0.02, 150)
    window = Window((5860.6, 5875.7), (5922.1, 5948.1), 5876.9, 5909.4)

    def mean(low: float, high: float) -> tuple[float, float]:
        some = [(w, f) for w, f in zip(wavelength, flux, strict=True) if low <= w <= high]
        return sum(w for w, _ in some) / len(some), sum(f for _, f in some) / len(some)

    (w0, f0), (w1, f1) = mean(*window.blue), mean(*window.red)

    def depth(at: float) -> float:
        return 1 - np.interp(at, wavelength, flux) / (f0 + (f1 - f0) * (at - w0) / (w1 - w0))

    knots = [w for w in wavelength if window.low < w < window.high]
    ends = (window.low, window.high)
    options = {"points": knots, "limit": 2000}
    width = quad(depth, *ends, **options)[0]
    weight = quad(lambda w: max(depth(w), 0), *ends, **options)[0]
    moment = quad(lambda w: w * max(depth(w), 0), *ends, **options)[0]
    found = measure(window, wavelength, flux[None])
    assert found[0][0] == pytest.approx(width, rel=1e-3)
    assert found[1][0] == pytest.approx(moment / weight, abs=0.05)


def test_the_sides_of_a_broad_line_are_its_shoulders() -> None:
    """A P Cygni-like dip between two bumps: a chord from one to the other."""
    flux = planted(GRID, 6130.0, 90.0, 60.0, slope=0.0)
    for at in (5960.0, 6330.0):
        flux += 0.1 * np.exp(-0.5 * ((GRID - at) / 30) ** 2)
    window = find(SILICON, GRID, flux)
    assert window is not None
    assert window.low == pytest.approx(5955, abs=15)
    assert window.high == pytest.approx(6330, abs=15)
    width, centroid, depth = measure(window, GRID, flux[None])
    low, high = window.low, window.high
    inside = (low <= GRID) & (high >= GRID)
    chord = np.interp(GRID[inside], [low, high], continuum(window, GRID, flux[None])[0])
    assert width[0] == pytest.approx(2.0 * (1 - flux[inside] / chord).sum(), rel=0.02)
    assert centroid[0] == pytest.approx(6130, abs=8)
    assert depth[0] > 0.1


def errors(flat: FlatSequence, told: np.ndarray, modality: Modality = STELLAR) -> dict:
    found = line_errors(plain(modality), "spectrum", flat, {"mean_of_draws": told})
    return {metric: values for (_, metric), values in found.items()}


def test_a_line_that_is_lost_and_one_that_is_shifted() -> None:
    truth = planted(GRID, 5893.0, 3.0, 4.0)
    flat = spectra([truth, truth, truth], [GRID] * 3)
    told = np.concatenate(
        [truth, planted(GRID, 5893.0, 0.0, 4.0), planted(GRID, 5895.5, 3.0, 4.0)]
    )[None]
    found = errors(flat, told)
    np.testing.assert_allclose(found[f"{WIDTH}:Na D"], [0, 3, 0], atol=0.02)
    np.testing.assert_allclose(found[f"{BIAS}:Na D"], [0, -3, 0], atol=0.02)
    assert found[f"{CENTROID}:Na D"][0] == pytest.approx(0, abs=1e-6)
    assert found[f"{CENTROID}:Na D"][2] == pytest.approx(2.5, abs=0.1)
    # the other lines are right, and without a line in the data there is no place to miss
    assert np.isnan(found[f"{CENTROID}:H-beta"]).all()
    assert found[WIDTH][1] == pytest.approx(3.0 / len(STAR), abs=0.01)


def test_draws_are_averaged_after_they_are_measured() -> None:
    """Two draws that are wrong to both sides: their mean is right, each of them is not."""
    truth = planted(GRID, 5893.0, 3.0, 4.0)
    draws = np.stack([planted(GRID, 5893.0, w, 4.0) for w in (1.0, 5.0)])
    flat = spectra([truth], [GRID])
    found = line_errors(plain(STELLAR), "spectrum", flat, {"one_draw": draws})
    assert found["one_draw", f"{WIDTH}:Na D"][0] == pytest.approx(2.0, abs=0.02)
    assert found["one_draw", f"{BIAS}:Na D"][0] == pytest.approx(0.0, abs=0.02)


def test_order_packing_and_the_value_chain_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    flux = planted(GRID, 5893.0, 3.0, 4.0) + rng.normal(0, 0.01, len(GRID))
    told = planted(GRID, 5893.0, 2.0, 4.0)
    mixed = rng.permutation(len(GRID))
    alone = errors(spectra([flux], [GRID]), told[None])
    part = GRID < 5000
    beside = spectra([flux[part], flux[mixed]], [GRID[part], GRID[mixed]])
    together = errors(beside, np.concatenate([told[part], told[mixed]])[None])
    for metric, values in alone.items():
        np.testing.assert_allclose(together[metric][1], values[0], rtol=1e-9, err_msg=metric)
    assert np.isnan(together[f"{WIDTH}:Na D"][0])
    chained = line_errors(
        plain(STELLAR, Log10()),
        "spectrum",
        spectra([np.log10(flux)], [GRID]),
        {"mean_of_draws": np.log10(told)[None]},
    )
    for (_, metric), values in chained.items():
        np.testing.assert_allclose(values, alone[metric], rtol=1e-9, err_msg=metric)


def test_wavelengths_are_those_at_rest() -> None:
    observed = replace(
        STELLAR,
        positions=(Axis("wavelength", "nm", frame="observer"),),
        metadata=(Axis("redshift", ""),),
    )
    redshift = np.array([0.05, np.nan])
    truth, told = planted(GRID, 5893.0, 3.0, 4.0), planted(GRID, 5893.0, 2.0, 4.0)
    flat = spectra([truth] * 2, [GRID / 10 * 1.05] * 2, redshift=redshift)
    rest = rest_wavelengths(plain(observed), "spectrum", flat)
    np.testing.assert_allclose(rest[: len(GRID)], GRID)
    found = errors(flat, np.tile(told, 2)[None], observed)
    assert found[f"{WIDTH}:Na D"][0] == pytest.approx(1.0, abs=0.02)
    assert np.isnan(found[f"{WIDTH}:Na D"][1])


@pytest.mark.parametrize(
    "changes",
    [
        {"positions": (Axis("wavelength", "Angstrom", frame="observer"),)},
        {"positions": (Axis("wavelength", "Angstrom"),)},
        {"positions": (Axis("wavelength", "relative", frame="rest"),)},
        {"positions": (Axis("time", "day", is_time=True),)},
        {"value": Axis("brightness", "mag")},
    ],
)
def test_what_has_no_rest_frame_has_no_lines(changes: dict) -> None:
    modality = replace(STELLAR, **changes)
    assert lines_of(modality) == ()
    assert errors(spectra([np.ones(9)], [np.arange(9.0)]), np.ones((1, 9)), modality) == {}


def test_a_spectrum_with_a_phase_is_a_supernova() -> None:
    assert lines_of(replace(STELLAR, metadata=(Axis("phase", "day"),))) == SUPERNOVA
    assert lines_of(STELLAR) == STAR


def test_coarse_cut_and_negative_spectra_are_left_out() -> None:
    coarse, cut = GRID[::10], GRID[GRID < 5930]
    gap = GRID[(GRID < 5880) | (GRID > 5900)]
    for wavelength, flux in (
        (coarse, np.ones(len(coarse))),
        (cut[cut < 5910], np.ones((cut < 5910).sum())),
        (gap, np.ones(len(gap))),
        (GRID, -np.ones(len(GRID))),
    ):
        found = errors(spectra([flux], [wavelength]), flux[None])
        assert np.isnan(found.get(f"{WIDTH}:Na D", np.array([np.nan]))[0])


@pytest.mark.slow
def test_silicon_of_real_supernovae_is_as_strong_as_the_literature_says(
    shared_data: Path, tmp_path: Path
) -> None:
    """SNe Ia within five days of maximum: some 100 Angstrom strong, and blueshifted by some 10,000
    km/s, to 6140 (G. Folatelli et al. 2013, ApJ 773, 53, who published these spectra)."""
    from daep_ray.shards.ingest import ingest
    from daep_ray.shards.read import read_rows

    ingest("ascii", shared_data / "csp_spectra.tar.xz", tmp_path / "csp", {"dialect": "csp"})
    folder = ShardFolder.open(tmp_path / "csp")
    modality = folder.modalities["spectrum"]
    rows = read_rows(folder, np.arange(folder.lengths().num_rows))
    flat = plain(modality).apply(rows, ("spectrum",))["spectrum"]
    near = np.flatnonzero(np.abs(flat.metadata["phase"]) < 5)
    widths, places = [], []
    for i in near:
        part = slice(flat.offsets[i], flat.offsets[i + 1])
        wavelength, flux = flat.position[part, 0], flat.value[part]
        if (window := find(SILICON, wavelength, flux)) is not None:
            width, place, _ = measure(window, wavelength, flux[None])
            widths.append(width[0])
            places.append(place[0])
    assert len(widths) > 50
    assert np.median(widths) == pytest.approx(100, abs=20)
    assert np.mean((np.array(widths) > 40) & (np.array(widths) < 180)) > 0.9
    assert np.median(places) == pytest.approx(6140, abs=40)


def test_tables_tell_lines_one_by_one_and_their_mean(synthetic_shards: Path) -> None:
    """The training mean of supernovae at any redshift; an object's spectra are averaged first."""
    folder = ShardFolder.open(synthetic_shards)
    fitted = fit_recipe(folder, default_recipe(folder.manifest))
    settings = EvaluationConfig(max_objects=60, num_conformal_objects=0)

    def told(token_budget: int) -> Tables:
        budget = settings.model_copy(update={"token_budget": token_budget})
        return evaluate_reference("mean", None, folder, fitted, ("spectrum",), budget)

    tables = told(100_000)
    mean = fit_reference(0, folder, fitted, ("spectrum",), 100_000)
    by_object: dict[str, dict[str, list[float]]] = {}
    for batch, rows in evaluation_batches(folder, fitted, ("spectrum",), "test", 1, max_samples=60):
        flat = fitted.apply(rows, ("spectrum",))["spectrum"]
        found = line_errors(fitted, "spectrum", flat, mean.predict(batch)["spectrum"])
        for (_, metric), values in found.items():
            for owner, number in zip(batch.objects, values, strict=True):
                if np.isfinite(number):
                    by_object.setdefault(metric, {}).setdefault(owner, []).append(number)
    expected = {m: np.mean([np.mean(v) for v in o.values()]) for m, o in by_object.items()}
    assert len(expected) > 3 * 4
    rows = [r for r in tables["groups"].to_pylist() if r["axis"] == "line"]
    metrics = [r for r in tables["metrics"].to_pylist() if r["metric"].startswith("line")]
    told_of = {f"{r['metric']}:{r['name']}": r["value"] for r in rows}
    told_of |= {r["metric"]: r["value"] for r in metrics}
    assert told_of == pytest.approx({m: float(v) for m, v in expected.items()})
    assert {r["metric"] for r in metrics} == {WIDTH, BIAS, CENTROID}
    assert {r["name"] for r in rows} <= {line.name for line in SUPERNOVA}
    assert all(r["count"] == len(by_object[f"{r['metric']}:{r['name']}"]) for r in rows)
    assert told(500)["groups"].equals(tables["groups"])
