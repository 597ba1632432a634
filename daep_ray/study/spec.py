"""A study's design: a base configuration, axes, models and seeds in; cells out.

Every cell is checked against the configuration before anything starts. A cell is a training (its
fingerprint) and an evaluation (its own); axes below `evaluation.` add cells, never trainings.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from daep_ray.config import (
    SCIENCE_VERSION,
    RunConfig,
    evaluation_fingerprint,
    resolve,
    training_fingerprint,
)
from daep_ray.errors import ConfigError
from daep_ray.settings import canonical_hash, override
from daep_ray.shards.manifest import Manifest
from daep_ray.stream.recipe import recipe_identity
from daep_ray.study.conditional import applied, refuse_unused

REFERENCES = ("pca", "mean")
# What a reference's numbers do not depend on: it has no draws and no budget of memory worth naming,
# and it is shown no values.
_NOT_OF_REFERENCES = ("sampler", "num_draws", "token_budget", "visible_share")


@dataclass(frozen=True)
class Axis:
    """A dotted path and its values; several paths that go together take tuples of values.

    `Axis("model.width", [32, 64])`
    `Axis(("model.bottleneck.length", "model.bottleneck.width"), [(1, 2), (4, 4)])`
    `Axis("evaluation.sampler.num_steps", [5, 50], is_conditional=True)`: a model that has no such
    setting, or never looks at it, has one cell there instead of one per value (`conditional.py`).
    """

    path: str | tuple[str, ...]
    values: Sequence[Any]
    is_conditional: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if isinstance(self.path, str) else tuple(self.path)

    def assignments(self) -> list[dict[str, Any]]:
        """`{path: value}` for each of the axis' values.

        Raises:
            ConfigError: no values, or a tuple of another length than the paths.
        """
        if not self.values:
            raise ConfigError(f"axis {self.path!r} has no values: give at least one")
        if isinstance(self.path, str):
            return [{self.path: value} for value in self.values]
        for value in self.values:
            if len(value) != len(self.path):
                raise ConfigError(
                    f"axis {self.path!r} has the value {value!r}: give one value per path"
                )
        return [dict(zip(self.path, value, strict=True)) for value in self.values]


@dataclass(frozen=True)
class Range:
    """An interval of a setting, for `search="optuna"` only; integers if both ends are."""

    path: str
    low: float
    high: float
    is_log: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,)

    @property
    def is_conditional(self) -> bool:
        return False

    def assignments(self) -> list[dict[str, Any]]:
        """Both ends, so that the whole range is checked before anything starts."""
        return [{self.path: self.low}, {self.path: self.high}]


@dataclass(frozen=True)
class StudySpec:
    """A question and the design that answers it.

    `models` maps a name to overrides of the base; the first is the control of paired differences.
    """

    name: str
    title: str
    question: str
    expectation: str
    base: RunConfig
    axes: tuple[Axis | Range, ...]
    models: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...] = (0,)
    references: tuple[str, ...] = REFERENCES
    preset: str = ""
    search: Literal["grid", "optuna"] = "grid"
    num_trials: int = 20  # of a search with Optuna: settings tried, each with every seed
    target: str = "validation/absolute_error"  # what Optuna minimises; never the test split

    @property
    def conditional(self) -> tuple[str, ...]:
        """Paths that not every model need have."""
        return tuple(path for axis in self.axes if axis.is_conditional for path in axis.paths)

    def with_settings(self, assignments: Mapping[str, Any]) -> "StudySpec":
        """A copy with settings of the base replaced; what the study itself varies is refused.

        Raises:
            ConfigError: an unknown path, a value out of range, or a setting that the study varies.
        """
        varied = {path for axis in self.axes for path in axis.paths} | {"seed"}
        varied |= {path for model in self.models.values() for path in model}
        for path in assignments:
            if path in varied:
                raise ConfigError(
                    f"--set {path} has no effect here: the study {self.name!r} varies it itself; "
                    "edit its axes, models or seeds"
                )
        return replace(self, base=override(self.base, dict(assignments)))

    def resolved(self, manifest: Manifest) -> "StudySpec":
        """A copy whose base is filled in from the data, so that axes may reach into the recipe.

        Raises:
            ConfigError: the survey has no such modality.
        """
        return replace(self, base=resolve(self.base, manifest))

    def to_json(self) -> dict[str, Any]:
        """The design as JSON; two studies are the same if this is, the runtime apart."""
        base = self.base.model_dump(mode="json")
        base.pop("runtime")
        content: dict[str, Any] = {
            "name": self.name,
            "title": self.title,
            "question": self.question,
            "expectation": self.expectation,
            "preset": self.preset,
            "axes": [entry for axis in self.axes for entry in _axis_json(axis)],
            "models": {name: dict(changes) for name, changes in self.models.items()},
            "control": next(iter(self.models)),
            "seeds": list(self.seeds),
            "references": list(self.references),
            "search": self.search,
            "base": base,
        }
        if self.search == "optuna":
            content |= {"num_trials": self.num_trials, "target": self.target}
        return content


def _axis_json(axis: Axis | Range) -> Iterator[dict[str, Any]]:
    """One entry per path; paths that go together list their values in step and name each other."""
    if isinstance(axis, Range):
        yield {"path": axis.path, "values": [axis.low, axis.high], "is_log": axis.is_log}
        return
    for path in axis.paths:
        others = [p for p in axis.paths if p != path]
        values = [point[path] for point in axis.assignments()]
        entry: dict[str, Any] = {"path": path, "values": values}
        entry |= {"tied_to": others} if others else {}
        yield entry | ({"is_conditional": True} if axis.is_conditional else {})


@dataclass(frozen=True)
class Cell:
    """One row of the design: a training plus inference settings, or a reference."""

    model: str
    seed: int | None  # None: a reference
    num_floats: int | None  # None: the training mean
    config: RunConfig  # resolved against the data
    training: str
    evaluation: str
    settings: dict[str, Any] = field(default_factory=dict)  # the axes' values by path

    @property
    def id(self) -> str:
        return canonical_hash([self.training, self.evaluation])

    @property
    def is_reference(self) -> bool:
        return self.seed is None


def cells(spec: StudySpec, manifest: Manifest) -> list[Cell]:
    """Every cell of an enumerated study: models x axes x seeds, then the references.

    Along a conditional axis that a model does without, its cells are one.

    Raises:
        ConfigError: a path, value, model or reference that does not exist, two equal cells, or a
            conditional axis that concerns no model.
    """
    check(spec)
    spec = spec.resolved(manifest)
    points = [_joined(parts) for parts in itertools.product(*(a.assignments() for a in spec.axes))]
    found: list[Cell] = []
    for model in spec.models:
        for point in points:
            found += cells_at(spec, manifest, model, point)
    reached = {path for cell in found for path in cell.settings}
    refuse_unused(spec.base, spec.models, spec.conditional, reached)
    found = _collapsed(found, sum(len(axis.paths) for axis in spec.axes))
    _refuse_equal(found)
    return found + references(spec, manifest, found)


def check(spec: StudySpec) -> None:
    """Refuse a design that cannot be run, before its cells are looked at.

    Raises:
        ConfigError: in one sentence.
    """
    if not spec.models or not spec.seeds:
        raise ConfigError(f"study {spec.name!r} has no models or no seeds: give at least one each")
    if len(set(spec.seeds)) < len(spec.seeds):
        raise ConfigError(f"seeds {list(spec.seeds)} are not distinct: a replicate is a new seed")
    for name in spec.references:
        if name not in REFERENCES:
            raise ConfigError(f"unknown reference {name!r}: choose among {', '.join(REFERENCES)}")
    paths = [path for axis in spec.axes for path in axis.paths]
    if len(set(paths)) < len(paths):
        raise ConfigError(f"the axes {paths} name a path twice: give it once")
    if spec.search == "grid" and any(isinstance(axis, Range) for axis in spec.axes):
        raise ConfigError('a Range needs search="optuna": an enumerated study takes Axis')


def cells_at(
    spec: StudySpec, manifest: Manifest, model: str, point: Mapping[str, Any]
) -> list[Cell]:
    """The replicates of one model at one point of the design, one per seed."""
    point = applied(spec.base, spec.models[model], point, spec.conditional)
    found = []
    for seed in spec.seeds:
        changed = override(spec.base, {**spec.models[model], **point, "seed": seed})
        config = resolve(changed, manifest)
        training = training_fingerprint(config, manifest.hash)
        bottleneck = config.model.bottleneck
        found.append(
            Cell(
                model=model,
                seed=seed,
                num_floats=bottleneck.length * bottleneck.width,
                config=config,
                training=training,
                evaluation=evaluation_fingerprint(config, training),
                settings=dict(point),
            )
        )
    return found


def references(spec: StudySpec, manifest: Manifest, of: Sequence[Cell]) -> list[Cell]:
    """PCA at every number of floats and the training mean, once per way of measuring."""
    found: dict[str, Cell] = {}
    for name in spec.references:
        ordered = sorted(of, key=lambda c: c.num_floats or 0)
        for cell in ordered:
            made = _reference(name, cell, manifest)
            found.setdefault(made.id, made)
    return list(found.values())


def _reference(name: str, like: Cell, manifest: Manifest) -> Cell:
    config = like.config
    assert config.recipe is not None
    num_floats = None if name == "mean" else like.num_floats
    recipe = {m: recipe_identity(config.recipe.modalities[m]) for m in config.modalities}
    identity = [name, num_floats, list(config.modalities), recipe, manifest.hash, SCIENCE_VERSION]
    evaluation = config.evaluation.model_dump(mode="json")
    measured = {k: v for k, v in evaluation.items() if k not in _NOT_OF_REFERENCES}
    training = canonical_hash(["reference", *identity])
    kept = ("recipe.", "modalities", "evaluation.")
    ignored = tuple(f"evaluation.{part}" for part in _NOT_OF_REFERENCES)
    settings = {
        path: value
        for path, value in like.settings.items()
        if path.startswith(kept) and not path.startswith(ignored)
    }
    return Cell(
        model=name,
        seed=None,
        num_floats=num_floats,
        config=config,
        training=training,
        evaluation=canonical_hash([training, measured]),
        settings=settings,
    )


def _joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {path: value for part in parts for path, value in part.items()}


def _collapsed(found: Sequence[Cell], num_paths: int) -> list[Cell]:
    """Of equal cells of a model that does without a conditional axis, the first."""
    kept: dict[tuple[str, str, int], Cell] = {}
    for place, cell in enumerate(found):
        has_every_axis = len(cell.settings) == num_paths
        kept.setdefault((cell.model, cell.id, place if has_every_axis else -1), cell)
    return list(kept.values())


def _refuse_equal(found: Sequence[Cell]) -> None:
    """Two cells with one identity would be one result under two names."""
    seen: dict[str, Cell] = {}
    for cell in found:
        twin = seen.setdefault(cell.id, cell)
        if twin is not cell:
            raise ConfigError(
                f"two cells are the same ({twin.model} {twin.settings} and {cell.model} "
                f"{cell.settings}): an axis changes nothing that can change a result; remove it"
            )
