"""Errors by phase and before the peak, against pandas over the measurements themselves."""

import numpy as np
import pandas as pd
import pytest

from daep_ray.evaluate.phases import CENTRES, HALF_WIDTH, phases_of
from daep_ray.evaluate.run import Run, evaluate_reference
from daep_ray.evaluate.tables import Tables
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.bins import evaluation_batches
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.train.checkpoint import Trained

from .conftest import NAMES, SETTINGS, settings


@pytest.mark.parametrize("estimate", ["one_draw", "mean_of_draws", "from_photometry"])
def test_errors_by_phase_are_those_of_the_measurements(
    tables: Tables, points: pd.DataFrame, estimate: str
) -> None:
    frame = points[points.modality == "spectrum"]
    frame = frame[frame.has_other] if estimate.startswith("from_") else frame
    rows = [
        r
        for r in tables["calibration"].to_pylist()
        if (r["axis"], r["metric"], r["estimate"]) == ("phase", "squared_error", estimate)
    ]
    assert {r["modality"] for r in rows} == {"spectrum"}
    assert len(rows) >= 3
    found = {r["low"]: r for r in rows}
    for centre in CENTRES:
        inside = frame[(frame.phase >= centre - HALF_WIDTH) & (frame.phase < centre + HALF_WIDTH)]
        per_object = inside.groupby(["object", "sample"])[f"square {estimate}"].mean()
        per_object = per_object.groupby("object").mean()
        assert (centre - HALF_WIDTH in found) == bool(len(per_object))
        if len(per_object):
            row = found[centre - HALF_WIDTH]
            assert row["high"] == centre + HALF_WIDTH
            assert row["count"] == len(per_object)
            # another packing of float32 sums
            assert row["value"] == pytest.approx(per_object.mean(), rel=1e-4)
            if len(per_object) > 1:
                assert row["sd"] == pytest.approx(per_object.std(), rel=1e-3)


def test_coverage_and_width_are_told_by_phase_with_their_target(tables: Tables) -> None:
    rows = [r for r in tables["calibration"].to_pylist() if r["axis"] == "phase"]
    for estimate in ("draws", "from_photometry"):
        mine = {r["metric"]: r for r in rows if r["estimate"] == estimate}
        assert {"coverage_50", "width_95", "crps"} <= set(mine)
        assert mine["coverage_90"]["target"] == pytest.approx(0.9 * 3 / 5)
        assert mine["width_90"]["target"] is None


@pytest.mark.parametrize("estimate", ["draws", "from_photometry"])
def test_intervals_by_phase_are_those_of_the_measurements(
    tables: Tables, points: pd.DataFrame, estimate: str
) -> None:
    """Every level in every bin: over a spectrum, over an object's spectra, over objects."""
    frame = points[points.modality == "spectrum"]
    frame = frame[frame.has_other] if estimate.startswith("from_") else frame
    rows = [r for r in tables["calibration"].to_pylist() if r["axis"] == "phase"]
    rows = [r for r in rows if r["estimate"] == estimate and "error" not in r["metric"]]
    assert len({r["low"] for r in rows}) >= 3
    assert len({r["metric"] for r in rows}) == 4 + 4 + 1
    for row in rows:
        inside = frame[(frame.phase >= row["low"]) & (frame.phase < row["high"])]
        of_sample = inside.groupby(["object", "sample"])[f"{row['metric']} {estimate}"].mean()
        of_object = of_sample.groupby("object").mean()
        assert row["count"] == len(of_object)
        # another packing of float32 sums moves a truth at an interval's very end
        assert row["value"] == pytest.approx(of_object.mean(), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("modality", NAMES)
@pytest.mark.parametrize("source", ["all", "other"])
def test_intervals_by_position_are_of_the_samples_that_can_be_told(
    tables: Tables, points: pd.DataFrame, modality: str, source: str
) -> None:
    """Against wavelength and time, both ways: the bins together hold every measurement once."""
    other = next(n for n in NAMES if n != modality)
    estimate = "draws" if source == "all" else f"from_{other}"
    frame = points[points.modality == modality]
    frame = frame if source == "all" else frame[frame.has_other]
    rows = tables["calibration"].to_pylist()
    place = (modality, "position", estimate)
    rows = [r for r in rows if (r["modality"], r["axis"], r["estimate"]) == place]
    for metric in ("coverage_50", "coverage_95", "width_68", "crps"):
        mine = [r for r in rows if r["metric"] == metric]
        assert sum(r["count"] for r in mine) == len(frame)
        total = sum(r["value"] * r["count"] for r in mine) / len(frame)
        assert total == pytest.approx(frame[f"{metric} {estimate}"].mean(), rel=1e-3)


@pytest.mark.parametrize("estimate", ["draws", "from_photometry"])
def test_intervals_by_phase_and_wavelength_are_those_of_the_measurements(
    tables: Tables, points: pd.DataFrame, estimate: str
) -> None:
    """The bins of a phase together hold all its measurements once, and say what these say."""
    frame = points[points.modality == "spectrum"]
    frame = frame[frame.has_other] if estimate.startswith("from_") else frame
    rows = [r for r in tables["calibration"].to_pylist() if r["estimate"] == estimate]
    rows = [r for r in rows if r["axis"].startswith("position at phase")]
    phases = list(dict.fromkeys(float(r["axis"].split()[-1]) for r in rows))
    assert phases == sorted(phases)
    assert len(phases) >= 3
    for centre in phases:
        inside = frame[(frame.phase >= centre - HALF_WIDTH) & (frame.phase < centre + HALF_WIDTH)]
        for metric in ("coverage_50", "coverage_95", "width_90", "crps"):
            place = (f"position at phase {centre:g}", metric)
            mine = [r for r in rows if (r["axis"], r["metric"]) == place]
            assert 2 <= len(mine) <= 6
            assert sum(r["count"] for r in mine) == len(inside)
            total = sum(r["value"] * r["count"] for r in mine) / len(inside)
            assert total == pytest.approx(inside[f"{metric} {estimate}"].mean(), rel=1e-3)
    nineties = [r["target"] for r in rows if r["metric"] == "coverage_90"]
    assert nineties == pytest.approx([0.9 * 3 / 5] * len(nineties))


@pytest.mark.parametrize("modality", NAMES)
@pytest.mark.parametrize("source", ["all", "other"])
def test_errors_by_position_are_those_of_the_measurements(
    tables: Tables, points: pd.DataFrame, modality: str, source: str
) -> None:
    other = next(n for n in NAMES if n != modality)
    estimate = "mean_of_draws" if source == "all" else f"from_{other}"
    frame = points[points.modality == modality]
    frame = frame if source == "all" else frame[frame.has_other]
    place = (modality, "position", estimate, "squared_error")
    rows = tables["calibration"].to_pylist()
    mine = [r for r in rows if (r["modality"], r["axis"], r["estimate"], r["metric"]) == place]
    assert len(mine) > 10
    assert sum(r["count"] for r in mine) == len(frame)
    total = sum(r["value"] * r["count"] for r in mine) / len(frame)
    assert total == pytest.approx(frame[f"square {estimate}"].mean(), rel=1e-3)


@pytest.mark.parametrize("estimate", ["one_draw", "mean_of_draws", "from_spectrum"])
def test_bias_before_peak_is_that_of_the_measurements(
    tables: Tables, points: pd.DataFrame, estimate: str
) -> None:
    frame = points[(points.modality == "photometry") & (points.days < -1e-6)]
    frame = frame[frame.has_other] if estimate.startswith("from_") else frame
    per_sample = frame.groupby(["object", "sample"])[f"signed {estimate}"].mean()
    per_object = per_sample.groupby("object").mean()
    (row,) = [
        r
        for r in tables["metrics"].to_pylist()
        if (r["metric"], r["estimate"]) == ("bias_before_peak", estimate)
    ]
    assert row["modality"] == "photometry"
    assert row["count"] == len(per_object)
    assert row["value"] == pytest.approx(per_object.mean(), rel=1e-3)
    told = {
        r["object_id"]: r["value"]
        for r in tables["objects"].to_pylist()
        if (r["metric"], r["estimate"]) == ("bias_before_peak", estimate)
    }
    assert told == pytest.approx(per_object.to_dict(), rel=1e-3, abs=1e-5)


def test_a_planted_overestimate_of_the_rise_is_found(shards: ShardFolder, model: Trained) -> None:
    """The training mean, moved by 0.5 before the peak alone: the bias grows by that."""

    class Moved:
        def __init__(self, shift: float) -> None:
            self.shift = shift

        def predict(self, batch):
            days = batch.sequences["photometry"].position[:, 0].double().numpy()
            scale = model.fitted.statistics["photometry"].positions[0]
            rise = days * scale.sd + scale.mean < -1e-3
            return {"photometry": {"reference": (self.shift * rise)[None]}}

        def hidden(self, batch):
            return {}

    def bias(shift: float, name: str) -> float:
        run = Run(shards, model.fitted, ("photometry",), SETTINGS, 4096)
        rows = run.measure(Moved(shift), has_codes=False)["metrics"].to_pylist()  # type: ignore[arg-type]
        return next(r["value"] for r in rows if r["metric"] == name)

    assert bias(0.5, "bias_before_peak") - bias(0.0, "bias_before_peak") == pytest.approx(
        0.5, abs=0.01
    )


def test_times_from_the_first_measurement_have_nothing_before(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    found = evaluate_reference("mean", None, folder, fitted, ("photometry",), settings())
    assert "bias_before_peak" not in found["metrics"]["metric"].to_pylist()


def test_phases_come_back_in_days(shards: ShardFolder, model: Trained) -> None:
    _, table = next(iter(evaluation_batches(shards, model.fitted, NAMES, "train", 10**6)))
    flats = model.fitted.apply(table, NAMES)
    phases = phases_of(model.fitted, "spectrum", flats["spectrum"])
    raw = np.array(table["spectrum.phase"].to_pylist(), float)
    assert phases is not None
    np.testing.assert_allclose(phases, raw, atol=1e-9)
    assert phases_of(model.fitted, "photometry", flats["photometry"]) is None
