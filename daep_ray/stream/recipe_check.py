"""Does a recipe fit the data? Every name in it must be declared, units and frames must be its own.

In: a recipe and the modalities. Out: nothing, or a DataError of one sentence with what is allowed.
"""

from daep_ray.errors import DataError
from daep_ray.sample import Category, Modality
from daep_ray.stream.factors import MilkyWayExtinction, extinction_law
from daep_ray.stream.peak import FittedPeak
from daep_ray.stream.position_chain import DivideByOnePlus, Reference
from daep_ray.stream.recipe import LOG_SCALE, ModalityRecipe, Recipe
from daep_ray.stream.selection import Crop, KeepCategory, NoiseFromErrors, SignalToNoise
from daep_ray.stream.value_chain import Magnitude, ScaleByMedian, needs_positive


def check_recipe(recipe: Recipe, modalities: dict[str, Modality]) -> None:
    """Every name of the recipe exists in the declaration.

    Raises:
        DataError: one sentence about the first that does not.
    """
    for name, part in recipe.modalities.items():
        where = f"recipe.modalities.{name}"
        if name not in modalities:
            raise DataError(_not_there(where, name, "modality", list(modalities)))
        _check_declared(where, part, modalities[name])
        _check_positions(where, part, modalities[name])
        _check_values(where, part, modalities[name])
        _check_factors(where, part, modalities[name])
        _check_metadata(where, part, modalities[name])


def _check_declared(where: str, part: ModalityRecipe, modality: Modality) -> None:
    """Units and frames are those that the recipe is for."""
    unit, name = modality.value.unit, modality.name
    if part.value_units and unit not in part.value_units:
        raise DataError(
            f"{where} is for values in {' or '.join(map(repr, part.value_units))}, but those of "
            f"{name!r} are in {unit!r}: they cannot be mixed, take a recipe made for these data"
        )
    for axis in modality.positions:
        frame = part.frames.get(axis.name, axis.frame)
        if frame != axis.frame:
            raise DataError(
                f"{where} is for {axis.name!r} in the {frame} frame, but in these data it is in "
                f"the {axis.frame or 'undeclared'} frame: take a recipe made for these data"
            )
        steps = part.positions.get(axis.name, ())
        if axis.frame == "rest" and any(isinstance(s, DivideByOnePlus) for s in steps):
            raise DataError(
                f"{where}.positions.{axis.name} divides by 1 + redshift, but {axis.name!r} is in "
                "the rest frame already: remove the step 'divide_by_one_plus'"
            )
    if unit == "mag" and (needs_positive(part.value) or part.factors):
        raise DataError(
            f"{where} takes the logarithm of the value or multiplies it, but the values of "
            f"{name!r} are magnitudes already: remove the step"
        )
    if unit == "relative" and any(isinstance(step, Magnitude) for step in part.value):
        raise DataError(
            f"{where}.value has 'magnitude', but the fluxes of {name!r} are relative and have no "
            "zero point: take 'scale_by_median' and 'log10' instead"
        )


def _check_factors(where: str, part: ModalityRecipe, modality: Modality) -> None:
    numbers = [m.name for m in modality.continuous_metadata]
    for step in part.factors:
        if not modality.positions or modality.positions[0].unit != "Angstrom":
            raise DataError(
                f"{where}.factors has {step.kind!r}, which needs wavelengths in Angstrom: "
                f"{modality.name!r} has none, remove the step"
            )
        for column in step.columns(modality):
            if column not in numbers:
                raise DataError(_not_there(f"{where}.factors", column, "metadata column", numbers))
        if isinstance(step, MilkyWayExtinction):
            extinction_law(step.law)  # is the package there?


def _check_positions(where: str, part: ModalityRecipe, modality: Modality) -> None:
    axes = [a.name for a in modality.positions]
    numbers = [m.name for m in modality.continuous_metadata]
    for axis, steps in part.positions.items():
        place = f"{where}.positions.{axis}"
        if axis not in axes:
            raise DataError(_not_there(f"{where}.positions", axis, "position", axes))
        for step in steps:
            column = step.column if isinstance(step, Reference | DivideByOnePlus) else None
            if column is not None and column not in numbers:
                raise DataError(_not_there(place, column, "metadata column", numbers))
            if isinstance(step, FittedPeak):
                _check_words(place, step.category, (*step.words, *step.also), modality)
        if len({step.kind for step in steps}) < len(steps):
            raise DataError(f"{place} has a step twice: each kind can be taken once, remove one")
        if {"reference", "fitted_peak"} <= {step.kind for step in steps}:
            raise DataError(f"{place} counts from two references: remove one of them")
    for crop in part.selection:
        if isinstance(crop, Crop) and crop.position not in axes:
            raise DataError(_not_there(f"{where}.selection", crop.position, "position", axes))


def _check_words(where: str, name: str, words: tuple[str, ...], modality: Modality) -> None:
    """The category and its words are there."""
    found = {c.name: c for c in modality.categories}
    if name not in found:
        raise DataError(_not_there(where, name, "category", list(found)))
    category: Category = found[name]
    for word in words:
        if word not in category.vocabulary[1:]:
            raise DataError(_not_there(where, word, name, list(category.vocabulary[1:])))


def _check_values(where: str, part: ModalityRecipe, modality: Modality) -> None:
    for step in (*part.selection, *part.augmentation):
        if isinstance(step, SignalToNoise | NoiseFromErrors) and not modality.has_error:
            raise DataError(
                f"{where} uses {step.kind!r}, but {modality.name!r} has no errors: remove the step"
            )
    for selection in part.selection:
        if isinstance(selection, KeepCategory):
            _check_words(f"{where}.selection", selection.category, selection.words, modality)
    if sum(isinstance(step, ScaleByMedian) for step in part.value) > 1:
        raise DataError(f"{where}.value has 'scale_by_median' twice: once is allowed, remove one")
    categories = [c.name for c in modality.categories]
    for key, category in (("z_score", part.z_category), ("max_length_per", part.max_length_per)):
        if category is not None and category not in categories:
            raise DataError(_not_there(f"{where}.{key}", category, "category", categories))


def _check_metadata(where: str, part: ModalityRecipe, modality: Modality) -> None:
    allowed = [m.name for m in modality.metadata]
    if any(isinstance(step, ScaleByMedian) for step in part.value):
        allowed.append(LOG_SCALE)
    for entry in part.metadata:
        if entry not in allowed:
            raise DataError(_not_there(f"{where}.metadata", entry, "metadata", allowed))


def _not_there(where: str, name: str, what: str, allowed: list[str]) -> str:
    listed = ", ".join(sorted(allowed)) or "none"
    return f"{where} names the {what} {name!r}, which the data do not have: they have {listed}"
