"""The probe of a number (redshift, stretch, a simulation's parameter): ridge regression on codes.

In: codes (S, F), a number and an object per sample. Out: R2, mean absolute error and, beside it,
that of always saying the fit part's mean, in the label's own unit, as mean and standard deviation
over the splits. Splits are drawn as for classes: 70 % of the objects fit, 30 % are scored, an
object's samples together. Codes are standardised on the fit part, the penalty is the linear
probe's (half of the weights' squares against half of the errors'), every object weighs the same.
"""

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.preprocessing import StandardScaler

from daep_ray.evaluate.probe import Coded, Score, object_weights, over_splits, splits

PENALTY = 1.0
FEWEST_OBJECTS = 10  # with a number, over all splits that may be probed


def ridge_probe(coded: Coded, numbers: np.ndarray, num_splits: int) -> list[Score]:
    """The scores of `numbers` (S,), finite; `coded` has all samples in one class.

    Empty if fewer than `FEWEST_OBJECTS` objects have a number, or all the same: of a large survey
    in which few objects have one, hardly any may be among those that were encoded.
    """
    num_objects = len(np.unique(coded.object_ids))
    if num_objects < FEWEST_OBJECTS or len(np.unique(numbers)) < 2:
        return []
    weights = object_weights(coded.object_ids)
    rows = [
        _score(coded.codes, numbers, weights, fit, scored)
        for fit, scored in splits(coded, num_splits)
    ]
    return [*over_splits(rows), Score("probe_num_objects", float(num_objects), 0.0, 1)]


def _score(
    codes: np.ndarray,
    numbers: np.ndarray,
    weights: np.ndarray,
    fit: np.ndarray,
    scored: np.ndarray,
) -> dict[str, float]:
    """One split: fit on one part, metrics on the other."""
    scaler = StandardScaler().fit(codes[fit], sample_weight=weights[fit])
    model = Ridge(PENALTY).fit(scaler.transform(codes[fit]), numbers[fit], weights[fit])
    truth, weight = numbers[scored], weights[scored]
    said = model.predict(scaler.transform(codes[scored]))
    mean = np.full(len(scored), np.average(numbers[fit], weights=weights[fit]))
    return {
        "probe_r2": float(r2_score(truth, said, sample_weight=weight)),
        "probe_mean_absolute_error": float(mean_absolute_error(truth, said, sample_weight=weight)),
        "probe_mean_absolute_error_of_mean": float(
            mean_absolute_error(truth, mean, sample_weight=weight)
        ),
    }
