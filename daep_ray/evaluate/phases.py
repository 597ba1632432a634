"""Errors and calibration by phase: how well a spectrum is told at -10, 0, 10, 20 and 30 days.

In: errors per sample with the phase of each. Out: rows of the table `calibration`, mean and sd over
the objects with a sample in the bin; an object's samples in it are averaged first. A modality has
phases where it declares a continuous metadata of that name. What is told from such a modality alone
is binned by its phase too, `phase of spectrum`: how well a light curve is told from a spectrum
taken at -10 days, or at 30.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from daep_ray.evaluate.calibration import LEVELS, target
from daep_ray.evaluate.intervals import is_of_intervals, promised
from daep_ray.evaluate.over_objects import OverObjects
from daep_ray.evaluate.reconstruction import SortedErrors
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import FlatSequence

PHASE = "phase"
PHASE_OF = "phase of "  # and the modality that something is told from
CENTRES = (-10.0, 0.0, 10.0, 20.0, 30.0)  # days, as in Table 4 of the paper
HALF_WIDTH = 5.0  # days; a bin holds its lower edge
BY_PHASE = (
    "absolute_error",
    "squared_error",
    "crps",
    *(f"{name}_{level}" for name in ("coverage", "width") for level in LEVELS),
)


def phases_of(fitted: FittedRecipe, modality: str, flat: FlatSequence) -> np.ndarray | None:
    """(B,) phases in the declared unit, NaN where unknown; None if the modality has none."""
    if PHASE not in [axis.name for axis in fitted.modalities[modality].continuous_metadata]:
        return None
    phases = flat.metadata[PHASE]
    if PHASE not in fitted.continuous_metadata(modality):
        return phases  # the model does not see it, so nothing has standardised it
    scale = fitted.statistics[modality].metadata[PHASE]
    return phases * scale.sd + scale.mean


def near(phases: np.ndarray | None) -> Iterator[tuple[float, np.ndarray]]:
    """(centre, (B,) bool) of the bins that any sample is in; none without phases."""
    if phases is None:
        return
    for centre in CENTRES:
        inside = (phases >= centre - HALF_WIDTH) & (phases < centre + HALF_WIDTH)
        if inside.any():
            yield centre, inside


def is_of_phase(axis: str) -> bool:
    """Whether an axis is the phase of what is told, or of what it is told from."""
    return axis == PHASE or axis.startswith(PHASE_OF)


def by_phase(errors: SortedErrors) -> dict[tuple[str, float], OverObjects]:
    """Over the objects with a sample in the bin, by axis and centre; empty bins are left out."""
    return {
        (axis, centre): errors.where(inside).over_objects()
        for axis, phases in errors.about.items()
        if is_of_phase(axis)
        for centre, inside in near(phases)
    }


def phase_rows(
    found: Mapping[tuple[str, float], OverObjects], num_draws: int
) -> Iterable[dict[str, Any]]:
    """Rows by bin and metric of what `by_phase` found."""
    for axis, centre in sorted(found):
        for (estimate, metric), moments in found[axis, centre].columns.items():
            if metric in BY_PHASE:
                yield {
                    "estimate": estimate,
                    "metric": metric,
                    "axis": axis,
                    "low": centre - HALF_WIDTH,
                    "high": centre + HALF_WIDTH,
                    "value": moments.mean,
                    "target": _target(estimate, metric, num_draws),
                    "sd": moments.sd,
                    "count": moments.count,
                }


def _target(estimate: str, metric: str, num_draws: int) -> float | None:
    if is_of_intervals(estimate):
        return promised(metric)
    name, _, level = metric.rpartition("_")
    return target(num_draws, int(level)) if name == "coverage" else None
