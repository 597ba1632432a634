"""Does a recipe fit the data? Every name in it must be declared.

In: a recipe and the modalities. Out: nothing, or a DataError of one sentence with what is allowed.
"""

from daep_ray.errors import DataError
from daep_ray.sample import Modality
from daep_ray.stream.position_chain import DivideByOnePlus, Reference
from daep_ray.stream.recipe import LOG_SCALE, ModalityRecipe, Recipe
from daep_ray.stream.selection import Crop, NoiseFromErrors, SignalToNoise
from daep_ray.stream.value_chain import ScaleByMedian


def check_recipe(recipe: Recipe, modalities: dict[str, Modality]) -> None:
    """Every name of the recipe exists in the declaration.

    Raises:
        DataError: one sentence about the first that does not.
    """
    for name, part in recipe.modalities.items():
        where = f"recipe.modalities.{name}"
        if name not in modalities:
            raise DataError(_not_there(where, name, "modality", list(modalities)))
        _check_positions(where, part, modalities[name])
        _check_values(where, part, modalities[name])
        _check_metadata(where, part, modalities[name])


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
        if len({step.kind for step in steps}) < len(steps):
            raise DataError(f"{place} has a step twice: each kind can be taken once, remove one")
    for crop in part.selection:
        if isinstance(crop, Crop) and crop.position not in axes:
            raise DataError(_not_there(f"{where}.selection", crop.position, "position", axes))


def _check_values(where: str, part: ModalityRecipe, modality: Modality) -> None:
    for step in (*part.selection, *part.augmentation):
        if isinstance(step, SignalToNoise | NoiseFromErrors) and not modality.has_error:
            raise DataError(
                f"{where} uses {step.kind!r}, but {modality.name!r} has no errors: remove the step"
            )
    if sum(isinstance(step, ScaleByMedian) for step in part.value) > 1:
        raise DataError(f"{where}.value has 'scale_by_median' twice: once is allowed, remove one")
    categories = [c.name for c in modality.categories]
    if part.z_category is not None and part.z_category not in categories:
        raise DataError(_not_there(f"{where}.z_score", part.z_category, "category", categories))


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
