"""Split-conformal intervals about any model's point estimate, calibrated object by object.

In: a model's estimates of objects that it has not learnt from (the validation split). Out: for each
confidence level a half width h, z units, so that estimate +- h covers that share of the
measurements of a new object, whatever the model is and however its errors are distributed.

An object's measurements are alike, so they are no exchangeable sample of all measurements: a
quantile of all residuals pooled promises too much. Objects are exchangeable. With F_k(h) the share
of object k's measurements within h (an object's samples weigh the same, and a sample's measurements
do), and K objects,

    h = the least h with sum_k F_k(h) / (K + 1) >= level

covers at least `level` of a new object's measurements, on average over objects and over calibration
sets: hierarchical conformal prediction (Y. Lee, R. F. Barber and R. Willett 2023, arXiv:2306.06342,
section 3: the quantile of residuals that weigh 1 / (K + 1) / N_k each, the rest at infinity), which
is conformal risk control (A. N. Angelopoulos et al. 2022, arXiv:2208.02814) of the share that is
missed; there it is at most level + 2 / (K + 1) where residuals have no ties. No finite h reaches a
level above K / (K + 1): with fewer than 19 objects there is none for 95 %.

The guarantee is marginal: over objects, not for each. It holds as far as validation and test
objects are alike and the validation split was not what the model was chosen by.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from daep_ray.evaluate.calibration import LEVELS
from daep_ray.evaluate.intervals import CONFORMAL, ByPoint, symmetric
from daep_ray.evaluate.reconstruction import CENTRAL, FROM
from daep_ray.stream.flat import FlatSequence

Halves = dict[int, float]  # half width by level in per cent; a level out of reach is left out
HalfWidths = dict[tuple[str, str], Halves]  # by modality and name of the interval in tables

CALIBRATED_ON = "validation"  # the split whose objects are set aside
_ROUNDING = 1e-12  # of a sum of weights


@dataclass
class Residuals:
    """Absolute residuals of calibration objects, sample by sample; grows batch by batch."""

    sample_ids: list[str] = field(default_factory=list)
    object_ids: list[str] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)

    def add(
        self,
        ids: list[tuple[str, str]],
        flat: FlatSequence,
        centre: np.ndarray,
        hidden: np.ndarray | None = None,
        source: FlatSequence | None = None,
    ) -> None:
        """A batch: of `centre` (N,), the `hidden` (N,) bool measurements alone.

        A sample without any, or without the `source` that it is told from, is left out.
        """
        off = np.abs(flat.value - centre)
        for i, (sample, owner) in enumerate(ids):
            part = slice(flat.offsets[i], flat.offsets[i + 1])
            own = off[part] if hidden is None else off[part][hidden[part]]
            if len(own) and (source is None or source.lengths[i]):
                self.sample_ids.append(sample)
                self.object_ids.append(owner)
                self.values.append(own)

    def halves(self, levels: Iterable[int] = LEVELS) -> Halves:
        """The half width of each level that so many objects can promise."""
        if not self.values:
            return {}
        order = np.argsort(np.array(self.sample_ids), kind="stable")  # batches do not matter
        objects, of_sample = np.unique(np.array(self.object_ids)[order], return_inverse=True)
        samples = np.bincount(of_sample)[of_sample]  # of the sample's object
        parts = [self.values[i] for i in order]
        lengths = np.array([len(p) for p in parts])
        weight = np.repeat(1.0 / (len(objects) + 1) / samples / lengths, lengths)
        residual = np.concatenate(parts)
        ascending = np.argsort(residual, kind="stable")
        covered = np.cumsum(weight[ascending])
        found = {}
        for level in levels:
            place = int(np.searchsorted(covered, level / 100 - _ROUNDING))
            if place < len(residual):
                found[level] = float(residual[ascending[place]])
        return found


@dataclass
class Calibrator:
    """Residuals of everything that a model has a point estimate of."""

    residuals: dict[tuple[str, str], Residuals] = field(default_factory=dict)

    def add(
        self,
        ids: list[tuple[str, str]],
        flats: Mapping[str, FlatSequence],
        modality: str,
        estimates: Mapping[str, np.ndarray],
        hidden: np.ndarray | None,
    ) -> None:
        """One modality of a batch: estimates (K, N) by name."""
        for name, centre in points(estimates):
            source = flats[name.removeprefix(f"{CONFORMAL}_{FROM}")] if FROM in name else None
            found = self.residuals.setdefault((modality, name), Residuals())
            found.add(ids, flats[modality], centre, hidden, source)

    def half_widths(self) -> HalfWidths:
        """By modality and name of the interval."""
        return {key: residuals.halves() for key, residuals in self.residuals.items()}


def points(estimates: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """(name of the interval in tables, its centre (N,)) of the estimates that have one."""
    usual = next((name for name in CENTRAL if name in estimates), None)
    for name, values in estimates.items():
        if name == usual:
            yield CONFORMAL, values[0]
        elif name.startswith(FROM):
            yield f"{CONFORMAL}_{name}", values[0]


def conformal(
    half_widths: HalfWidths, modality: str, estimates: Mapping[str, np.ndarray], truth: np.ndarray
) -> Iterator[tuple[str, ByPoint]]:
    """(name in tables, coverage and width per measurement) of the estimates' intervals."""
    for name, centre in points(estimates):
        if halves := half_widths.get((modality, name)):
            yield name, symmetric(centre, halves, truth)
