"""The one data contract: what a survey measures (`Modality`) and one training row (`Sample`).

A `Modality` declares a kind of sequence: its value, its continuous positions, its categories and
its metadata. Nothing else in the package knows what a spectrum is. The declaration is stored in
the shards' manifest and in every checkpoint.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

UNKNOWN = "unknown"  # entry 0 of every vocabulary


@dataclass(frozen=True)
class Axis:
    """A continuous quantity with its unit; `is_time` axes are kept in float64 on disk.

    `unit` "relative" says that only ratios within one sequence mean anything. `frame` is `rest` or
    `observer` for what redshift moves (wavelengths, times), "" for what it does not.
    """

    name: str
    unit: str
    is_time: bool = False
    frame: str = ""


@dataclass(frozen=True)
class Category:
    """A discrete property; `vocabulary[0]` is always `unknown`, codes index the vocabulary."""

    name: str
    vocabulary: tuple[str, ...]

    def __post_init__(self) -> None:
        assert self.vocabulary[:1] == (UNKNOWN,), f"{self.name}: vocabulary must begin with unknown"

    def code(self, word: str) -> int:
        """The word's place in the vocabulary, 0 (`unknown`) for a word that is not there."""
        return self.vocabulary.index(word) if word in self.vocabulary else 0


@dataclass(frozen=True)
class Modality:
    """A kind of sequence: `spectrum`, `photometry`, `vitals`."""

    name: str
    value: Axis
    positions: tuple[Axis, ...]  # continuous, one value per measurement (wavelength, time)
    categories: tuple[Category, ...] = ()  # discrete, one code per measurement (band, channel)
    metadata: tuple[Axis | Category, ...] = ()  # one per sequence, may be missing (phase, redshift)
    has_error: bool = True
    extras: tuple[Axis, ...] = ()  # further columns per measurement, never model input (truth)

    @property
    def is_timed(self) -> bool:
        """Whether its measurements are taken at times: a light curve, no spectrum."""
        return any(axis.is_time for axis in self.positions)

    @property
    def continuous_metadata(self) -> tuple[Axis, ...]:
        return tuple(m for m in self.metadata if isinstance(m, Axis))

    @property
    def categorical_metadata(self) -> tuple[Category, ...]:
        return tuple(m for m in self.metadata if isinstance(m, Category))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        def entry(item: dict[str, Any]) -> Axis | Category:
            if "vocabulary" in item:
                return Category(item["name"], tuple(item["vocabulary"]))
            return Axis(**item)

        return cls(
            name=raw["name"],
            value=Axis(**raw["value"]),
            positions=tuple(Axis(**a) for a in raw["positions"]),
            categories=tuple(
                Category(c["name"], tuple(c["vocabulary"])) for c in raw["categories"]
            ),
            metadata=tuple(entry(m) for m in raw["metadata"]),
            has_error=raw["has_error"],
            extras=tuple(Axis(**a) for a in raw["extras"]),
        )


@dataclass(frozen=True)
class Sequence:
    """One object's measurements in one modality, raw, in the declared units, N measurements.

    `positions`, `categories`, `extras` map a declared name to an array of shape (N,). A value that
    was not measured is left out by the reader, never padded. `metadata` holds a float (continuous),
    a word of the vocabulary (categorical) or None (missing).
    """

    value: np.ndarray  # (N,) float
    positions: dict[str, np.ndarray]  # (N,) float
    error: np.ndarray | None = None  # (N,) float, None where the survey has none
    categories: dict[str, np.ndarray] = field(default_factory=dict)  # (N,) int16
    metadata: dict[str, float | str | None] = field(default_factory=dict)
    extras: dict[str, np.ndarray] = field(default_factory=dict)  # (N,) float

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True)
class Sample:
    """One training row: an object's measurements in every modality that it has.

    `object_id` is normalised by the reader (`SN 1999aa` = `sn1999aa`): splits and statistics go by
    it. `split` is None (the stable hash decides) or a reader's own `train`, `validation`, `test`.
    """

    sample_id: str
    object_id: str
    sequences: dict[str, Sequence]  # by modality name; an absent modality is left out
    labels: dict[str, str | float | None] = field(default_factory=dict)
    split: str | None = None


@dataclass(frozen=True)
class Quarantined:
    """A sample that could not be read: where, and why in words."""

    file: str
    unit: str  # the object or epoch within the file, "" for the whole file
    reason: str


@dataclass(frozen=True)
class Ignored:
    """A file that is no data of the format: a licence, a readme."""

    file: str


Record = Sample | Quarantined | Ignored
