"""Which samples a report shows, and their rows.

The rule does not ask the model, so every cell of a study shows the same samples: those at a few
percentiles (`evaluation.example_percentiles`) of the error that the constant training mean makes on
them (mean |value| in z units), among the samples with at least half the median number of
measurements.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import ndtri

from daep_ray.evaluate.intervals import SPREAD
from daep_ray.evaluate.profiles import shown_position
from daep_ray.evaluate.reconstruction import SortedErrors, central
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import FlatSequence, list_lengths, list_values

BAND = (0.05, 0.95)  # quantiles of the draws, or of a Gaussian process


def choose(errors: SortedErrors, percentiles: Sequence[int]) -> dict[str, int]:
    """Sample id -> percentile; fewer than asked for if there are fewer samples."""
    long_enough = np.flatnonzero(errors.lengths >= np.median(errors.lengths) / 2)
    # sample ids are sorted, so a stable sort decides ties the same everywhere
    ranked = long_enough[np.argsort(errors.amplitudes[long_enough], kind="stable")]
    chosen: dict[str, int] = {}
    for percentile in percentiles:
        place = round(percentile / 100 * (len(ranked) - 1))
        chosen.setdefault(str(errors.sample_ids[ranked[place]]), percentile)
    return chosen


def example_rows(
    fitted: FittedRecipe,
    modality: str,
    table: pa.Table,
    flat: FlatSequence,
    estimates: Mapping[str, np.ndarray],
    chosen: Mapping[str, int],
    labels: Mapping[str, str | None],
) -> Iterable[dict[str, Any]]:
    """Rows of the table `examples`: the measurements of the chosen samples in `table`, by position.

    `estimates` holds the predictions for all of `flat`'s measurements, z units.
    """
    columns = _columns(fitted, modality, table, flat, estimates)
    sample_ids, object_ids = table["sample_id"].to_pylist(), table["object_id"].to_pylist()
    for i, sample_id in enumerate(sample_ids):
        if sample_id not in chosen:
            continue
        inside = np.arange(flat.offsets[i], flat.offsets[i + 1])
        for n in inside[np.argsort(columns["position"][inside], kind="stable")]:
            yield {
                "modality": modality,
                "sample_id": sample_id,
                "object_id": object_ids[i],
                "label": labels.get(sample_id),
                "percentile": chosen[sample_id],
                "category": _word(fitted, modality, flat, n),
                **{name: _number(values, n) for name, values in columns.items()},
            }


def _columns(
    fitted: FittedRecipe,
    modality: str,
    table: pa.Table,
    flat: FlatSequence,
    estimates: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """The numeric columns, (N,) each or None, in the value's unit."""
    low = high = None
    if "one_draw" in estimates:
        draws = fitted.invert_value(modality, estimates["one_draw"], flat)
        low, high = np.quantile(draws, BAND, axis=0)
    elif SPREAD in estimates:
        reach = ndtri(BAND)[:, None] * estimates[SPREAD][0]
        low, high = np.sort(fitted.invert_value(modality, central(estimates) + reach, flat), axis=0)
    return {
        "position": shown_position(fitted, modality, flat.position[:, 0]),
        "truth": fitted.invert_value(modality, flat.value, flat),
        "error": _raw(table, f"{modality}.error", flat),
        "noiseless": _noiseless(fitted, modality, table, flat),
        "mean": fitted.invert_value(modality, central(estimates), flat),
        "low": low,
        "high": high,
    }


def _noiseless(
    fitted: FittedRecipe, modality: str, table: pa.Table, flat: FlatSequence
) -> np.ndarray | None:
    """The survey's noiseless value: an extra column in the value's unit, if it has one."""
    declared = fitted.modalities[modality]
    for axis in declared.extras:
        if axis.unit == declared.value.unit:
            return _raw(table, f"{modality}.{axis.name}", flat)
    return None


def _raw(table: pa.Table, column: str, flat: FlatSequence) -> np.ndarray | None:
    """(N,) a raw column's values at the measurements that the recipe kept; None where absent."""
    per_sample = list_lengths(table, column)
    num_raw = list_lengths(table, f"{column.rpartition('.')[0]}.value")
    if not per_sample.any():
        return None
    values = np.full(int(num_raw.sum()), np.nan)
    values[np.repeat(per_sample > 0, num_raw)] = list_values(table, column)
    return values[flat.kept]


def _word(fitted: FittedRecipe, modality: str, flat: FlatSequence, n: int) -> str | None:
    declared = fitted.modalities[modality].categories
    return declared[0].vocabulary[flat.category[n, 0]] if declared else None


def _number(values: np.ndarray | None, n: int) -> float | None:
    if values is None or not np.isfinite(values[n]):
        return None
    return float(values[n])
