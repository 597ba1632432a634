"""Reconstruction errors, batch after batch: what a model says of the points it has seen.

In: batches of the split with their standardised flat arrays, and a `Predict` that returns every
estimate as (K, N) standardised values. Out: errors per sample, then per object (the mean over its
samples), then mean and standard deviation over objects.

Errors are taken in standardised (z) units and, inverted through the recipe, in the value's own
unit. The truth is what the recipe made of the data (a median filter is not undone). Nothing
depends on how samples are packed: errors are summed within a sample, samples sorted by id.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from daep_ray.errors import ConfigError
from daep_ray.evaluate.over_objects import Moments, OverObjects
from daep_ray.evaluate.tables import SCHEMAS
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import FlatSequence, reduce_samples, spread

# modality -> estimate -> (K, N); `one_draw` has K draws, every other estimate has one row;
# `from_<modality>` is told from that modality alone and means nothing where a sample lacks it, and
# `draws_from_<modality>` are the K draws that it is the mean of: for calibration alone
Predictions = Mapping[str, Mapping[str, np.ndarray]]
Predict = Callable[[PackedBatch], Predictions]

FROM = "from_"
DRAWS_FROM = "draws_from_"
COPIED = "shown_copied"  # the mean of draws with the values that the model was shown
# what every object has a row for; of other metrics the table `metrics` tells mean and sd
OF_OBJECTS = (
    "absolute_error",
    "squared_error",
    "absolute_error_physical",
    "crps",
    "bias_before_peak",
)
CENTRAL = ("mean_of_draws", "reference")  # the estimate that profiles and examples show


@dataclass
class SampleErrors:
    """Errors per sample of one modality, growing batch by batch."""

    sample_ids: list[str] = field(default_factory=list)
    object_ids: list[str] = field(default_factory=list)
    lengths: list[np.ndarray] = field(default_factory=list)
    amplitudes: list[np.ndarray] = field(default_factory=list)
    columns: dict[tuple[str, str], list[np.ndarray]] = field(default_factory=dict)
    about: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(
        self,
        ids: list[tuple[str, str]],
        flat: FlatSequence,
        errors: Mapping[tuple[str, str], np.ndarray],
        source: FlatSequence | None = None,
        about: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """A batch: (sample id, object id) and (B,) errors by (estimate, metric).

        A sample without this modality, or without the `source` that it was told from, has no error
        and is left out. `about` (B,) is what samples are grouped by.
        """
        is_told = True if source is None else source.lengths > 0
        present = np.flatnonzero((flat.lengths > 0) & is_told)
        self.sample_ids += [ids[i][0] for i in present]
        self.object_ids += [ids[i][1] for i in present]
        self.lengths.append(flat.lengths[present])
        self.amplitudes.append(sample_means(np.abs(flat.value), flat.offsets)[present])
        for key, values in errors.items():
            self.columns.setdefault(key, []).append(values[present])
        for name, values in (about or {}).items():
            self.about.setdefault(name, []).append(values[present])

    def sorted(self) -> "SortedErrors":
        order = np.argsort(np.array(self.sample_ids, dtype=str), kind="stable")
        return SortedErrors(
            sample_ids=np.array(self.sample_ids, dtype=str)[order],
            object_ids=np.array(self.object_ids, dtype=str)[order],
            lengths=_joined(self.lengths)[order],
            amplitudes=_joined(self.amplitudes)[order],
            columns={key: _joined(parts)[order] for key, parts in self.columns.items()},
            about={name: _joined(parts)[order] for name, parts in self.about.items()},
        )


@dataclass(frozen=True)
class SortedErrors:
    """Errors per sample of one modality, sorted by sample id, S samples."""

    sample_ids: np.ndarray  # (S,) str
    object_ids: np.ndarray  # (S,) str
    lengths: np.ndarray  # (S,) measurements
    amplitudes: np.ndarray  # (S,) the error of the constant training mean: mean |value|, z units
    columns: dict[tuple[str, str], np.ndarray]  # (estimate, metric) -> (S,)
    about: Mapping[str, np.ndarray] = field(default_factory=dict)  # (S,), "" and NaN: unknown

    def where(self, is_kept: np.ndarray) -> "SortedErrors":
        """The samples for which `is_kept` (S,) is True."""
        return SortedErrors(
            self.sample_ids[is_kept],
            self.object_ids[is_kept],
            self.lengths[is_kept],
            self.amplitudes[is_kept],
            {key: values[is_kept] for key, values in self.columns.items()},
            {name: values[is_kept] for name, values in self.about.items()},
        )

    def per_object(self) -> tuple[np.ndarray, dict[tuple[str, str], np.ndarray]]:
        """Object ids (O,), sorted, and each column's mean over an object's samples (O,).

        A sample without a number (NaN) does not count; NaN for an object that has no other.
        """
        objects, of_sample = np.unique(self.object_ids, return_inverse=True)
        means = {}
        for key, values in self.columns.items():
            is_known = ~np.isnan(values)
            counts = np.bincount(of_sample, is_known, len(objects))
            sums = np.bincount(of_sample, np.where(is_known, values, 0.0), len(objects))
            means[key] = np.where(counts, sums / np.maximum(counts, 1), np.nan)
        return objects, means

    def over_objects(self) -> OverObjects:
        """Each column's moments over objects."""
        objects, means = self.per_object()
        return OverObjects(len(objects), {key: Moments.of(v) for key, v in means.items()})


def by_source(estimates: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The estimates told from all of a sample under "", the others under their modality."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for estimate, values in estimates.items():
        source = ""
        for prefix in (FROM, DRAWS_FROM):
            if estimate.startswith(prefix):
                source = estimate.removeprefix(prefix)
        found.setdefault(source, {})[estimate] = values
    return found


def check_finite(
    ids: list[tuple[str, str]],
    flats: Mapping[str, FlatSequence],
    modality: str,
    estimates: Mapping[str, np.ndarray],
) -> None:
    """Refuse a model that answers with no number: a mean over the others would flatter it.

    Raises:
        ConfigError: an estimate (K, N) of a sample that it is told from is NaN or infinite.
    """
    flat = flats[modality]
    for source, said in by_source(estimates).items():
        is_told = flats[source].lengths > 0 if source else np.ones(flat.num_samples, bool)
        for name, values in said.items():
            is_lost = ~np.isfinite(values).all(0) & spread(is_told, flat.offsets)
            if is_lost.any():
                place = int(np.searchsorted(flat.offsets, np.argmax(is_lost), "right")) - 1
                raise ConfigError(
                    f"the {modality} of sample {ids[place][0]!r} is reconstructed ({name}) with "
                    "numbers that are not finite, so it has no error: train with a smaller rate, "
                    "choose another solver, or leave out samples that lie far outside the others"
                )


def sample_errors(
    fitted: FittedRecipe,
    modality: str,
    flat: FlatSequence,
    estimates: Mapping[str, np.ndarray],
    hidden: np.ndarray | None = None,
) -> dict[tuple[str, str], np.ndarray]:
    """(B,) errors by (estimate, metric): the mean over draws and over a sample's measurements.

    Over the `hidden` (N,) bool ones alone where the model was shown the others; over all of them
    for `shown_copied`.
    """
    truth = fitted.invert_value(modality, flat.value, flat)
    errors = {}
    for estimate, values in estimates.items():
        if estimate.startswith(DRAWS_FROM):
            continue
        judged = None if estimate == COPIED else hidden
        residual = np.asarray(values, dtype=np.float64) - flat.value  # (K, N)
        physical = fitted.invert_value(modality, values, flat) - truth
        for metric, by_point in (
            ("absolute_error", np.abs(residual).mean(0)),
            ("squared_error", (residual**2).mean(0)),
            ("absolute_error_physical", np.abs(physical).mean(0)),
        ):
            errors[estimate, metric] = sample_means(by_point, flat.offsets, judged)
    return errors


def residuals(
    estimates: Mapping[str, np.ndarray], truth: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """(estimate, (N,) estimate - truth, z units) of the point estimates: what profiles show, and
    what is told from one modality."""
    usual = next((name for name in CENTRAL if name in estimates), None)
    for name, values in estimates.items():
        if name == usual or name.startswith(FROM):
            yield name, values[0] - truth


def sample_means(
    values: np.ndarray, offsets: np.ndarray, chosen: np.ndarray | None = None
) -> np.ndarray:
    """(B,) mean of each sample's stretch of (N,), over the `chosen` of it; 0 for an empty one."""
    if chosen is None:
        return reduce_samples(np.add, values, offsets, 0.0) / np.maximum(np.diff(offsets), 1)
    counts = reduce_samples(np.add, chosen.astype(np.float64), offsets, 0.0)
    sums = reduce_samples(np.add, np.where(chosen, values, 0.0), offsets, 0.0)
    return sums / np.maximum(counts, 1)


def metric_rows(modality: str, split: str, over: OverObjects) -> Iterable[dict[str, Any]]:
    """Rows of the table `metrics`: mean and sd over objects."""
    for (estimate, metric), moments in over.columns.items():
        yield {
            "modality": modality,
            "split": split,
            "estimate": estimate,
            "metric": metric,
            "value": moments.mean,
            "sd": moments.sd,
            "count": moments.count,
        }


def object_table(modality: str, errors: SortedErrors) -> pa.Table:
    """Rows of the table `objects`: a block of all objects per estimate and metric."""
    objects, means = errors.per_object()
    parts = [SCHEMAS["objects"].empty_table()]
    for (estimate, metric), values in means.items():
        if metric in OF_OBJECTS:
            is_known = ~np.isnan(values)
            columns = {
                "modality": pa.repeat(modality, is_known.sum()),
                "object_id": pa.array(objects[is_known], pa.string()),
                "estimate": pa.repeat(estimate, is_known.sum()),
                "metric": pa.repeat(metric, is_known.sum()),
                "value": values[is_known],
            }
            parts.append(pa.table(columns, schema=SCHEMAS["objects"]))
    return pa.concat_tables(parts)


def central(estimates: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) the estimate that profiles and examples show."""
    return next(estimates[name] for name in CENTRAL if name in estimates)[0]


def ids_of(table: pa.Table) -> list[tuple[str, str]]:
    """(sample id, object id) of every row."""
    columns = (table["sample_id"].to_pylist(), table["object_id"].to_pylist())
    return list(zip(*columns, strict=True))


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0)
