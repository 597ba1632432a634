"""Whether the spread of the draws is honest: coverage, width, CRPS and ranks.

In: K draws and the truth at N measurements, z units. Out: numbers per measurement, summed per bin
of position as batches go by: memory holds the bins alone, and as sums are whole numbers the order
of batches does not matter.

Central interval of level p from n draws: from the quantile (1 - p) / 2 to (1 + p) / 2, linear
between the order statistics x_0 <= ... <= x_{n-1}: with h = (n - 1)(1 - p) / 2, j = floor(h) and
w = h - j it is (1 - w) [x_j, x_{n-1-j}] + w [x_{j+1}, x_{n-2-j}], the width is the same mixture of
widths, and coverage is the same mixture of what the two intervals cover. So a measurement is
covered by 0, 1 - w or 1. If the truth is one more draw of the same distribution, its rank among the
n draws is uniform on 0..n, whatever that distribution, and the coverage to be expected is

    p (n - 1) / (n + 1)

which is the `target`: 0.70 at p = 0.9 and n = 8, 0.865 at n = 50. To ask instead whether the truth
lies between the interpolated ends gives that number for a uniform distribution alone.

CRPS is the fair one of a finite ensemble (Ferro 2014, doi:10.1002/qj.2270), which many draws and
few draws of one distribution agree in: mean |x_i - y| - sum_ij |x_i - x_j| / (2 n (n - 1)).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from daep_ray.evaluate.profiles import FEWEST, bin_of, shown_position
from daep_ray.evaluate.reconstruction import DRAWS_FROM, FROM
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import FlatSequence

LEVELS = (50, 68, 90, 95)  # per cent
FEWEST_DRAWS = 3  # two have no order statistics inside the outermost
DRAWS = "draws"  # the estimate's name in tables: all draws together
CALIBRATION = "calibration"  # what is counted in bins of position

QUANTUM = 2.0**-20  # z units: what sums are counted in, so that their order does not matter
_LARGEST = 1e4  # z units: beyond, a width counts as this much; 10^8 of them fit in a sum


@dataclass(frozen=True)
class Judged:
    """What K draws say of N measurements, z units."""

    num_draws: int
    ranks: np.ndarray  # (N,) int64 in 0..K: draws below the truth, half of the equal ones
    widths: np.ndarray  # (len(LEVELS), N)
    crps: np.ndarray  # (N,)

    def by_point(self) -> dict[str, np.ndarray]:
        """(N,) by metric; the mean of each is the metric."""
        found = {f"coverage_{p}": covered(self.num_draws, p)[self.ranks] for p in LEVELS}
        found |= {f"width_{p}": w for p, w in zip(LEVELS, self.widths, strict=True)}
        return found | {"crps": self.crps}


def judge(draws: np.ndarray, truth: np.ndarray) -> Judged:
    """(K, N) draws against the truth (N,)."""
    num = len(draws)
    assert num >= FEWEST_DRAWS, f"{num} draws have no intervals"
    ordered = np.sort(np.asarray(draws, dtype=np.float64), axis=0)
    below, upto = (ordered < truth).sum(0), (ordered <= truth).sum(0)
    widths = np.stack([_width(ordered, p) for p in LEVELS])
    # sum_ij |x_i - x_j| of sorted numbers is 2 sum_i (2 i - n + 1) x_i; one draw after another, so
    # that the packing does not show in the last digit
    pairs, error = np.zeros(len(truth)), np.zeros(len(truth))
    for i, row in enumerate(ordered):
        pairs += (2 * i - num + 1) * row
        error += np.abs(row - truth)
    crps = error / num - pairs / (num * (num - 1))
    return Judged(num, (below + upto) // 2, widths, crps)


def target(num_draws: int, level: int) -> float:
    """Coverage to be expected of calibrated draws: p (n - 1) / (n + 1)."""
    return level / 100 * (num_draws - 1) / (num_draws + 1)


def covered(num_draws: int, level: int) -> np.ndarray:
    """(K+1,) how much of a measurement the interval covers, by the truth's rank."""
    place, weight = _place(num_draws, level)
    rank = np.arange(num_draws + 1)
    outer = (rank > place) & (rank < num_draws - place)
    inner = (rank > place + 1) & (rank < num_draws - place - 1)
    return (1 - weight) * outer + weight * inner


def _place(num_draws: int, level: int) -> tuple[int, float]:
    """The order statistic below the lower end and how far it is to the next one."""
    exact = (num_draws - 1) * (100 - level) / 200
    return int(exact), exact - int(exact)


def _width(ordered: np.ndarray, level: int) -> np.ndarray:
    """(N,) of the central interval of sorted draws (K, N)."""
    place, weight = _place(len(ordered), level)
    last = len(ordered) - 1 - place
    outer = ordered[last] - ordered[place]
    return (1 - weight) * outer + weight * (ordered[last - 1] - ordered[place + 1])


def drawn(estimates: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """(name in tables, (K, N) draws) of the estimates that have enough draws."""
    for name, values in estimates.items():
        if len(values) < FEWEST_DRAWS:
            continue
        if name == "one_draw":
            yield DRAWS, values
        elif name.startswith(DRAWS_FROM):
            yield FROM + name.removeprefix(DRAWS_FROM), values


class Calibration:
    """Sums over measurements per bin of the first position axis, of one modality and estimate."""

    def __init__(self, edges: np.ndarray, num_draws: int) -> None:
        """`edges` (E+1,) of position, increasing, z units; what lies beyond counts in the outer."""
        self.edges, self.num_draws = edges, num_draws
        num_bins = len(edges) - 1
        self.ranks = np.zeros((num_bins, num_draws + 1), np.int64)
        self.widths = np.zeros((len(LEVELS), num_bins), np.int64)  # of QUANTUM
        self.crps = np.zeros(num_bins, np.int64)
        self.first, self.last = edges[0], edges[-1]

    def add(self, flat: FlatSequence, judged: Judged, chosen: np.ndarray | None = None) -> None:
        """Count the measurements, the `chosen` (N,) bool ones alone."""
        some = np.ones(len(judged.ranks), bool) if chosen is None else chosen
        position = flat.position[some, 0]
        if not len(position):
            return
        self.first, self.last = min(self.first, position.min()), max(self.last, position.max())
        bins = bin_of(self.edges, position)
        np.add.at(self.ranks, (bins, judged.ranks[some]), 1)
        for sums, values in zip(self.widths, judged.widths[:, some], strict=True):
            np.add.at(sums, bins, whole(values))
        np.add.at(self.crps, bins, whole(judged.crps[some]))

    def arrays(self) -> dict[str, np.ndarray]:
        """All that was counted."""
        names = ("ranks", "widths", "crps", "first", "last")
        return {name: np.asarray(getattr(self, name)) for name in names}

    def join(self, other: Mapping[str, np.ndarray]) -> None:
        """Add the `arrays` of other measurements in the same bins."""
        self.ranks += other["ranks"]
        self.widths += other["widths"]
        self.crps += other["crps"]
        self.first = min(self.first, other["first"][()])
        self.last = max(self.last, other["last"][()])

    def position_rows(self, fitted: FittedRecipe, modality: str) -> Iterable[dict[str, Any]]:
        """Rows by bin; those with fewer than FEWEST measurements are left out."""
        edges = np.concatenate([[self.first], self.edges[1:-1], [self.last]])
        shown = shown_position(fitted, modality, edges)
        for place in np.flatnonzero(self.ranks.sum(1) >= FEWEST):
            for metric, value, expected in self._numbers(int(place)):
                yield {
                    "metric": metric,
                    "axis": "position",
                    "low": shown[place],
                    "high": shown[place + 1],
                    "value": value,
                    "target": expected,
                    "count": int(self.ranks[place].sum()),
                }

    def _numbers(self, place: int) -> Iterator[tuple[str, float, float | None]]:
        """(metric, value, target) of one bin."""
        count = self.ranks[place].sum()
        for level, widths in zip(LEVELS, self.widths, strict=True):
            share = self.ranks[place] @ covered(self.num_draws, level) / count
            yield f"coverage_{level}", float(share), target(self.num_draws, level)
            yield f"width_{level}", float(widths[place] * QUANTUM / count), None
        yield "crps", float(self.crps[place] * QUANTUM / count), None

    def rank_rows(self) -> Iterable[dict[str, Any]]:
        """The rank histogram: the share of measurements above so many of the draws."""
        counts = self.ranks.sum(0)
        for rank, count in enumerate(counts.tolist() if counts.any() else ()):
            yield {
                "metric": "rank_share",
                "axis": "rank",
                "low": float(rank),
                "high": float(rank),
                "value": count / int(counts.sum()),
                "target": 1 / (self.num_draws + 1),
                "count": count,
            }

    def summary(self) -> Iterable[tuple[str, float]]:
        """(metric, value) over all measurements, for the table `metrics`.

        `rank_bias` is the mean of rank / K less 1/2: negative where draws are too high.
        `rank_spread` is the ranks' variance about K/2 over that of uniform ranks, K (K + 2) / 12:
        above 1 where draws are too narrow (or biased), below 1 where they are too wide.
        """
        counts, num = self.ranks.sum(0), self.num_draws
        if not counts.any():
            return
        offset = np.arange(num + 1) - num / 2
        yield "rank_bias", float(counts @ offset / counts.sum() / num)
        yield "rank_spread", float(counts @ offset**2 / counts.sum() / (num * (num + 2) / 12))
        for level in LEVELS:
            yield f"coverage_{level}_target", target(num, level)


def whole(values: np.ndarray) -> np.ndarray:
    """In whole multiples of QUANTUM."""
    bounded = np.clip(np.nan_to_num(values, nan=_LARGEST), -_LARGEST, _LARGEST)
    return np.rint(bounded / QUANTUM).astype(np.int64)
