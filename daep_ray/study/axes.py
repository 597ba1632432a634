"""The parts of a design: what a study varies, and what a search looks for.

In: dotted paths of the configuration, names of learning curves. Out: assignments by path.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from daep_ray.errors import ConfigError

ERROR = "validation/absolute_error"
COSTS = ("num_floats", "seconds")  # of a code; of its training: what is no learning curve
_CURVES = ("validation/", "train/")


@dataclass(frozen=True)
class Axis:
    """A dotted path and its values; several paths that go together take tuples of values.

    `Axis("model.width", [32, 64])`
    `Axis(("model.bottleneck.length", "model.bottleneck.width"), [(1, 2), (4, 4)])`
    `Axis("evaluation.sampler.num_steps", [5, 50], is_conditional=True)`: a model that has no such
    setting, or never looks at it, has one cell there instead of one per value (`conditional.py`).
    `control`: the value that a report compares each of the others with, in every model.
    """

    path: str | tuple[str, ...]
    values: Sequence[Any]
    is_conditional: bool = False
    control: Any = None

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if isinstance(self.path, str) else tuple(self.path)

    def assignments(self) -> list[dict[str, Any]]:
        """`{path: value}` for each of the axis' values.

        Raises:
            ConfigError: no values, or a tuple of another length than the paths.
        """
        if not self.values:
            raise ConfigError(f"axis {self.path!r} has no values: give at least one")
        if self.control is not None and self.control not in self.values:
            raise ConfigError(
                f"axis {self.path!r} has the control {self.control!r}: name one of its values, "
                f"{', '.join(map(str, self.values))}"
            )
        if isinstance(self.path, str):
            return [{self.path: value} for value in self.values]
        for value in self.values:
            if len(value) != len(self.path):
                raise ConfigError(
                    f"axis {self.path!r} has the value {value!r}: give one value per path"
                )
        return [dict(zip(self.path, value, strict=True)) for value in self.values]


@dataclass(frozen=True)
class Range:
    """An interval of a setting, for a search that draws; integers if both ends are."""

    path: str
    low: float
    high: float
    is_log: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,)

    @property
    def is_conditional(self) -> bool:
        return False

    def assignments(self) -> list[dict[str, Any]]:
        """Both ends, so that the whole range is checked before anything starts."""
        return [{self.path: self.low}, {self.path: self.high}]


@dataclass(frozen=True)
class Target:
    """What a search looks for: the last point of a learning curve, or one of `COSTS`."""

    name: str
    direction: Literal["min", "max"] = "min"

    @property
    def is_curve(self) -> bool:
        return self.name.startswith(_CURVES)

    def to_json(self) -> str:
        """`name`, or `-name` where more is better."""
        return self.name if self.direction == "min" else f"-{self.name}"

    @classmethod
    def parse(cls, text: str) -> "Target":
        """The inverse of `to_json`."""
        return cls(text[1:], "max") if text.startswith("-") else cls(text)

    def check(self) -> None:
        """Refuse a name that nothing has.

        Raises:
            ConfigError: in one sentence.
        """
        if not self.is_curve and self.name not in COSTS:
            raise ConfigError(
                f"unknown target {self.name!r}: name a learning curve, such as {ERROR}, or one of "
                f"{', '.join(COSTS)}"
            )
        if self.direction not in ("min", "max"):
            raise ConfigError(
                f"target {self.name!r} has the direction {self.direction!r}: give min or max"
            )


def axis_json(axis: Axis | Range) -> Iterator[dict[str, Any]]:
    """One entry per path; paths that go together list their values in step and name each other."""
    if isinstance(axis, Range):
        yield {"path": axis.path, "values": [axis.low, axis.high], "is_log": axis.is_log}
        return
    for path in axis.paths:
        others = [p for p in axis.paths if p != path]
        values = [point[path] for point in axis.assignments()]
        entry: dict[str, Any] = {"path": path, "values": values}
        entry |= {"tied_to": others} if others else {}
        if axis.control is not None:
            tied = dict(zip(axis.paths, axis.control, strict=True)) if others else {}
            entry["control"] = tied.get(path, axis.control)
        yield entry | ({"is_conditional": True} if axis.is_conditional else {})
