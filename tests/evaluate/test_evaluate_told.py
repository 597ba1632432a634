"""What one modality says of another, by phase and position, both ways: against the measurements."""

import numpy as np
import pandas as pd
import pytest

from daep_ray.evaluate.phases import CENTRES, HALF_WIDTH
from daep_ray.evaluate.profiles import shown_position
from daep_ray.evaluate.tables import Tables
from daep_ray.train.checkpoint import Trained

from .conftest import NAMES


@pytest.mark.parametrize(
    "metric", ["squared_error", "absolute_error", "coverage_90", "width_68", "crps"]
)
def test_a_light_curve_is_judged_by_the_phase_of_the_spectrum_it_is_told_from(
    tables: Tables, points: pd.DataFrame, metric: str
) -> None:
    """And only what is told from it: over a light curve, over an object's, over objects."""
    frame = points[(points.modality == "photometry") & points.has_other]
    rows = [r for r in tables["calibration"].to_pylist() if r["axis"] == "phase of spectrum"]
    assert {(r["modality"], r["estimate"]) for r in rows} == {("photometry", "from_spectrum")}
    mine = {r["low"]: r for r in rows if r["metric"] == metric}
    column = {"squared_error": "square", "absolute_error": "off"}.get(metric, metric)
    assert len(mine) >= 3
    for centre in CENTRES:
        inside = frame[(frame.phase >= centre - HALF_WIDTH) & (frame.phase < centre + HALF_WIDTH)]
        of_sample = inside.groupby(["object", "sample"])[f"{column} from_spectrum"].mean()
        of_object = of_sample.groupby("object").mean()
        assert (centre - HALF_WIDTH in mine) == bool(len(of_object))
        if len(of_object):
            row = mine[centre - HALF_WIDTH]
            assert (row["high"], row["count"]) == (centre + HALF_WIDTH, len(of_object))
            assert row["value"] == pytest.approx(of_object.mean(), rel=1e-3, abs=1e-4)
            wanted = 0.9 * 3 / 5 if metric == "coverage_90" else None
            assert row["target"] == (wanted and pytest.approx(wanted))


@pytest.mark.parametrize("estimate", ["mean_of_draws", "from_photometry"])
def test_errors_by_phase_and_wavelength_are_those_of_the_measurements(
    tables: Tables, points: pd.DataFrame, estimate: str
) -> None:
    """The bins of a phase together hold all its measurements once, and say what these say."""
    frame = points[points.modality == "spectrum"]
    frame = frame[frame.has_other] if estimate.startswith("from_") else frame
    rows = [r for r in tables["calibration"].to_pylist() if r["estimate"] == estimate]
    found = 0
    for centre in CENTRES:
        inside = frame[(frame.phase >= centre - HALF_WIDTH) & (frame.phase < centre + HALF_WIDTH)]
        for metric, column in (("squared_error", "square"), ("absolute_error", "off")):
            place = (f"position at phase {centre:g}", metric)
            mine = [r for r in rows if (r["axis"], r["metric"]) == place]
            assert bool(mine) == bool(len(inside))
            assert sum(r["count"] for r in mine) == len(inside)
            total = sum(r["value"] * r["count"] for r in mine)
            assert total == pytest.approx(inside[f"{column} {estimate}"].sum(), rel=1e-3)
            found += len(mine)
    assert found >= 12


def edges_in_z(rows: list[dict], trained: Trained, modality: str) -> np.ndarray:
    """Of consecutive bins in days or Angstrom, in the model's units."""
    scale = trained.fitted.statistics[modality].positions[0]
    shown = np.array([*(r["low"] for r in rows), rows[-1]["high"]])
    is_log = shown_position(trained.fitted, modality, np.zeros(1))[0] != pytest.approx(scale.mean)
    return ((np.log(shown) if is_log else shown) - scale.mean) / scale.sd


@pytest.mark.parametrize(
    ("modality", "within", "phase"),
    [
        ("spectrum", "", None),
        ("spectrum", "", 0.0),
        ("photometry", "g", None),
        ("photometry", "r", None),
    ],
)
def test_residuals_told_from_another_modality_are_those_of_the_measurements(
    tables: Tables,
    points: pd.DataFrame,
    model: Trained,
    modality: str,
    within: str,
    phase: float | None,
) -> None:
    """Both ways: the median and 16-84 % of the residual in every bin, against numpy's."""
    source = next(n for n in NAMES if n != modality)
    frame = points[(points.modality == modality) & points.has_other]
    axis = "position"
    if within:
        vocabulary = model.fitted.modalities[modality].categories[0].vocabulary
        frame, axis = frame[frame.band == vocabulary.index(within)], f"{axis} in {within}"
    if phase is not None:
        frame = frame[(frame.phase >= phase - HALF_WIDTH) & (frame.phase < phase + HALF_WIDTH)]
        axis = f"{axis} at phase {phase:g}"
    place = (modality, f"from_{source}", axis)
    rows = [
        r
        for r in tables["calibration"].to_pylist()
        if (r["modality"], r["estimate"], r["axis"]) == place
    ]
    for metric, level in (("residual_16", 0.16), ("residual_50", 0.5), ("residual_84", 0.84)):
        mine = sorted((r for r in rows if r["metric"] == metric), key=lambda r: r["low"])
        assert len(mine) >= 3
        for row in mine:
            low, high = edges_in_z([row], model, modality)
            inside = frame[(frame.place >= low - 1e-6) & (frame.place <= high + 1e-6)]
            residual = inside[f"signed from_{source}"].to_numpy()
            # a measurement at an edge may be on either side
            assert row["count"] == pytest.approx(len(residual), abs=0.02 * len(residual) + 1)
            near = [np.quantile(residual, np.clip(level + d, 0, 1)) for d in (-0.03, 0.03)]
            slack = 0.01 * abs(row["value"]) + 1e-3
            assert near[0] - slack <= row["value"] <= near[1] + slack


def test_the_profiles_are_of_what_is_told_from_everything_alone(
    tables: Tables, points: pd.DataFrame
) -> None:
    """What is told from one modality has its rows in `calibration`."""
    counts = tables["profiles"].to_pandas().groupby("modality")["count"].sum()
    assert counts["spectrum"] == (points.modality == "spectrum").sum()
    told = {
        r["estimate"] for r in tables["calibration"].to_pylist() if "residual_50" in r["metric"]
    }
    assert told == {"mean_of_draws", "from_photometry", "from_spectrum"}
