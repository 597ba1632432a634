"""Which settings are worth having, and which axes matter: over a study's cells, not its objects.

Numbers in, numbers out; neither torch nor Ray. Costs and errors are "lower is better" throughout.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


def pareto_front(points: Sequence[Sequence[float]]) -> list[int]:
    """Places of the points that no other one beats, in their order.

    A point is beaten by one that is at least as good in everything (error, floats, seconds) and
    better in something; equal points stay together. A point with a NaN or an infinity, a training
    that failed, is on no front.
    """
    p = np.asarray(points, np.float64)
    if p.size == 0:
        return []
    known = np.isfinite(p).all(axis=1)

    def is_beaten(point: np.ndarray) -> bool:
        others = p[known]
        return bool(((others <= point).all(axis=1) & (others < point).any(axis=1)).any())

    return [i for i in np.flatnonzero(known).tolist() if not is_beaten(p[i])]


@dataclass(frozen=True)
class Importance:
    """What one axis does to a value.

    `share` of the variance over cells lies between the axis' marginal means (eta squared): with a
    full grid the shares of all axes, of their interactions and of the seeds add up to 1.
    `by_chance` is the share that the axis would have if its values were shuffled: with few cells it
    is far from 0. `p` is the probability of the share, or more, under such shuffling.
    """

    path: str
    share: float
    by_chance: float
    p: float  # at least 1 / (num_shuffles + 1)
    num_values: int
    num_cells: int  # those that have the axis


def axis_importance(
    cells: Sequence[tuple[Mapping[str, Any], float]],
    *,
    num_shuffles: int = 2000,
    seed: int = 0,
) -> list[Importance]:
    """How much of a value's variance each axis explains, the largest share first.

    `cells` holds every cell's settings by path and its value, say the error; give the model and the
    seed as settings too. Values are shuffled among the cells that agree in everything but the axis,
    so other axes and a seed's luck neither help nor hurt it, and with no effect p is below 0.05 in
    5 % of the studies, whatever the errors' distribution. An axis with one value is left out;
    so are cells without it (a VAE has no solver steps) and values that are no number.
    """
    known = [(settings, value) for settings, value in cells if math.isfinite(value)]
    rng = np.random.default_rng(seed)
    found = []
    for path in dict.fromkeys(path for settings, _ in known for path in settings):
        own = [(settings, value) for settings, value in known if path in settings]
        levels = _numbered([repr(settings[path]) for settings, _ in own])
        if levels.max() == 0:
            continue
        strata = _numbered([_others(settings, path) for settings, _ in own])
        values = np.array([value for _, value in own])
        found.append(_importance(path, levels, strata, values, num_shuffles, rng))
    return sorted(found, key=lambda i: -i.share)


def _others(settings: Mapping[str, Any], path: str) -> str:
    return repr(sorted((p, repr(v)) for p, v in settings.items() if p != path))


def _numbered(words: Sequence[str]) -> np.ndarray:
    """0 for the first word and all that are equal to it, 1 for the next, and so on."""
    numbers = {word: i for i, word in enumerate(dict.fromkeys(words))}
    return np.array([numbers[word] for word in words])


def _importance(
    path: str,
    levels: np.ndarray,
    strata: np.ndarray,
    values: np.ndarray,
    num_shuffles: int,
    rng: np.random.Generator,
) -> Importance:
    share = float(_shares(values[None], levels)[0])
    order = np.argsort(strata, kind="stable")
    shuffled = np.empty((num_shuffles, len(values)))
    # sorted by stratum and, inside it, by a random number: a shuffle within strata
    keys = strata[order] + rng.random((num_shuffles, len(values)))
    shuffled[:, order] = values[order][np.argsort(keys, axis=1)]
    by_chance = _shares(shuffled, levels)
    tolerance = 1e-12  # a shuffle that changes nothing differs by rounding
    num_as_large = int((by_chance >= share - tolerance).sum())
    return Importance(
        path=path,
        share=share,
        by_chance=float(by_chance.mean()),
        p=(num_as_large + 1) / (num_shuffles + 1),
        num_values=int(levels.max()) + 1,
        num_cells=len(values),
    )


def _shares(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Variance between the levels' means as a share of the whole, per row of values (R, cells)."""
    centred = values - values.mean(axis=1, keepdims=True)
    total = (centred**2).sum(axis=1)
    members = levels[:, None] == np.arange(levels.max() + 1)  # (cells, levels)
    between = ((centred @ members) ** 2 / members.sum(axis=0)).sum(axis=1)
    return np.divide(between, total, out=np.zeros_like(total), where=total > 0)
