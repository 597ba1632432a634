"""Why a recipe leaves samples out, in words.

In: raw rows that a recipe leaves without a single measurement. Out: a sentence for each: the first
step after which nothing was left. The table of them stands beside the statistics
(`<data>/recipes/<hash>/excluded.csv`).
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from daep_ray.sample import Modality
from daep_ray.stream.chain import with_factors, with_positions
from daep_ray.stream.flat import FlatSequence, read_flat
from daep_ray.stream.peak import FittedPeak, peaks
from daep_ray.stream.position_chain import DivideByOnePlus
from daep_ray.stream.recipe import ModalityRecipe
from daep_ray.stream.selection import (
    Crop,
    KeepCategory,
    Positive,
    Selection,
    SignalToNoise,
    is_inside,
    is_selected,
)

FILE = "excluded.csv"
NO_VALUE = "no measured value"
NO_POSITION = "no finite position"
NOT_TAKEN = "no value that the value steps can take, such as a logarithm"
FAULTS = (NO_VALUE, NO_POSITION, NOT_TAKEN)  # of the data; all other reasons are the recipe's own
SCHEMA = pa.schema([(n, pa.string()) for n in ("sample_id", "object_id", "modality", "reason")])


def reasons(recipe: ModalityRecipe, modality: Modality, table: pa.Table) -> list[str]:
    """One reason per row of `table`; every row is one that the recipe empties."""
    flat = read_flat(table, modality)
    found = np.full(len(table), "", dtype=object)

    def note(words: str | list[str]) -> None:
        is_new = (found == "") & (flat.lengths == 0)
        found[is_new] = words if isinstance(words, str) else np.array(words, object)[is_new]

    flat = flat.where(np.isfinite(flat.value))
    note(NO_VALUE)
    for number, step in enumerate(recipe.selection, start=1):
        flat = flat.where(is_selected(recipe.selection[:number], flat, modality))
        note(_selected(step))
    flat = with_factors(recipe, modality, flat)
    note("no known factor: E(B-V), a redshift or the wavelength is missing or out of range")
    before, names = flat, [axis.name for axis in modality.positions]
    flat = with_positions(recipe, modality, flat)
    flat = flat.where(np.isfinite(flat.position).all(axis=1))
    note(_lost_positions(recipe, modality, before))
    for step in recipe.selection:
        if isinstance(step, Crop):
            flat = flat.where(is_inside((step,), names, flat.position))
            note(_selected(step))
    found[found == ""] = NOT_TAKEN
    return list(found)


def _selected(step: Selection) -> str:
    if isinstance(step, SignalToNoise):
        return f"no measurement of {step.minimum:g} times its error"
    if isinstance(step, Positive):
        return "no positive value"
    if isinstance(step, KeepCategory):
        return f"no measurement with {step.category} {' or '.join(step.words)}"
    low = "" if step.low is None else f" from {step.low:g}"
    high = "" if step.high is None else f" to {step.high:g}"
    return f"nothing with {step.position}{low}{high}"


def _lost_positions(recipe: ModalityRecipe, modality: Modality, flat: FlatSequence) -> list[str]:
    """Why each sample's positions became unusable: no peak, no redshift."""
    words = np.full(flat.num_samples, NO_POSITION, dtype=object)
    for axis, steps in recipe.positions.items():
        place = [a.name for a in modality.positions].index(axis)
        for step in steps:
            if isinstance(step, DivideByOnePlus):
                words[~np.isfinite(flat.metadata[step.column])] = f"no {step.column}"
            elif isinstance(step, FittedPeak):
                for i, peak in enumerate(peaks(step, flat.position[:, place], flat, modality)):
                    words[i] = peak.reason or words[i]
    return list(words)


def write(table: pa.Table, folder: Path) -> None:
    """`excluded.csv`: one line per sample and modality that is left out."""
    pa.csv.write_csv(table, folder / FILE)


def summary(table: pa.Table) -> list[tuple[str, str, int]]:
    """(modality, reason, samples), the commonest first."""
    rows = table.select(["modality", "reason"]).to_pylist()
    counted = Counter((row["modality"], row["reason"]) for row in rows)
    return [(m, reason, n) for (m, reason), n in counted.most_common()]


def read(folder: Path) -> pa.Table | None:
    """What `write` wrote; None where there is none."""
    if not (folder / FILE).is_file():
        return None
    options = pa.csv.ConvertOptions(
        column_types=SCHEMA, strings_can_be_null=False, quoted_strings_can_be_null=False
    )
    return pa.csv.read_csv(folder / FILE, convert_options=options)
