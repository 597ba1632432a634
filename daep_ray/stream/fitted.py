"""FittedRecipe: a recipe, the modalities it is for, and the training split's statistics.

This is `modalities.json` in a checkpoint: all that inference needs to turn raw rows into model
inputs and model outputs into physical units. No torch.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from daep_ray.errors import DataError
from daep_ray.sample import Modality
from daep_ray.stream import position_chain, value_chain
from daep_ray.stream.chain import transform
from daep_ray.stream.flat import FlatSequence
from daep_ray.stream.keyed import string_keys
from daep_ray.stream.position_chain import Taken
from daep_ray.stream.recipe import LOG_SCALE, Recipe, input_columns
from daep_ray.stream.recipe_check import check_recipe
from daep_ray.stream.seen import Seen
from daep_ray.stream.selection import Jitter, Turn, with_jitter

if TYPE_CHECKING:
    from daep_ray.shards.read import ShardFolder


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation; a quantity that never varies has sd 1."""

    mean: float = 0.0
    sd: float = 1.0


@dataclass(frozen=True)
class ModalityStatistics:
    """The training split's z-scores of one modality, and what the selection cost."""

    value: tuple[Scale, ...]  # one, or one per code of the category
    positions: tuple[Scale, ...]
    metadata: dict[str, Scale]  # continuous, by name, the log scale included
    num_sequences: int = 0  # of the training split, a shared sequence once
    num_measurements: int = 0
    num_emptied: int = 0  # samples of all splits that selection emptied
    seen: Seen | None = None  # None: a checkpoint of before this was kept, or no training sample

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        return cls(
            value=tuple(Scale(**s) for s in raw["value"]),
            positions=tuple(Scale(**s) for s in raw["positions"]),
            metadata={name: Scale(**s) for name, s in raw["metadata"].items()},
            num_sequences=raw["num_sequences"],
            num_measurements=raw["num_measurements"],
            num_emptied=raw["num_emptied"],
            seen=Seen.from_json(raw["seen"]) if raw.get("seen") else None,
        )


@dataclass(frozen=True)
class FittedRecipe:
    """Raw rows in, standardised flat arrays out, and back."""

    recipe: Recipe
    modalities: dict[str, Modality]
    statistics: dict[str, ModalityStatistics]

    def to_json(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "modalities": {name: m.to_json() for name, m in self.modalities.items()},
            "statistics": {name: asdict(s) for name, s in self.statistics.items()},
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        return cls(
            recipe=Recipe.parse(raw["recipe"]),
            modalities={n: Modality.from_json(m) for n, m in raw["modalities"].items()},
            statistics={n: ModalityStatistics.from_json(s) for n, s in raw["statistics"].items()},
        )

    def layouts(self) -> dict[str, dict[str, Any]]:
        """What a model must know of each packed modality, as plain numbers (`batch.Layout`)."""
        return {name: self._layout(name) for name in self.modalities}

    def _layout(self, name: str) -> dict[str, Any]:
        modality, used = self.modalities[name], self.recipe.modalities[name].metadata
        categorical = [c for c in modality.categorical_metadata if c.name in used]
        continuous = self.continuous_metadata(name)
        return {
            "modality": name,
            "num_positions": len(modality.positions),
            "category_sizes": [len(c.vocabulary) for c in modality.categories],
            "num_metadata": len(continuous),
            "metadata_sizes": [len(c.vocabulary) for c in categorical],
            "metadata_names": continuous,
            "metadata_scales": [self.statistics[name].metadata[n].sd for n in continuous],
        }

    def continuous_metadata(self, name: str) -> list[str]:
        """Continuous metadata that the model sees, in the packed order."""
        used = self.recipe.modalities[name].metadata
        declared = [a.name for a in self.modalities[name].continuous_metadata]
        return [n for n in (*declared, LOG_SCALE) if n in used]

    def categorical_metadata(self, name: str) -> list[str]:
        """Categorical metadata that the model sees, in the packed order."""
        used = self.recipe.modalities[name].metadata
        return [c.name for c in self.modalities[name].categorical_metadata if c.name in used]

    def check(self, modalities: Iterable[str]) -> tuple[str, ...]:
        """The modalities as a tuple.

        Raises:
            DataError: one is not there.
        """
        modalities = tuple(modalities)
        for name in modalities:
            if name not in self.modalities:
                known = ", ".join(sorted(self.modalities))
                raise DataError(f"there is no modality {name!r} in these data: they have {known}")
        return modalities

    def columns(self, modalities: Iterable[str]) -> list[str]:
        """The Parquet columns that packing these modalities reads; a table may lack `object_id`."""
        inputs = [input_columns(self.recipe.modalities[m], self.modalities[m]) for m in modalities]
        return ["sample_id", "object_id", *(column for columns in inputs for column in columns)]

    def lengths(self, folder: "ShardFolder") -> pa.Table:
        """`folder.lengths()` with the lengths after selection, see `statistics.py`."""
        from daep_ray.stream.statistics import lengths_after_selection

        return lengths_after_selection(folder, self.recipe)

    def apply(
        self,
        table: pa.Table,
        modalities: Iterable[str],
        *,
        seed: int = 0,
        epoch: int | None = None,
    ) -> dict[str, FlatSequence]:
        """Standardised flat arrays of the table's rows, in order.

        With an `epoch`, augmentations are drawn for (seed, epoch, sample id); without, none are.
        """
        names, turn = self.check(modalities), None
        if epoch is not None and any(self.recipe.modalities[m].is_redrawn for m in names):
            turn = Turn(string_keys(table.column("sample_id")), seed, epoch)
        return {m: self._apply(m, table, self._turn(m, turn)) for m in names}

    def _turn(self, name: str, turn: Turn | None) -> Turn | None:
        """The epoch whose random numbers are drawn: with frozen copies they come round again."""
        copies = self.recipe.modalities[name].frozen_copies
        if turn is None or copies is None:
            return turn
        return replace(turn, epoch=turn.epoch % copies)

    def _apply(self, name: str, table: pa.Table, turn: Turn | None) -> FlatSequence:
        recipe = self.recipe.modalities[name]
        flat = self.standardised(name, transform(recipe, self.modalities[name], table, turn))
        for step in recipe.augmentation:
            if turn is not None and isinstance(step, Jitter):
                flat = with_jitter(step, flat, turn)
        return flat

    def standardised(self, name: str, flat: FlatSequence) -> FlatSequence:
        """Z-scores of what the recipe's chains made."""
        mean, sd = self._value_scale(name, flat)
        position_mean, position_sd = self._position_scale(name)
        metadata = dict(flat.metadata)
        if LOG_SCALE in self.continuous_metadata(name):
            metadata[LOG_SCALE] = flat.log_scale
        for entry in self.continuous_metadata(name):
            scale = self.statistics[name].metadata[entry]
            metadata[entry] = (metadata[entry] - scale.mean) / scale.sd
        return replace(
            flat,
            value=(flat.value - mean) / sd,
            error=None if flat.error is None else flat.error / sd,
            position=(flat.position - position_mean) / position_sd,
            metadata=metadata,
        )

    def _value_scale(self, name: str, flat: FlatSequence) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd of the values, () or (N,) where each category has its own."""
        mean = np.array([s.mean for s in self.statistics[name].value])
        sd = np.array([s.sd for s in self.statistics[name].value])
        category = self.recipe.modalities[name].z_category
        if category is None:
            return mean[0], sd[0]
        place = [c.name for c in self.modalities[name].categories].index(category)
        return mean[flat.category[:, place]], sd[flat.category[:, place]]

    def chained_value(self, name: str, flat: FlatSequence) -> np.ndarray:
        """(N,) standardised values as the value chain made them, before z-scores."""
        mean, sd = self._value_scale(name, flat)
        return flat.value * sd + mean

    def _position_scale(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        scales = self.statistics[name].positions
        return np.array([s.mean for s in scales]), np.array([s.sd for s in scales])

    def invert_value(self, name: str, values: np.ndarray, flat: FlatSequence) -> np.ndarray:
        """(..., N) standardised values of `flat`'s measurements -> the declared unit, float64."""
        mean, sd = self._value_scale(name, flat)
        chain = self.recipe.modalities[name].value
        values = np.asarray(values, dtype=np.float64) * sd + mean
        # a batch may have no measurement of this modality, and then no size can be inferred
        rows = values.reshape(math.prod(values.shape[:-1]), values.shape[-1])
        inverted = [value_chain.inverse(chain, v, flat.log_scale, flat.offsets) for v in rows]
        physical = np.stack(inverted).reshape(values.shape) if inverted else values
        return physical if flat.factor is None else physical / flat.factor

    def invert_position(
        self,
        name: str,
        position: np.ndarray,
        flat: FlatSequence,
        *,
        keep_reference: bool = False,
    ) -> np.ndarray:
        """(N, P) standardised positions -> the declared unit, float64.

        `keep_reference` leaves an axis counted from its reference: days from peak, not MJD.
        """
        mean, sd = self._position_scale(name)
        position = np.asarray(position, dtype=np.float64) * sd + mean
        columns = [
            position_chain.inverse(
                self.recipe.modalities[name].positions.get(axis.name, ()),
                position[:, place],
                Taken(flat.reference[:, place], flat.one_plus_redshift[:, place]),
                flat.offsets,
                keep_reference,
            )
            for place, axis in enumerate(self.modalities[name].positions)
        ]
        return np.stack(columns, axis=1) if columns else position


def unfitted(recipe: Recipe, modalities: Iterable[Modality]) -> FittedRecipe:
    """A recipe with z-scores that change nothing: to fit the statistics, and for tests.

    Raises:
        DataError: the recipe names something that the modalities do not have.
    """
    declared = {m.name: m for m in modalities}
    check_recipe(recipe, declared)
    used = {name: declared[name] for name in recipe.modalities}
    statistics = {
        name: ModalityStatistics(
            value=tuple(Scale() for _ in range(num_value_scales(recipe, m))),
            positions=tuple(Scale() for _ in m.positions),
            metadata={a: Scale() for a in (*(c.name for c in m.continuous_metadata), LOG_SCALE)},
        )
        for name, m in used.items()
    }
    return FittedRecipe(recipe, used, statistics)


def num_value_scales(recipe: Recipe, modality: Modality) -> int:
    """1, or the size of the category that is standardised word by word."""
    category = recipe.modalities[modality.name].z_category
    if category is None:
        return 1
    return next(len(c.vocabulary) for c in modality.categories if c.name == category)
