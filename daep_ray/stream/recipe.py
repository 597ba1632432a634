"""The recipe: what turns raw rows into model inputs, declared per modality.

In order: value selections on raw values; known factors (dust); the position chain; crops; the
value chain (noise drawn from errors goes in before it); random removal and the cut to
`max_length`; z-scores; jitter.
Measurements that a step makes non-finite are dropped. The recipe is recorded in every checkpoint
and inverted when a result leaves. Settings only: `stream/chain.py` carries them out.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pydantic import Field

from daep_ray.sample import Modality
from daep_ray.settings import Settings, canonical_hash
from daep_ray.stream.factors import Factor
from daep_ray.stream.position_chain import DivideByOnePlus, PositionStep, Reference
from daep_ray.stream.selection import Augmentation, Selection
from daep_ray.stream.value_chain import Arcsinh, ScaleByMedian, ValueStep

LOG_SCALE = "log_scale"  # metadata that `scale_by_median` makes


class ModalityRecipe(Settings):
    """One modality's way into the model. An empty one passes values through and z-scores them."""

    value_units: tuple[str, ...] = ()  # data of another unit are refused; empty: any
    frames: dict[str, str] = Field(default_factory=dict)  # so are positions of another frame
    factors: tuple[Factor, ...] = ()
    value: tuple[ValueStep, ...] = ()
    positions: dict[str, tuple[PositionStep, ...]] = Field(default_factory=dict)
    selection: tuple[Selection, ...] = ()
    max_length: int | None = Field(default=None, ge=1)  # at most so many measurements per sample
    max_length_per: str | None = None  # ... and word of this category: 20 in every band
    redraw: bool = True  # which of them: redrawn every epoch in training, else evenly spread
    augmentation: tuple[Augmentation, ...] = ()
    frozen_copies: int | None = Field(default=None, ge=1)  # draws come round after so many epochs
    z_score: str = Field(default="modality", pattern=r"^(modality|category:.+)$")
    metadata: tuple[str, ...] = ()  # names that the model sees

    @property
    def z_category(self) -> str | None:
        """The category whose values are standardised one by one, None for all together."""
        return None if self.z_score == "modality" else self.z_score.removeprefix("category:")

    @property
    def is_redrawn(self) -> bool:
        """Whether an epoch changes anything: augmentation, or another cut to `max_length`."""
        return bool(self.augmentation) or (self.redraw and self.max_length is not None)


class Recipe(Settings):
    """A recipe for every modality of a survey."""

    modalities: dict[str, ModalityRecipe]


class Declares(Protocol):
    """What a default recipe looks at: the shards' manifest."""

    @property
    def modalities(self) -> tuple[Modality, ...]: ...

    @property
    def source(self) -> Mapping[str, Any]: ...


def recipe_hash(recipe: Recipe) -> str:
    """Identity of a recipe; changes whenever its results could."""
    return canonical_hash(
        {"modalities": {name: recipe_identity(part) for name, part in recipe.modalities.items()}}
    )


# Checks change no number; of the others earlier recipes knew nothing, so they keep their names.
_CHECKS = ("value_units", "frames")
_LEFT_OUT_AT_DEFAULT = ("factors", "max_length_per", "frozen_copies")


def recipe_identity(part: ModalityRecipe) -> dict[str, Any]:
    """What of a modality's recipe can change a result, as JSON."""
    content = part.model_dump(mode="json", exclude=set(_CHECKS))
    return {
        key: value
        for key, value in content.items()
        if key not in _LEFT_OUT_AT_DEFAULT or getattr(part, key) not in ((), None)
    }


def default_recipe(manifest: Declares) -> Recipe:
    """A recipe that someone would run: by format where one is known, else by declaration."""
    known = _known_recipes(manifest.source)
    return Recipe(
        modalities={
            m.name: known[m.name](m) if m.name in known else _by_declaration(m)
            for m in manifest.modalities
        }
    )


def _known_recipes(source: Mapping[str, Any]) -> dict[str, Callable[[Modality], ModalityRecipe]]:
    """By modality; of merged surveys, whose units agree, what all that know the modality use."""
    if not source.get("surveys"):
        return FORMAT_RECIPES.get(str(source.get("format", "")), {})
    found: dict[str, set[Callable[[Modality], ModalityRecipe]]] = {}
    for survey in source["surveys"]:
        for name, recipe in _known_recipes(survey["source"]).items():
            found.setdefault(name, set()).add(recipe)
    return {name: recipes.pop() for name, recipes in found.items() if len(recipes) == 1}


def _by_declaration(modality: Modality) -> ModalityRecipe:
    if any(axis.is_time for axis in modality.positions):
        return _time_series(modality)
    return _spectrum(modality)


def _spectrum(modality: Modality) -> ModalityRecipe:
    """Fluxes in any unit: relative to the spectrum's own median, strong lines compressed."""
    return ModalityRecipe(value=(ScaleByMedian(), Arcsinh(scale=1.0)))


def _time_series(modality: Modality, scale: float = 1.0) -> ModalityRecipe:
    """A light curve counted from its peak; several channels in units of their own each apart."""
    channel = next((c.name for c in modality.categories if c.name != "band"), None)
    is_light_curve = channel is None
    value = (Arcsinh(scale=scale),) if is_light_curve and modality.value.unit != "mag" else ()
    return ModalityRecipe(
        value=value,
        positions={a.name: (_reference(modality),) for a in modality.positions if a.is_time},
        z_score="modality" if is_light_curve else f"category:{channel}",
    )


def _reference(modality: Modality) -> Reference:
    if any(c.name != "band" for c in modality.categories):
        return Reference(at="first")  # a patient's record has no peak
    # a time among a light curve's metadata is its known peak
    peak = next((a.name for a in modality.continuous_metadata if a.is_time), None)
    return Reference(at="peak" if peak is None else f"column:{peak}")


def _fluxcal(modality: Modality) -> ModalityRecipe:
    """SNANA's FLUXCAL (zero point 27.5): errors of deep surveys are about 10."""
    return _time_series(modality, scale=10.0)


def _synthetic_flux(modality: Modality) -> ModalityRecipe:
    """The built-in survey's errors are about 150 in FLUXCAL: noise stays about one unit wide."""
    return _time_series(modality, scale=150.0)


def _as_it_is(modality: Modality) -> ModalityRecipe:
    """Flattened spectra, mean near 0 and spread near 1 already."""
    return ModalityRecipe()


FORMAT_RECIPES: dict[str, dict[str, Callable[[Modality], ModalityRecipe]]] = {
    "synthetic": {"photometry": _synthetic_flux},
    "snid": {"spectrum": _as_it_is},
    "snana": {"photometry": _fluxcal},
    "snana_fits": {"photometry": _fluxcal},
}


def input_columns(recipe: ModalityRecipe, modality: Modality) -> list[str]:
    """The Parquet columns that this recipe reads, in the declaration's order."""
    used = set(recipe.metadata)
    for steps in recipe.positions.values():
        used |= {s.column for s in steps if isinstance(s, Reference | DivideByOnePlus) and s.column}
    for step in recipe.factors:
        used.update(step.columns(modality))
    names = ["value", *(["error"] if modality.has_error else [])]
    names += [axis.name for axis in modality.positions]
    names += [category.name for category in modality.categories]
    names += [m.name for m in modality.metadata if m.name in used]
    return [f"{modality.name}.{name}" for name in names]
