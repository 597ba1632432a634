"""A study that draws its settings instead of enumerating them: its space, its cells.

In: a `StudySpec` whose `search` is no grid. Out: trainings for a suggestion; the cells of a random
search, which the design alone decides; the cells of every suggestion in the journal so far; what
has not been tried. No search tries two settings with the same cells.
"""

import json
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from daep_ray.shards.manifest import Manifest
from daep_ray.study.journal import Journal, Suggestion
from daep_ray.study.spec import Axis, Cell, Range, StudySpec, cells_at, references
from daep_ray.study.trial import Trial, trials

_TRIES = 100  # draws per setting wanted, before a range is taken to have no more
_MOST = 10_000_000  # settings: what has more is taken to have no end


def space(spec: StudySpec) -> dict[str, BaseDistribution]:
    """What is drawn from: the model, an index into each axis, a number in each range."""
    found: dict[str, BaseDistribution] = {"model": CategoricalDistribution(list(spec.models))}
    for axis in spec.axes:
        if isinstance(axis, Axis):
            found[_name(axis)] = CategoricalDistribution(list(range(len(axis.values))))
        elif isinstance(axis.low, int) and isinstance(axis.high, int):
            found[_name(axis)] = IntDistribution(axis.low, axis.high, log=axis.is_log)
        else:
            found[_name(axis)] = FloatDistribution(axis.low, axis.high, log=axis.is_log)
    return found


def cells_of(spec: StudySpec, manifest: Manifest, suggestion: Suggestion) -> list[Cell]:
    """The replicates of a suggestion, one per seed."""
    point: dict[str, Any] = {}
    for axis in spec.axes:
        drawn = suggestion[_name(axis)]
        point |= {axis.path: drawn} if isinstance(axis, Range) else axis.assignments()[drawn]
    return cells_at(spec, manifest, suggestion["model"], point)


def trials_of(spec: StudySpec, manifest: Manifest, suggestion: Suggestion) -> list[Trial]:
    """The trainings of a suggestion."""
    return trials(cells_of(spec, manifest, suggestion))


def identity(spec: StudySpec, manifest: Manifest, suggestion: Suggestion) -> str:
    """What suggestions share that have the same cells: the settings that their model looks at."""
    return cells_of(replace(spec, seeds=spec.seeds[:1]), manifest, suggestion)[0].id


def num_wanted(spec: StudySpec, manifest: Manifest) -> int:
    """Settings that a search tries: its `num_trials`, or all that there are if those are fewer."""
    if spec.search == "random":
        return len(drawn(spec, manifest))
    found: set[str] = set()
    for suggestion in _finite(spec, np.random.default_rng(0)) or ():
        found.add(identity(spec, manifest, suggestion))
        if len(found) == spec.num_trials:
            break
    return len(found) or spec.num_trials


def untried(
    spec: StudySpec, manifest: Manifest, known: Collection[str], seed: int
) -> Suggestion | None:
    """A setting at random whose identity is not among the known; None where none is found."""
    rng = np.random.default_rng(seed)
    for suggestion in _finite(spec, rng) or _endless(spec, rng, _TRIES):
        if identity(spec, manifest, suggestion) not in known:
            return suggestion
    return None


def _name(axis: Axis | Range) -> str:
    return ",".join(axis.paths)


def drawn(spec: StudySpec, manifest: Manifest) -> list[Suggestion]:
    """The settings of a random search, no two with the same cells: fixed by the design alone.

    More trials begin with the same ones. Fewer come back where ranges allow fewer.
    """
    kept: dict[str, Suggestion] = {}
    rng = np.random.default_rng(0)
    # whole numbers are drawn as well, evenly in their logarithm where asked
    has_ranges = spec.num_settings is None
    given = None if has_ranges else _finite(spec, rng)
    for suggestion in given or _endless(spec, rng, spec.num_trials * _TRIES):
        kept.setdefault(identity(spec, manifest, suggestion), suggestion)
        if len(kept) == spec.num_trials:
            break
    return list(kept.values())


def _finite(spec: StudySpec, rng: np.random.Generator) -> Iterator[Suggestion] | None:
    """Every setting once in random order; None where there is no end of them."""
    values = {name: _values(of) for name, of in space(spec).items()}
    sizes = [len(found) for found in values.values()]
    if not all(sizes) or math.prod(sizes) > _MOST:
        return None
    places = (np.unravel_index(n, sizes) for n in rng.permutation(math.prod(sizes)))
    return (
        {name: values[name][int(i)] for name, i in zip(values, place, strict=True)}
        for place in places
    )


def _endless(spec: StudySpec, rng: np.random.Generator, num: int) -> Iterator[Suggestion]:
    choices = space(spec)
    for _ in range(num):
        yield {name: drawn_from(of, rng) for name, of in choices.items()}


def _values(of: BaseDistribution) -> Sequence[Any]:
    """What can be drawn; empty where there is no end of it."""
    if isinstance(of, CategoricalDistribution):
        return of.choices
    if isinstance(of, IntDistribution):
        return range(of.low, of.high + 1)
    assert isinstance(of, FloatDistribution)
    return [of.low] if of.single() else []


def drawn_from(of: BaseDistribution, rng: np.random.Generator) -> Any:
    """One value: a choice, or a number of an interval, evenly or evenly in its logarithm."""
    if isinstance(of, CategoricalDistribution):
        return of.choices[rng.integers(len(of.choices))]
    assert isinstance(of, IntDistribution | FloatDistribution)
    is_whole = isinstance(of, IntDistribution)
    low, high = (of.low - 0.5, of.high + 0.5) if is_whole else (of.low, of.high)
    value = math.exp(rng.uniform(*np.log([low, high]))) if of.log else rng.uniform(low, high)
    return min(of.high, max(of.low, round(value))) if is_whole else float(value)


def tried(spec: StudySpec, manifest: Manifest, journal: Journal) -> list[Cell]:
    """Cells of every suggestion that ended, in the order of the space, then the references."""
    ended = (end.suggestion for end in journal.ended())
    return _ordered(spec, manifest, [cell for s in ended for cell in cells_of(spec, manifest, s)])


def planned(spec: StudySpec, manifest: Manifest) -> list[Cell]:
    """Cells of a random search, tried or not, in the order of the space, then the references."""
    return _ordered(
        spec, manifest, [c for s in drawn(spec, manifest) for c in cells_of(spec, manifest, s)]
    )


def _ordered(spec: StudySpec, manifest: Manifest, given: Sequence[Cell]) -> list[Cell]:
    models = list(spec.models)
    found = sorted(
        {cell.id: cell for cell in given}.values(),
        key=lambda c: (models.index(c.model), json.dumps(c.settings), c.seed or 0),
    )
    return found + references(spec, manifest, found)
