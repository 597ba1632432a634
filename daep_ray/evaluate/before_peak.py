"""Bias before the peak: the mean signed residual of a light curve's rise.

In: measurements with their reconstruction, z units. Out: per sample the mean of reconstruction
minus truth over the measurements before the reference that the recipe counts times from (the peak,
or a column). Positive: the value is told too large, which is too bright for a flux and too faint
for a magnitude. An axis that is counted from the first measurement has nothing before it.
"""

from collections.abc import Mapping

import numpy as np

from daep_ray.evaluate.reconstruction import COPIED, DRAWS_FROM, sample_means
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import FlatSequence
from daep_ray.stream.position_chain import FittedPeak, Reference

METRIC = "bias_before_peak"


def is_before_peak(
    fitted: FittedRecipe, modality: str, flat: FlatSequence, judged: np.ndarray | None
) -> np.ndarray | None:
    """(N,) bool, of the `judged` ones alone; None without a time axis that has such a reference."""
    chains = fitted.recipe.modalities[modality].positions
    for place, axis in enumerate(fitted.modalities[modality].positions):
        steps = chains.get(axis.name, ())
        if axis.is_time and any(_is_reference(step) for step in steps):
            days = fitted.invert_position(modality, flat.position, flat, keep_reference=True)
            # the peak itself comes back within rounding of 0
            is_before = days[:, place] < -1e-6
            return is_before if judged is None else is_before & judged
    return None


def _is_reference(step: object) -> bool:
    if isinstance(step, Reference):
        return step.at != "first"
    return isinstance(step, FittedPeak)


def biases(
    flat: FlatSequence, estimates: Mapping[str, np.ndarray], is_before: np.ndarray
) -> dict[tuple[str, str], np.ndarray]:
    """(B,) by (estimate, metric): the mean over draws and over the measurements before the peak."""
    return {
        (estimate, METRIC): sample_means(values.mean(0) - flat.value, flat.offsets, is_before)
        for estimate, values in estimates.items()
        if estimate != COPIED and not estimate.startswith(DRAWS_FROM)
    }
