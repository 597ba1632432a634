"""Everything that is measured of reconstructions, batch after batch.

In: every batch's standardised arrays and a model's estimates of them. Out: rows of the tables
`metrics`, `objects` and `calibration`. Per sample there are a few numbers, per bin of position a
few sums: memory does not grow with measurements, and nothing depends on how samples are packed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from daep_ray.evaluate.before_peak import biases, is_before_peak
from daep_ray.evaluate.calibration import Calibration, Judged, drawn, judge
from daep_ray.evaluate.detail import finest, powers, scale_rows
from daep_ray.evaluate.phases import phase_rows, phases_of
from daep_ray.evaluate.reconstruction import (
    SampleErrors,
    SortedErrors,
    by_source,
    metric_rows,
    object_rows,
    sample_errors,
    sample_means,
)
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import FlatSequence

Key = tuple[str, str]  # a modality and what it is told from, "" for all


@dataclass
class Sums:
    """What is known so far of one model."""

    fitted: FittedRecipe
    modalities: tuple[str, ...]
    edges: Mapping[str, np.ndarray]  # of position bins, by modality, z units
    split: str
    num_draws: int
    errors: dict[Key, SampleErrors] = field(default_factory=dict)
    biases: dict[Key, SampleErrors] = field(default_factory=dict)
    details: dict[Key, SampleErrors] = field(default_factory=dict)
    calibrations: dict[tuple[str, str], Calibration] = field(default_factory=dict)

    def add(
        self,
        ids: list[tuple[str, str]],
        flats: Mapping[str, FlatSequence],
        modality: str,
        estimates: Mapping[str, np.ndarray],
        hidden: np.ndarray | None,
    ) -> None:
        """One modality of a batch: estimates (K, N) by name, judged by the `hidden` (N,) bool."""
        flat = flats[modality]
        phases = phases_of(self.fitted, modality, flat)
        for source, told in by_source(estimates).items():
            key, origin = (modality, source), flats[source] if source else None
            errors = sample_errors(self.fitted, modality, flat, told, hidden)
            is_told = None if origin is None else np.repeat(origin.lengths > 0, flat.lengths)
            for name, draws in drawn(told):
                judged = judge(draws, flat.value)
                self._calibration(modality, name, judged).add(flat, judged, _both(hidden, is_told))
                errors |= {
                    (name, metric): sample_means(values, flat.offsets, hidden)
                    for metric, values in judged.by_point().items()
                }
            _of(self.errors, key).add(ids, flat, errors, origin, phases)
            self._add_bias(key, ids, flat, told, hidden, origin)
            seen = flat if hidden is None else flat.where(hidden)
            shown = told if hidden is None else {e: v[:, hidden] for e, v in told.items()}
            _of(self.details, key).add(ids, seen, powers(seen, shown), origin)

    def _add_bias(
        self,
        key: Key,
        ids: list[tuple[str, str]],
        flat: FlatSequence,
        told: Mapping[str, np.ndarray],
        hidden: np.ndarray | None,
        origin: FlatSequence | None,
    ) -> None:
        is_before = is_before_peak(self.fitted, key[0], flat, hidden)
        if is_before is not None:
            early = flat.where(is_before)
            _of(self.biases, key).add(ids, early, biases(flat, told, is_before), origin)

    def _calibration(self, modality: str, name: str, judged: Judged) -> Calibration:
        key = (modality, name)
        if key not in self.calibrations:
            self.calibrations[key] = Calibration(self.edges[modality], judged.num_draws)
        return self.calibrations[key]

    def reconstructions(self) -> dict[str, SortedErrors]:
        """The errors of what is told from all, by modality; one without a sample is left out."""
        found = {m: self.errors[m, ""] for m in self.modalities if (m, "") in self.errors}
        return {m: e.sorted() for m, e in found.items() if e.sample_ids}

    def metric_rows(self) -> Iterator[dict[str, Any]]:
        """Rows of `metrics`."""
        for modality, errors in self._in_order(self.errors):
            yield from metric_rows(modality, self.split, errors)
        for modality, errors in self._in_order(self.biases):
            yield from metric_rows(modality, self.split, errors)
        for (modality, name), calibration in self.calibrations.items():
            for metric, value in calibration.summary():
                count = int(calibration.ranks.sum())
                row = {"estimate": name, "metric": metric, "value": value, "count": count}
                yield self._placed(modality, row)
        for modality, details in self._in_order(self.details):
            for row in finest(scale_rows(details)):
                yield self._placed(modality, row)

    def object_rows(self) -> Iterator[dict[str, Any]]:
        """Rows of `objects`."""
        for kind in (self.errors, self.biases):
            for modality, errors in self._in_order(kind):
                yield from object_rows(modality, errors)

    def calibration_rows(self) -> Iterator[dict[str, Any]]:
        """Rows of `calibration`."""
        for (modality, name), calibration in self.calibrations.items():
            for row in calibration.position_rows(self.fitted, modality):
                yield self._placed(modality, {"estimate": name, **row})
            for row in calibration.rank_rows():
                yield self._placed(modality, {"estimate": name, **row})
        for modality, errors in self._in_order(self.errors):
            for row in phase_rows(errors, self.num_draws):
                yield self._placed(modality, row)
        for modality, details in self._in_order(self.details):
            for row in scale_rows(details):
                yield self._placed(modality, row)

    def _placed(self, modality: str, row: dict[str, Any]) -> dict[str, Any]:
        return {"modality": modality, "split": self.split, **row}

    def _in_order(self, kind: Mapping[Key, SampleErrors]) -> Iterator[tuple[str, SortedErrors]]:
        """In the modalities' order, with each what is told from all first."""
        for key in sorted(kind, key=lambda key: (self.modalities.index(key[0]), key[1])):
            if kind[key].sample_ids:
                yield key[0], kind[key].sorted()


def _of(kind: dict[Key, SampleErrors], key: Key) -> SampleErrors:
    return kind.setdefault(key, SampleErrors())


def _both(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other
