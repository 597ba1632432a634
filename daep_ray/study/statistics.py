"""What a study may claim: intervals over seeds, paired differences, the gate.

Numbers in, numbers out; neither torch nor Ray. Errors are "lower is better" throughout.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

FEWEST_OBJECTS = 2  # of a paired difference: one alone says nothing of others
GATE_MARGIN = 0.2  # a model must beat the training mean by this share to be ranked


Errors = Mapping[tuple[int, str], float]  # (seed, object id) -> error


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; the bounds are NaN where one value says nothing."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Difference:
    """Model minus control over the same seeds and objects; negative: the model is better."""

    mean: float
    low: float
    high: float
    p: float  # two-sided; of one seed by bootstrap, and at least 2 / (num_draws + 1)
    share_better: float  # of the objects, ties counted half
    num_objects: int
    num_seeds: int


@dataclass(frozen=True)
class Luck:
    """How much a training's seed moves its mean error, pooled over configurations.

    `square` is the mean square between seeds and `rest` that of objects within seeds (what is left
    of both once seed and object are taken out), as in a two-way layout; `freedom` counts the
    degrees of freedom of `square`: few seeds, but of many configurations, tell much together.
    """

    square: float
    rest: float
    num_objects: float
    freedom: int

    @property
    def variance(self) -> float:
        """Of a training's mean error over seeds, objects being the same; not below 0."""
        return max(0.0, (self.square - self.rest) / self.num_objects)

    def of_difference(self) -> "Luck":
        """Of the difference of two trainings, each with luck of its own."""
        return replace(self, square=2 * self.square, rest=2 * self.rest)


def luck_of_seeds(groups: Sequence[Errors]) -> Luck | None:
    """Pool the replicates of several configurations, (seed, object id) -> error each.

    None where no configuration has two seeds. Assumes that seeds matter about as much in one
    configuration as in another; with one configuration alone nothing is assumed.
    """
    squares, rests, freedoms, sizes = [], [], [], []
    for group in groups:
        values = _crossed(group)
        num_seeds, num_objects = values.shape
        if num_seeds < 2 or num_objects < 2:
            continue
        rows = values.mean(axis=1, keepdims=True)
        columns = values.mean(axis=0, keepdims=True)
        squares.append(num_objects * float(rows.var(ddof=1)))
        rest = float(((values - rows - columns + values.mean()) ** 2).sum())
        rests.append(rest / ((num_seeds - 1) * (num_objects - 1)))
        freedoms.append(num_seeds - 1)
        sizes.append(num_objects)
    if not squares:
        return None
    return Luck(
        square=float(np.average(squares, weights=freedoms)),
        rest=float(np.average(rests, weights=freedoms)),
        num_objects=float(np.average(sizes, weights=freedoms)),
        freedom=sum(freedoms),
    )


def seed_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean over seeds and Student's t interval; for values that are one per replicate."""
    v = np.asarray(values, np.float64)
    v = v[np.isfinite(v)]
    if v.size == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(v.mean())
    if v.size == 1:
        return Interval(mean, math.nan, math.nan, 1)
    half = float(stats.t.ppf((1 + level) / 2, v.size - 1) * v.std(ddof=1) / math.sqrt(v.size))
    return Interval(mean, mean - half, mean + half, int(v.size))


def paired_difference(
    model: Errors,
    control: Errors,
    *,
    luck: Luck | None = None,
    level: float = 0.95,
    num_draws: int = 4000,
    seed: int = 0,
) -> Difference:
    """The mean difference, paired by object and seed: would it be there with others of both?

    A reference without seeds is given once per seed of the model (`repeat_over_seeds`). Only pairs
    that both have count. The objects are drawn with replacement (bootstrap). With several seeds the
    draws are widened by the luck of the trainings, and by Student's t with the degrees of freedom
    of the sum (Satterthwaite 1946): `luck` is that of the difference, pooled over configurations;
    without it, what these seeds tell alone, which two hardly do. With one seed nothing is known of
    luck and the interval covers new objects only: another training may come out different.
    One object alone says nothing of others: NaN.

    With no effect p is below 0.05 in 3 to 7 % of simulated comparisons (400 each, 2 to 5 seeds,
    luck of 0 to 6 times the objects' standard error, pooled over 4 to 12 configurations).
    """
    pairs = model.keys() & control.keys()
    a, b = _crossed({k: model[k] for k in pairs}), _crossed({k: control[k] for k in pairs})
    num_seeds, num_objects = a.shape
    if num_objects < FEWEST_OBJECTS:
        unknown = (math.nan,) * 5
        return Difference(*unknown, num_objects, num_seeds)
    per_object = (a - b).mean(axis=0)
    mean = float(per_object.mean())
    draws = _bootstrap(per_object, num_draws, np.random.default_rng(seed))
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    tail = min((draws <= 0).sum(), (draws >= 0).sum())
    p = min(1.0, 2 * (tail + 1) / (num_draws + 1))
    luck = luck or luck_of_seeds([{key: model[key] - control[key] for key in pairs}])
    if num_seeds > 1 and luck is not None:
        error, freedom = _standard_error(per_object, luck, num_seeds)
        if error > 0:
            p = float(2 * stats.t.sf(abs(mean) / error, freedom))
            half = float(stats.t.ppf((1 + level) / 2, freedom)) * error
            spread = (high - low) / 2  # the bootstrap's skew stays, its width is the t interval's
            stretch = half / spread if spread > 0 else 0.0
            low = mean + (low - mean) * stretch if stretch else mean - half
            high = mean + (high - mean) * stretch if stretch else mean + half
    return Difference(
        mean=mean,
        low=float(low),
        high=float(high),
        p=float(p),
        share_better=float((per_object < 0).mean() + (per_object == 0).mean() / 2),
        num_objects=num_objects,
        num_seeds=num_seeds,
    )


def _crossed(errors: Errors) -> np.ndarray:
    """(S, O) errors of the objects that every seed has, both in order."""
    seeds = sorted({s for s, _ in errors})
    per_seed = [{o for s, o in errors if s == one} for one in seeds]
    objects = sorted(set.intersection(*per_seed)) if per_seed else []
    found = [[errors[s, o] for o in objects] for s in seeds]
    return np.array(found, np.float64).reshape(len(seeds), len(objects))


def _standard_error(per_object: np.ndarray, luck: Luck, num_seeds: int) -> tuple[float, float]:
    """Of the mean over objects and seeds, and its degrees of freedom.

    The luck's own uncertainty is that of `square`: its degrees of freedom are the few ones.
    """
    num_objects = len(per_object)
    of_objects = float(per_object.var(ddof=1)) / num_objects
    of_seeds = luck.variance / num_seeds
    total = of_objects + of_seeds
    if of_seeds <= 0:
        return math.sqrt(total), max(1, num_objects - 1)
    uncertainty = of_objects**2 / max(1, num_objects - 1)
    uncertainty += (luck.square / luck.num_objects / num_seeds) ** 2 / luck.freedom
    return math.sqrt(total), max(1.0, total**2 / uncertainty)


def _bootstrap(values: np.ndarray, num_draws: int, rng: np.random.Generator) -> np.ndarray:
    """(num_draws,) means of values (O,) drawn with replacement."""
    means = np.empty(num_draws)
    block = max(1, 2_000_000 // len(values))  # bounds the memory of the weights
    uniform = np.full(len(values), 1 / len(values))
    for start in range(0, num_draws, block):
        size = min(block, num_draws - start)
        means[start : start + size] = rng.multinomial(len(values), uniform, size) @ values
    return means / len(values)


def repeat_over_seeds(
    by_object: Mapping[str, float], seeds: Sequence[int]
) -> dict[tuple[int, str], float]:
    """A reference's errors per object, once for every seed that it is compared with."""
    return {(s, o): value for s in seeds for o, value in by_object.items()}


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction for several comparisons (Holm 1979); NaN stays NaN."""
    known = [i for i, p in enumerate(p_values) if not math.isnan(p)]
    corrected = [math.nan] * len(p_values)
    running = 0.0
    for rank, i in enumerate(sorted(known, key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(known) - rank) * p_values[i]))
        corrected[i] = running
    return corrected


def passes_gate(error: float, mean_error: float, margin: float = GATE_MARGIN) -> bool:
    """The learning gate: whether a model beats the training mean by 20 %, else it is not ranked."""
    return error <= (1 - margin) * mean_error
