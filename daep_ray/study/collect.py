"""The store's results as the study's tables: cells in the design's order, everything else sorted.

In: the cells and the store. Out: OUT/tables. A cell without results keeps its row and its reason.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from daep_ray.config import RunConfig
from daep_ray.study import tables
from daep_ray.study.spec import Cell
from daep_ray.study.store import Store


def collect(
    cells: Sequence[Cell],
    store: Store,
    out: Path,
    commands: Mapping[str, str],
    stopped: Mapping[str, str] | None = None,
) -> dict[str, pa.Table]:
    """Write OUT/tables from the store and return them.

    `commands` and why a training was `stopped` early are by its fingerprint.

    Raises:
        StorageError: OUT cannot be written.
    """
    done = [cell for cell in cells if store.has(cell)]
    parts: dict[str, list[pa.Table]] = {name: [] for name in tables.EVALUATED}
    for cell in done:
        for name, table in store.results(cell):
            parts[name].append(tables.add_cell(table, cell.id))
    found = {name: tables.merge(name, given) for name, given in parts.items()}
    found |= so_far(cells, store, commands, stopped or {})
    tables.write(out / "tables", found)
    return found


def so_far(
    cells: Sequence[Cell], store: Store, commands: Mapping[str, str], stopped: Mapping[str, str]
) -> dict[str, pa.Table]:
    """The tables `cells` and `curves`, which have something to say while trainings still run."""
    rows = [_row(cell, store, commands, stopped) for cell in cells]
    return {
        "cells": tables.from_rows("cells", rows),
        "curves": tables.merge("curves", [_curves(cells, store)]),
    }


def _row(
    cell: Cell, store: Store, commands: Mapping[str, str], stopped: Mapping[str, str]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "cell": cell.id,
        "training": cell.training,
        "evaluation": cell.evaluation,
        "model": cell.model,
        "seed": cell.seed,
        "num_floats": cell.num_floats,
        "settings": _json(cell.settings),
        "config": _json(science(cell.config)),
        "command": commands.get(cell.training, ""),
    }
    if not store.has(cell):
        row |= {} if cell.is_reference else _spent(store, cell.training)
        if cell.training in stopped:
            return row | {"state": "stopped", "reason": stopped[cell.training]}
        reason = store.failure(cell.training)
        state = "missing" if reason is None else "failed"
        return row | {"state": state, "reason": reason or "it has not run yet"}
    return row | {
        "state": "done",
        "reason": "",
        "seconds_ray": store.seconds_ray(cell.training),
        **vars(store.facts(cell)),
    }


def _spent(store: Store, training: str) -> dict[str, Any]:
    """What a training without a result has seen and taken, as far as its curve tells."""
    curve = store.curve(training)
    if not curve:
        return {}
    return {"num_objects": curve[-1]["num_objects"], "seconds_training": curve[-1]["seconds"]}


def _curves(cells: Sequence[Cell], store: Store) -> pa.Table:
    rows = []
    for training in dict.fromkeys(c.training for c in cells if not c.is_reference):
        for point in store.curve(training):
            place = {"training": training, "num_objects": point["num_objects"]}
            rows += [
                {**place, "seconds": point["seconds"], "name": name, "value": value}
                for name, value in point.items()
                if name not in ("num_objects", "seconds")
            ]
    return tables.from_rows("curves", rows)


def science(config: RunConfig) -> dict[str, Any]:
    """The configuration without what no number depends on."""
    content = config.model_dump(mode="json")
    content.pop("runtime")
    return content


def _json(content: Any) -> str:
    return json.dumps(content, sort_keys=True, allow_nan=False)
