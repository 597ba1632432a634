"""Answers as astropy tables: a row per place, columns with the declared units; codes, a row each.

In: arrays by name for every sample and modality. Out: a table by modality; `draws` (or `quantiles`)
has K entries in every row, `flag` says what to know of the sample.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.units import Unit

from daep_ray.sample import Axis, Modality

_SEVERAL = ("draws", "quantiles")


def measurement_tables(
    ids: list[str],
    found: list[dict[str, dict[str, Any]]],
    modalities: Mapping[str, Modality],
) -> dict[str, Table]:
    """One table by modality, samples one after another."""
    return {name: _table(ids, found, modality) for name, modality in modalities.items()}


def code_table(ids: list[str], codes: np.ndarray, flags: list[str]) -> Table:
    """Codes (S, M, Z), a row per sample."""
    return Table({"sample_id": np.array(ids, str), "code": codes, "flag": np.array(flags, str)})


def _table(ids: list[str], found: list[dict[str, dict[str, Any]]], modality: Modality) -> Table:
    parts = [
        (i, one[modality.name]) for i, one in zip(ids, found, strict=True) if modality.name in one
    ]
    sizes = [len(part["mean"]) for _, part in parts]
    table = Table({"sample_id": np.repeat(np.array([i for i, _ in parts], str), sizes)})
    axes = {a.name: a for a in modality.positions}
    for name in parts[0][1] if parts else ():
        if name == "flag":
            table[name] = np.repeat(np.array([p[name] for _, p in parts], str), sizes)
            continue
        arrays = [part[name].T if name in _SEVERAL else part[name] for _, part in parts]
        table[name] = np.concatenate(arrays)
        if table[name].dtype.kind == "f":
            table[name].unit = _unit(axes.get(name, modality.value))
    return table


def _unit(axis: Axis) -> Unit | None:
    """None for a unit that astropy does not know: FLUXCAL."""
    return Unit(axis.unit, parse_strict="silent") if axis.unit else None
