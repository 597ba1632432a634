"""Everything that is measured of reconstructions, batch after batch.

In: every batch's standardised arrays and a model's estimates of them. Out: a few numbers per
sample (`samples`) and sums per bin (`counted`), of which `summary.py` makes the rows of tables.
Memory does not grow with measurements, nothing depends on how samples are packed, and both halves
can be taken of parts of a survey and put together (`blocks.py`).

A new metric is one of three: a number per sample under a kind that is there, or under a kind of its
own (`_of(...).add`; `metrics` then tells its mean and sd over objects), or a thing that counts
(`COUNTED`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from daep_ray.evaluate.before_peak import biases, is_before_peak
from daep_ray.evaluate.calibration import CALIBRATION, Calibration, drawn, judge
from daep_ray.evaluate.conformal import HalfWidths, conformal
from daep_ray.evaluate.detail import powers
from daep_ray.evaluate.intervals import PREDICTIVE, SPREAD, ByPoint, IntervalSums, normal
from daep_ray.evaluate.lines import line_errors
from daep_ray.evaluate.over_objects import BIASES, DETAILS, ERRORS, LINES, Kind
from daep_ray.evaluate.phases import PHASE, PHASE_OF, near, phases_of
from daep_ray.evaluate.profiles import Profile
from daep_ray.evaluate.reconstruction import (
    SampleErrors,
    SortedErrors,
    by_source,
    central,
    residuals,
    sample_errors,
    sample_means,
)
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import FlatSequence, spread

INTERVALS, PROFILE = "intervals", "profile"
AT_PHASE = " at phase"  # the same of the samples near one: `calibration at phase`, `draws at -10`
_COARSE = 4  # bins of position are taken together at one phase, which few samples have

Place = tuple[str, np.ndarray | None]  # "" or a phase, " at -10"; the measurements that count (N,)


class Counted(Protocol):
    """Sums in fixed bins: `join` adds another's `arrays`, whatever the order."""

    def arrays(self) -> dict[str, np.ndarray]: ...

    def join(self, other: Mapping[str, np.ndarray]) -> None: ...


@dataclass
class Sums:
    """What is known so far of one model."""

    fitted: FittedRecipe
    modalities: tuple[str, ...]
    edges: Mapping[str, np.ndarray]  # of position bins, by modality, z units
    split: str
    num_draws: int
    half_widths: HalfWidths = field(default_factory=dict)  # of conformal intervals
    samples: dict[Kind, SampleErrors] = field(default_factory=dict)
    counted: dict[Kind, Counted] = field(default_factory=dict)  # what, modality, estimate

    def add(
        self,
        ids: list[tuple[str, str]],
        flats: Mapping[str, FlatSequence],
        modality: str,
        estimates: Mapping[str, np.ndarray],
        hidden: np.ndarray | None,
        about: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """One modality of a batch: estimates (K, N) by name, judged by the `hidden` (N,) bool.

        `about` (B,) is what samples are grouped by beside their phase.
        """
        flat, groups = flats[modality], dict(about or {})
        phases = phases_of(self.fitted, modality, flat)
        if phases is not None:
            groups[PHASE] = phases
        for source, said in by_source(estimates).items():
            told = {name: values for name, values in said.items() if name != SPREAD}
            origin = flats[source] if source else None
            errors = sample_errors(self.fitted, modality, flat, told, hidden)
            is_told = None if origin is None else np.repeat(origin.lengths > 0, flat.lengths)
            by_point: dict[str, ByPoint] = {}
            places = [*_places(flat, phases, _both(hidden, is_told))]
            for name, draws in drawn(told):
                judged = judge(draws, flat.value)
                for place, counts in places:
                    self.calibration(modality, name, place).add(flat, judged, counts)
                by_point[name] = judged.by_point()
            for name, off in residuals(told, flat.value):
                missed = {"absolute_error": np.abs(off), "squared_error": off**2}
                for place, counts in places:
                    self.profile(modality, name, place).add(flat, off, counts)
                    self.intervals(modality, name, place).add(flat, missed, counts)
            for name, covered in self._intervals(modality, said, flat.value):
                self.intervals(modality, name).add(flat, covered, places[0][1])
                by_point[name] = covered
            errors |= {
                (name, metric): sample_means(values, flat.offsets, hidden)
                for name, metrics in by_point.items()
                for metric, values in metrics.items()
            }
            known = groups | self._phases_of(source, flats)
            self._of(ERRORS, modality, source).add(ids, flat, errors, origin, known)
            is_before = is_before_peak(self.fitted, modality, flat, hidden)
            if is_before is not None:
                early, bias = flat.where(is_before), biases(flat, told, is_before)
                self._of(BIASES, modality, source).add(ids, early, bias, origin)
            seen = flat if hidden is None else flat.where(hidden)
            shown = told if hidden is None else {e: v[:, hidden] for e, v in told.items()}
            self._of(DETAILS, modality, source).add(ids, seen, powers(seen, shown), origin)
            if lines := line_errors(self.fitted, modality, seen, shown):
                self._of(LINES, modality, source).add(ids, seen, lines, origin)

    def _phases_of(self, source: str, flats: Mapping[str, FlatSequence]) -> dict[str, np.ndarray]:
        """(B,) of what samples are told from; nothing where that has none."""
        phases = phases_of(self.fitted, source, flats[source]) if source else None
        return {} if phases is None else {PHASE_OF + source: phases}

    def _intervals(
        self, modality: str, said: Mapping[str, np.ndarray], truth: np.ndarray
    ) -> Iterator[tuple[str, ByPoint]]:
        """(name in tables, numbers per measurement) of intervals that are not of draws."""
        if SPREAD in said:
            yield PREDICTIVE, normal(central(said), said[SPREAD][0], truth)
        yield from conformal(self.half_widths, modality, said, truth)

    def _of(self, kind: str, modality: str, source: str) -> SampleErrors:
        return self.samples.setdefault((kind, modality, source), SampleErrors())

    def calibration(self, modality: str, estimate: str, place: str = "") -> Calibration:
        """The bins of an estimate's draws."""
        found = self.counter(_kind(CALIBRATION, modality, estimate, place))
        assert isinstance(found, Calibration)
        return found

    def intervals(self, modality: str, estimate: str, place: str = "") -> IntervalSums:
        """The bins of an estimate's errors, and of intervals that are not of draws."""
        found = self.counter(_kind(INTERVALS, modality, estimate, place))
        assert isinstance(found, IntervalSums)
        return found

    def profile(self, modality: str, estimate: str, place: str = "") -> Profile:
        """The bins of an estimate's residuals."""
        found = self.counter(_kind(PROFILE, modality, estimate, place))
        assert isinstance(found, Profile)
        return found

    def counter(self, kind: Kind) -> Counted:
        """What counts this, empty if it was not there."""
        if kind not in self.counted:
            what, edges = kind[0].removesuffix(AT_PHASE), self.edges[kind[1]]
            own = edges if what == kind[0] else _coarse(edges)
            self.counted[kind] = COUNTED[what](self, kind[1], own)
        return self.counted[kind]

    def arrays(self) -> dict[Kind, dict[str, np.ndarray]]:
        """All that was counted."""
        return {kind: counted.arrays() for kind, counted in self.counted.items()}

    def sorted(self) -> dict[Kind, SortedErrors]:
        """The numbers per sample; a kind without a sample is left out."""
        return {kind: errors.sorted() for kind, errors in self.samples.items() if errors.sample_ids}


def _places(
    flat: FlatSequence, phases: np.ndarray | None, counts: np.ndarray | None
) -> Iterator[Place]:
    """All measurements that count, then those near each phase that a sample of the batch has."""
    yield "", counts
    for at, is_near in near(phases):
        yield f" at {at:g}", _both(counts, spread(is_near, flat.offsets))


def _kind(what: str, modality: str, estimate: str, place: str) -> Kind:
    return what + (AT_PHASE if place else ""), modality, estimate + place


def _coarse(edges: np.ndarray) -> np.ndarray:
    return np.unique([*edges[::_COARSE], edges[-1]])


def _num_categories(sums: Sums, modality: str) -> int:
    categories = sums.fitted.modalities[modality].categories
    return len(categories[0].vocabulary) if categories else 1


COUNTED: dict[str, Callable[[Sums, str, np.ndarray], Counted]] = {
    CALIBRATION: lambda sums, _, edges: Calibration(edges, sums.num_draws),
    INTERVALS: lambda _, __, edges: IntervalSums(edges),
    PROFILE: lambda sums, modality, edges: Profile(edges, _num_categories(sums, modality)),
}


def _both(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other
