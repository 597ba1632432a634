"""A study that Optuna samples instead of enumerating: its space, its journal, its trials.

In: a `StudySpec` with `search="optuna"`. Out: trainings for a suggestion, and from the journal in
OUT/trials.jsonl the cells of every suggestion so far. The journal, not Optuna's memory, survives a
kill: suggestions that had begun are tried first, those that ended are told again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from daep_ray.shards.manifest import Manifest
from daep_ray.study.spec import Axis, Cell, Range, StudySpec, cells_at, references
from daep_ray.study.trial import Trial, trials

Suggestion = Mapping[str, Any]


def space(spec: StudySpec) -> dict[str, BaseDistribution]:
    """What Optuna draws from: the model, an index into each axis, a number in each range."""
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


def _name(axis: Axis | Range) -> str:
    return ",".join(axis.paths)


@dataclass(frozen=True)
class Journal:
    """OUT/trials.jsonl: one line when a suggestion begins, one when it ends."""

    path: Path

    def begin(self, suggestion: Suggestion) -> None:
        self._append({"begun": dict(suggestion)})

    def end(self, suggestion: Suggestion, value: float | None) -> None:
        """`value` is what Optuna minimises; None: the trial failed."""
        self._append({"ended": dict(suggestion), "value": value})

    def ended(self) -> list[tuple[dict[str, Any], float | None]]:
        return [(line["ended"], line["value"]) for line in self._lines() if "ended" in line]

    def unfinished(self) -> list[dict[str, Any]]:
        """Suggestions that had begun when the study was killed."""
        ended = [suggestion for suggestion, _ in self.ended()]
        begun = [line["begun"] for line in self._lines() if "begun" in line]
        return [s for i, s in enumerate(begun) if s not in ended and s not in begun[:i]]

    def cells(self, spec: StudySpec, manifest: Manifest) -> list[Cell]:
        """Cells of every suggestion that ended, in the order of the space, then the references."""
        distinct = {cell.id: cell for s, _ in self.ended() for cell in cells_of(spec, manifest, s)}
        models = list(spec.models)
        found = sorted(
            distinct.values(),
            key=lambda c: (models.index(c.model), json.dumps(c.settings), c.seed or 0),
        )
        return found + references(spec, manifest, found)

    def _append(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a") as file:
            # begins with a newline: the line before may have been cut by a kill
            file.write("\n" + json.dumps(line, sort_keys=True))

    def _lines(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        lines = []
        for text in self.path.read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                continue  # cut by a kill
        return lines
