"""What was measured of reconstructions, as rows of the tables.

In: numbers per sample, all samples of an object together, and sums per bin. Out: rows of `metrics`,
`calibration`, `groups` and `profiles`. Summaries of different objects join (`joined`), so a large
survey is summed up a share of its objects at a time.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from daep_ray.evaluate.calibration import CALIBRATION, Calibration
from daep_ray.evaluate.detail import finest, scale_rows
from daep_ray.evaluate.groups import by_group, group_rows
from daep_ray.evaluate.intervals import IntervalSums
from daep_ray.evaluate.lines import line_rows, over_lines
from daep_ray.evaluate.over_objects import BIASES, DETAILS, ERRORS, LINES, Kind, OverObjects
from daep_ray.evaluate.phases import by_phase, is_of_phase, phase_rows
from daep_ray.evaluate.profiles import Profile
from daep_ray.evaluate.reconstruction import CENTRAL, SortedErrors, metric_rows
from daep_ray.evaluate.sums import AT_PHASE, INTERVALS, PROFILE, Counted, Sums

Bin = tuple[str, float | str]
_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Summary:
    """Over objects: every kind, and errors by bin (an axis, the bin's place or word on it)."""

    over: Mapping[Kind, OverObjects]
    binned: Mapping[tuple[Kind, Bin], OverObjects]

    @classmethod
    def of(cls, samples: Mapping[Kind, SortedErrors]) -> "Summary":
        """Of samples that no other summary has an object of."""
        binned: dict[tuple[Kind, Bin], OverObjects] = {}
        for kind, errors in samples.items():
            if kind[0] == ERRORS:
                binned |= {(kind, place): over for place, over in by_phase(errors).items()}
            if kind[0] == ERRORS and not kind[2]:
                binned |= {(kind, group): over for group, over in by_group(errors).items()}
        return cls({kind: errors.over_objects() for kind, errors in samples.items()}, binned)

    def joined(self, other: "Summary") -> "Summary":
        """Of the objects of both."""
        return Summary(_joined(self.over, other.over), _joined(self.binned, other.binned))

    def metric_rows(self, sums: Sums) -> Iterator[dict[str, Any]]:
        """Rows of `metrics`."""
        kinds = in_order(self.over, sums.modalities)
        for kind in kinds:
            if kind[0] != DETAILS:
                over = self.over[kind]
                told = over_lines(over) if kind[0] == LINES else over
                yield from metric_rows(kind[1], sums.split, told)
        for modality, name, calibration in _calibrations(sums):
            for metric, value in calibration.summary():
                count = int(calibration.ranks.sum())
                row = {"estimate": name, "metric": metric, "value": value, "count": count}
                yield {"modality": modality, "split": sums.split, **row}
        for modality, name, intervals in _intervals(sums):
            for row in intervals.summary():
                yield {"modality": modality, "split": sums.split, "estimate": name, **row}
        for kind in kinds:
            for row in finest(scale_rows(self.over[kind])) if kind[0] == DETAILS else ():
                yield {"modality": kind[1], "split": sums.split, **row}

    def calibration_rows(self, sums: Sums) -> Iterator[dict[str, Any]]:
        """Rows of `calibration`."""
        for modality, row in self._calibration_rows(sums):
            yield {"modality": modality, "split": sums.split, **row}

    def _calibration_rows(self, sums: Sums) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from _counted_rows(sums)
        kinds = in_order(self.over, sums.modalities)
        for kind in kinds:
            bins = self._bins(kind).items()
            phases = {(axis, float(at)): over for (axis, at), over in bins if is_of_phase(axis)}
            for row in phase_rows(phases, sums.num_draws):
                yield kind[1], row
        for kind in kinds:
            for row in scale_rows(self.over[kind]) if kind[0] == DETAILS else ():
                yield kind[1], row

    def group_rows(self, sums: Sums) -> Iterator[dict[str, Any]]:
        """Rows of `groups`."""
        for modality in sums.modalities:
            for row in group_rows(self._bins((ERRORS, modality, ""))):
                yield {"modality": modality, "split": sums.split, **row}
        for kind in in_order(self.over, sums.modalities):
            declared = sums.fitted.modalities[kind[1]]
            for row in line_rows(self.over[kind], declared) if kind[0] == LINES else ():
                yield {"modality": kind[1], "split": sums.split, **row}

    def _bins(self, kind: Kind) -> dict[Bin, OverObjects]:
        return {place: over for (k, place), over in self.binned.items() if k == kind}

    def profile_rows(self, sums: Sums) -> Iterator[dict[str, Any]]:
        """Rows of `profiles`."""
        found = {m: profile for m, name, profile in _profiles(sums) if name in CENTRAL}
        for modality in sums.modalities:
            if modality in found:
                yield from found[modality].rows(sums.fitted, modality)


def _counted_rows(sums: Sums) -> Iterator[tuple[str, dict[str, Any]]]:
    """(modality, row) of everything that is counted in bins of position, and of ranks."""
    for modality, name, calibration in _calibrations(sums):
        for row in calibration.position_rows(sums.fitted, modality):
            yield modality, {"estimate": name, **row}
        for row in calibration.rank_rows():
            yield modality, {"estimate": name, **row}
    for modality, name, intervals in _intervals(sums):
        for row in intervals.position_rows(sums.fitted, modality):
            yield modality, {"estimate": name, **row}
    for modality, name, profile in _profiles(sums):
        for row in profile.calibration_rows(sums.fitted, modality) if name not in CENTRAL else ():
            yield modality, {"estimate": name, **row}
    yield from _rows_at_phases(sums)


def _rows_at_phases(sums: Sums) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same of the samples near a phase."""
    counted = [
        (what.removesuffix(AT_PHASE), modality, *_at_phase(name), bins)
        for (what, modality, name), bins in sums.counted.items()
        if what.endswith(AT_PHASE)
    ]
    # which phase is met first hangs on the packing
    for _, modality, estimate, phase, bins in sorted(counted, key=lambda found: found[:4]):
        for row in _position_rows(bins, sums, modality):
            axis = f"{row['axis']} at phase {phase:g}"
            yield modality, {"estimate": estimate, **row, "axis": axis}


def _position_rows(bins: Counted, sums: Sums, modality: str) -> Iterable[dict[str, Any]]:
    if isinstance(bins, Profile):
        return bins.calibration_rows(sums.fitted, modality)
    assert isinstance(bins, Calibration | IntervalSums)
    return bins.position_rows(sums.fitted, modality)


def _at_phase(name: str) -> tuple[str, float]:
    """`draws at -10` -> the estimate and the phase."""
    estimate, _, phase = name.rpartition(" at ")
    return estimate, float(phase)


def in_order(kinds: Iterable[Kind], modalities: tuple[str, ...]) -> list[Kind]:
    """Errors, biases, then others; modality by modality, what is told from all first."""
    found = list(kinds)
    names = list(dict.fromkeys((ERRORS, BIASES, *(name for name, _, _ in found))))
    return sorted(found, key=lambda k: (names.index(k[0]), modalities.index(k[1]), k[2]))


def _joined(
    one: Mapping[_Key, OverObjects], other: Mapping[_Key, OverObjects]
) -> dict[_Key, OverObjects]:
    found = dict(one)
    for key, over in other.items():
        found[key] = found[key].joined(over) if key in found else over
    return found


def _calibrations(sums: Sums) -> Iterator[tuple[str, str, Calibration]]:
    """Modality, estimate and bins."""
    for (kind, modality, estimate), counted in sums.counted.items():
        if kind == CALIBRATION and isinstance(counted, Calibration):
            yield modality, estimate, counted


def _intervals(sums: Sums) -> Iterator[tuple[str, str, IntervalSums]]:
    """Modality, estimate and bins."""
    for (kind, modality, estimate), counted in sums.counted.items():
        if kind == INTERVALS and isinstance(counted, IntervalSums):
            yield modality, estimate, counted


def _profiles(sums: Sums) -> Iterator[tuple[str, str, Profile]]:
    """Modality, estimate and bins."""
    for (kind, modality, estimate), counted in sums.counted.items():
        if kind == PROFILE and isinstance(counted, Profile):
            yield modality, estimate, counted
