"""A study's design: a base configuration, axes, models and seeds in; cells out.

Every cell is checked against the configuration before anything starts. A cell is a training (its
fingerprint) and an evaluation (its own); axes below `evaluation.` add cells, never trainings.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from daep_ray.config import (
    EVALUATION_VERSION,
    SCIENCE_VERSION,
    RunConfig,
    evaluation_fingerprint,
    resolve,
    training_fingerprint,
)
from daep_ray.errors import ConfigError
from daep_ray.evaluate import REFERENCES
from daep_ray.settings import canonical_hash, override
from daep_ray.shards.manifest import Manifest
from daep_ray.stream.recipe import recipe_identity
from daep_ray.study.axes import COSTS, ERROR, Axis, Range, Target, axis_json
from daep_ray.study.conditional import applied, refuse_unused

# How settings are chosen: all of them, drawn blindly, after the error so far, on several targets.
Search = Literal["grid", "random", "optuna", "pareto"]
Scheduler = Literal["none", "asha"]  # whether trainings that do badly are stopped early
# What a reference's numbers do not depend on: it has no draws and no budget of memory worth naming,
# and it is shown no values.
_NOT_OF_REFERENCES = ("sampler", "num_draws", "token_budget", "visible_share")


@dataclass(frozen=True)
class StudySpec:
    """A question and the design that answers it.

    `models` maps a name to overrides of the base; the first is the control of paired differences.
    `asks`: what the question is about, and a report's first sentence.
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
    search: Search = "grid"
    num_trials: int = 20  # of a search: settings tried, each with every seed
    # what a search looks for, never the test split; `pareto` weighs several against each other
    target: str | Target | tuple[str | Target, ...] = ERROR
    scheduler: Scheduler = "none"
    asks: Literal["error", "bias_before_peak"] = "error"

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets; of `pareto` with only one, the code's floats and the seconds as well."""
        given = (self.target,) if isinstance(self.target, str | Target) else self.target
        found = tuple(t if isinstance(t, Target) else Target(t) for t in given)
        if self.search == "pareto" and len(found) == 1:
            found += tuple(Target(cost) for cost in COSTS if cost != found[0].name)
        return found

    @property
    def num_settings(self) -> int | None:
        """Settings that the axes and models allow; None where a range allows any number."""
        sizes = [len(axis.values) for axis in self.axes if isinstance(axis, Axis)]
        return math.prod(sizes) * len(self.models) if len(sizes) == len(self.axes) else None

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
            "axes": [entry for axis in self.axes for entry in axis_json(axis)],
            "models": {name: dict(changes) for name, changes in self.models.items()},
            "control": next(iter(self.models)),
            "seeds": list(self.seeds),
            "references": list(self.references),
            "search": self.search,
            "base": base,
        }
        if self.asks != "error":
            content["asks"] = self.asks
        if self.search != "grid":
            content["num_trials"] = self.num_trials
        if self.search == "optuna" or self.scheduler != "none":
            content["target"] = self.targets[0].to_json()
        if self.search == "pareto":
            content["targets"] = [target.to_json() for target in self.targets]
        if self.scheduler != "none":
            content["scheduler"] = self.scheduler
        return content


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
        raise ConfigError(
            "a Range has no end of values, and a grid tries all of them: give --search random, "
            "optuna or pareto, or an Axis"
        )
    _check_search(spec)
    _check_scheduler(spec)


def _check_search(spec: StudySpec) -> None:
    _choice("search", spec.search, get_args(Search))
    for target in spec.targets:
        target.check()
        if target.name.startswith("validation/"):
            _require_validation(spec, target.name)
    if spec.search == "grid":
        return
    if spec.num_trials < 1:
        raise ConfigError(f"a search of {spec.num_trials} trials tries nothing: give --trials 1")
    size = spec.num_settings
    if spec.search == "random":
        if size is not None and spec.num_trials > size:
            raise ConfigError(
                f"--trials {spec.num_trials} is more than the {size} settings of this design: "
                "give fewer, or --search grid to train all of them"
            )
        return
    if spec.search == "optuna" and len(spec.targets) > 1:
        names = ", ".join(target.name for target in spec.targets)
        raise ConfigError(f"--search optuna takes one target, not {names}: give --search pareto")
    for path in (path for axis in spec.axes for path in axis.paths):
        if path.startswith("evaluation."):
            raise ConfigError(
                f"axis {path!r} changes no training, so --search {spec.search} cannot tell its "
                "values apart: give --search grid, which measures all of them from one training"
            )


def _check_scheduler(spec: StudySpec) -> None:
    _choice("scheduler", spec.scheduler, get_args(Scheduler))
    if spec.scheduler == "none":
        return
    alternative = "leave --scheduler asha out"
    if spec.search == "grid":
        raise ConfigError(
            "--scheduler asha stops trainings early, and a grid needs every cell: give --search "
            f"random or optuna, or {alternative}"
        )
    if spec.search == "pareto":
        raise ConfigError(
            "--scheduler asha looks at one curve, and would stop the small and the fast for being "
            f"less accurate: give --search optuna, or {alternative}"
        )
    if not spec.targets[0].is_curve:
        raise ConfigError(
            f"--scheduler asha needs a learning curve as target, not {spec.targets[0].name!r}: "
            f"name {ERROR}, or {alternative}"
        )
    if spec.base.runtime.num_workers:
        raise ConfigError(
            "--scheduler asha needs trainings that tell their curve as they go, which Ray Train "
            f"workers do not: give --workers 0, or {alternative}"
        )


def _choice(option: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        raise ConfigError(f"unknown --{option} {given!r}: choose one of {', '.join(known)}")


def _require_validation(spec: StudySpec, name: str) -> None:
    is_used = spec.search in ("optuna", "pareto") or spec.scheduler != "none"
    if is_used and not spec.base.runtime.validation_objects:
        raise ConfigError(
            f"a search by {name} needs a validation curve: set runtime.validation_objects above 0"
        )


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
    """PCA at every number of floats, the training mean, and a Gaussian process where something has
    a time; once per way of measuring."""
    found: dict[str, Cell] = {}
    timed = {m.name for m in manifest.modalities if m.is_timed}
    for name in spec.references:
        ordered = sorted(of, key=lambda c: c.num_floats or 0)
        for cell in ordered:
            if name == "gp" and timed.isdisjoint(cell.config.modalities):
                continue
            made = _reference(name, cell, manifest)
            found.setdefault(made.id, made)
    return list(found.values())


def _reference(name: str, like: Cell, manifest: Manifest) -> Cell:
    config = like.config
    assert config.recipe is not None
    num_floats = like.num_floats if name == "pca" else None
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
        evaluation=canonical_hash([EVALUATION_VERSION, training, measured]),
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
