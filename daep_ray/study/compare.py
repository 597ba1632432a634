"""Two studies side by side, paired over objects and seeds, configuration by configuration.

In: the folders of two studies. Out: rows, `second` minus `first`. Only tables and designs are read,
so this works wherever they have been copied to.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from daep_ray.errors import DataError
from daep_ray.study import tables
from daep_ray.study.statistics import (
    FEWEST_OBJECTS,
    Difference,
    Luck,
    holm,
    luck_of_seeds,
    paired_difference,
)
from daep_ray.study.summary import ESTIMATES, HEADLINE

Configuration = tuple[str, int | None, str]  # model, floats, settings as JSON
Errors = dict[tuple[int, str], float]  # (seed, object) -> error


@dataclass(frozen=True)
class Row:
    """One configuration that both studies have, in one modality."""

    modality: str
    model: str
    num_floats: int | None
    settings: dict[str, Any]
    estimate: str
    first: float  # mean error over the compared seeds and objects
    second: float
    difference: Difference
    p: float  # corrected over all rows (Holm)


@dataclass(frozen=True)
class Comparison:
    """`only_first` and `only_second`: configurations that the other study has no results of."""

    rows: tuple[Row, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Study:
    out: Path
    spec: Mapping[str, Any]
    errors: Mapping[tuple[str, str, Configuration], Errors]  # by modality, estimate, configuration
    configurations: tuple[Configuration, ...]  # those with results, in the design's order


def compare(first: Path, second: Path) -> Comparison:
    """Pair two studies.

    Raises:
        DataError: a folder without a study, other data, another split, nothing in common.
    """
    a, b = _read(first), _read(second)
    notes = _check(a, b)
    shared = _shared(a, b)
    luck = {
        modality: luck_of_seeds([_differences(a, b, p) for p in shared if p[0] == modality])
        for modality in {place[0] for place in shared}
    }
    found = [_row(a, b, *place, luck=luck[place[0]]) for place in shared]
    rows = [row for row in found if row is not None]
    if not rows:
        raise DataError(
            f"{str(first)!r} and {str(second)!r} have no configuration with results of the same "
            "seeds and of two objects or more in both: compare studies with the same models, axes "
            "and seeds"
        )
    corrected = holm([row.difference.p for row in rows])
    return Comparison(
        rows=tuple(replace(row, p=p) for row, p in zip(rows, corrected, strict=True)),
        only_first=_only(a, b),
        only_second=_only(b, a),
        notes=notes,
    )


def _read(out: Path) -> _Study:
    cells = {row["cell"]: row for row in tables.read(out, "cells").to_pylist()}
    path = out / "spec.json"
    try:
        spec = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read the design {str(path)!r} ({error}): give the folder that a study wrote"
        ) from None
    if not isinstance(spec, dict):
        raise DataError(f"{str(path)!r} is no design: give the folder that a study wrote")
    objects = tables.read(out, "objects")
    objects = objects.filter(pc.equal(objects["metric"], HEADLINE))
    errors: dict[tuple[str, str, Configuration], Errors] = {}
    for row in objects.to_pylist():
        cell = cells.get(row["cell"])
        if cell is None or row["value"] is None or not math.isfinite(row["value"]):
            continue
        configuration = (cell["model"], cell["num_floats"], cell["settings"])
        place = (row["modality"], row["estimate"], configuration)
        seed = -1 if cell["seed"] is None else cell["seed"]  # a reference has none
        errors.setdefault(place, {})[seed, row["object_id"]] = row["value"]
    design = dict.fromkeys((c["model"], c["num_floats"], c["settings"]) for c in cells.values())
    measured = {configuration for _, _, configuration in errors}
    return _Study(out, spec, errors, tuple(c for c in design if c in measured))


def _check(a: _Study, b: _Study) -> tuple[str, ...]:
    """Refuse what has no meaning; note what the reader must know."""
    for what, path in {"data": ("data", "manifest"), "split": _SPLIT}.items():
        ours, theirs = _at(a.spec, path), _at(b.spec, path)
        if ours != theirs:
            raise DataError(
                f"{str(a.out)!r} and {str(b.out)!r} cannot be compared: they measured other {what} "
                f"({ours} and {theirs}); run both on the same"
            )
    notes = []
    if _at(a.spec, ("base", "recipe")) != _at(b.spec, ("base", "recipe")):
        notes.append("the recipes differ, and z units with them: a difference may be of scale")
    if a.spec.get("science_version") != b.spec.get("science_version"):
        notes.append("another version of the package's arithmetic: a difference may come from it")
    return tuple(notes)


_SPLIT = ("base", "evaluation", "split")


def _at(spec: Mapping[str, Any], path: Sequence[str]) -> Any:
    node: Any = spec
    for part in path:
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _shared(a: _Study, b: _Study) -> list[tuple[str, str, Configuration]]:
    """Modality, estimate and configuration of every row: the first estimate that both have."""
    found: dict[tuple[str, Configuration], str] = {}
    for modality, estimate, configuration in a.errors:
        if estimate not in ESTIMATES or (modality, estimate, configuration) not in b.errors:
            continue
        known = found.get((modality, configuration), ESTIMATES[-1])
        found[modality, configuration] = min(known, estimate, key=ESTIMATES.index)
    places = [(m, estimate, c) for (m, c), estimate in found.items()]
    return sorted(places, key=lambda place: (place[0], a.configurations.index(place[2])))


def _differences(a: _Study, b: _Study, place: tuple[str, str, Configuration]) -> Errors:
    """Pairs of one seed share their luck: what is left of it is in the differences."""
    first, second = a.errors[place], b.errors[place]
    return {key: second[key] - first[key] for key in first.keys() & second.keys()}


def _row(
    a: _Study,
    b: _Study,
    modality: str,
    estimate: str,
    configuration: Configuration,
    *,
    luck: Luck | None,
) -> Row | None:
    place = (modality, estimate, configuration)
    first, second = a.errors[place], b.errors[place]
    common = sorted(first.keys() & second.keys())
    if len({object_id for _, object_id in common}) < FEWEST_OBJECTS:
        return None
    model, num_floats, settings = configuration
    return Row(
        modality=modality,
        model=model,
        num_floats=num_floats,
        settings=json.loads(settings),
        estimate=estimate,
        first=sum(first[key] for key in common) / len(common),
        second=sum(second[key] for key in common) / len(common),
        difference=paired_difference(second, first, luck=luck),
        p=math.nan,
    )


def _only(study: _Study, other: _Study) -> tuple[str, ...]:
    missing = [c for c in study.configurations if c not in other.configurations]
    return tuple(_named(model, floats, settings) for model, floats, settings in missing)


def _named(model: str, num_floats: int | None, settings: str) -> str:
    """`vae, 16 floats, length 4, width 4`."""
    floats = [] if num_floats is None else [f"{num_floats} floats"]
    return ", ".join([model, *floats, *map(str, shown(json.loads(settings)))])


def shown(settings: Mapping[str, Any]) -> list[str]:
    """Settings by the last part of their paths: `length 4`."""
    return [f"{path.rsplit('.', 1)[-1]} {value}" for path, value in settings.items()]
