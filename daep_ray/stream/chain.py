"""The recipe carried out: a table of raw rows -> a FlatSequence before z-scores.

Everything runs on flat arrays with offsets, vectorised over samples, float64. The result for a
sample does not depend on the other rows of the table.
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from daep_ray.sample import Modality
from daep_ray.stream import position_chain, value_chain
from daep_ray.stream.factors import factors
from daep_ray.stream.flat import FlatSequence, read_flat
from daep_ray.stream.peak import FittedPeak, peaks
from daep_ray.stream.recipe import ModalityRecipe
from daep_ray.stream.selection import (
    NoiseFromErrors,
    RandomRemoval,
    Turn,
    cut_each_category,
    cut_to_length,
    is_inside,
    is_selected,
    with_noise,
    with_removal,
)


def transform(
    recipe: ModalityRecipe, modality: Modality, table: pa.Table, turn: Turn | None
) -> FlatSequence:
    """Selected, transformed, augmented (with a `turn`) and cut; not yet standardised."""
    flat = read_flat(table, modality)
    flat = flat.where(is_selected(recipe.selection, flat, modality))
    flat = with_factors(recipe, modality, flat)
    flat = with_positions(recipe, modality, flat)
    names = [axis.name for axis in modality.positions]
    flat = flat.where(is_inside(recipe.selection, names, flat.position))
    if turn is not None:
        must_be_positive = value_chain.needs_positive(recipe.value)
        for step in recipe.augmentation:
            if isinstance(step, NoiseFromErrors):
                flat = with_noise(step, flat, turn, must_be_positive)
    flat = _with_values(recipe, flat)
    if turn is not None:
        for step in recipe.augmentation:
            if isinstance(step, RandomRemoval):
                flat = with_removal(step, flat, turn)
    return _cut(recipe, modality, flat, turn if recipe.redraw else None)


def _cut(
    recipe: ModalityRecipe, modality: Modality, flat: FlatSequence, turn: Turn | None
) -> FlatSequence:
    if recipe.max_length is None:
        return flat
    if recipe.max_length_per is None:
        return cut_to_length(flat, recipe.max_length, turn)
    place = [c.name for c in modality.categories].index(recipe.max_length_per)
    return cut_each_category(flat, place, recipe.max_length, turn)


def with_factors(recipe: ModalityRecipe, modality: Modality, flat: FlatSequence) -> FlatSequence:
    """Raw values times their known factors; a measurement without one is left out."""
    if not recipe.factors:
        return flat
    factor = factors(recipe.factors, flat, modality)
    error = None if flat.error is None else flat.error * factor
    flat = replace(flat, value=flat.value * factor, error=error, factor=factor)
    return flat.where(np.isfinite(flat.value))


def with_positions(recipe: ModalityRecipe, modality: Modality, flat: FlatSequence) -> FlatSequence:
    """Every axis through its position chain."""

    def find_peaks(step: FittedPeak, position: np.ndarray) -> np.ndarray:
        return np.array([peak.position for peak in peaks(step, position, flat, modality)])

    columns, references, redshifts = [], [], []
    for place, axis in enumerate(modality.positions):
        position, taken = position_chain.forward(
            recipe.positions.get(axis.name, ()),
            flat.position[:, place],
            flat.value,
            modality.value.unit == "mag",
            flat.metadata,
            flat.offsets,
            find_peaks,
        )
        columns.append(position)
        references.append(taken.reference)
        redshifts.append(taken.one_plus_redshift)
    if not columns:
        return flat
    return replace(
        flat,
        position=np.stack(columns, axis=1),
        reference=np.stack(references, axis=1),
        one_plus_redshift=np.stack(redshifts, axis=1),
    )


def _with_values(recipe: ModalityRecipe, flat: FlatSequence) -> FlatSequence:
    if not recipe.value:
        return flat
    first = flat.position[:, 0] if flat.position.shape[1] else flat.raw_index.astype(float)
    value, error, log_scale = value_chain.forward(
        recipe.value, flat.value, flat.error, first, flat.offsets
    )
    flat = replace(flat, value=value, error=error, log_scale=log_scale)
    return flat.where(np.isfinite(value))
