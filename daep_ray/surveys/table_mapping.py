"""What a long table's columns mean: the mapping, a small YAML file beside a survey's data.

In: the name of a mapping that is shipped (`mappings/*.yaml`) or the path of a user's own. Out: a
checked `Mapping`, and the `Modality` that it declares. The bands stand in the mapping, so that the
vocabulary is complete before a row is read.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, model_validator

from daep_ray.errors import ConfigError
from daep_ray.sample import UNKNOWN, Axis, Category, Modality
from daep_ray.settings import Settings

_SHIPPED = Path(__file__).parent / "mappings"


def _as_texts(words: Any) -> Any:
    """YAML reads `0: u` and `1: died` as numbers; a table's words are text."""
    if isinstance(words, dict):
        return {str(k): v if v is None else str(v) for k, v in words.items()}
    return words


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | int | float) else value


Words = Annotated[dict[str, str | None], BeforeValidator(_as_texts)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_as_list)]
Patterns = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]
Columns = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]


class Number(Settings):
    """A column of numbers: value = factor x entry + offset, if the entry is a measurement.

    Of several columns the first that has a valid entry counts, row by row. An entry equal to one
    of `missing`, or outside `low` to `high` (as the file has it), is not measured.
    """

    column: Columns
    missing: Numbers = ()
    low: float = Field(float("-inf"), allow_inf_nan=True)
    high: float = Field(float("inf"), allow_inf_nan=True)
    factor: float = 1.0
    offset: float = 0.0


class Flux(Settings):
    """Magnitudes become fluxes: sign x 10^(0.4 (zero_point - magnitude)).

    `sign` is a column of numbers above or below zero (ALeRCE's `isdiffpos`), "" for none.
    """

    zero_point: float
    sign: str = ""


class Value(Number):
    """The measured quantity; `unit` is said in the manifest (`mag` has a recipe of its own)."""

    name: str = "flux"
    unit: str
    to_flux: Flux | None = None


class Time(Number):
    """Times, in `unit` after factor and offset (JD to MJD: offset -2400000.5)."""

    unit: str = "day"
    frame: Literal["observer", "rest", ""] = "observer"
    format: Literal["number", "hh:mm"] = "number"  # hh:mm becomes hours


class CategoryColumn(Settings):
    """The band or channel: a column and its words, or one word (`constant`) for all rows.

    `words` maps a file's word to ours; null leaves such rows out. Another word is a fault of the
    object that has it.
    """

    name: str = "band"
    column: str = ""
    words: Words = Field(default_factory=dict)
    constant: str = ""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.column and self.words) == bool(self.constant):
            raise ValueError("give either `column` with `words`, or `constant`")
        return self

    @property
    def vocabulary(self) -> tuple[str, ...]:
        words = [self.constant] if self.constant else [w for w in self.words.values() if w]
        return (UNKNOWN, *dict.fromkeys(w for w in words if w != UNKNOWN))


class StaticRows(Settings):
    """Rows at one time that describe the object: `labels` maps the category's word to a label.

    Words of `is_measured_too` stay measurements as well; those of `left_out` are neither.
    """

    time: float = 0.0
    labels: dict[str, str]
    missing: Numbers = ()
    left_out: tuple[str, ...] = ()
    is_measured_too: tuple[str, ...] = ()


class Label(Settings):
    """A label: from a column, or the name of the file's folder (`is_folder`).

    `words` replaces what it lists and keeps the rest; `is_supernova_type` turns a type (`SN
    Ia-91T`) into its class (`Ia`); `is_number` makes a float.
    """

    column: str = ""
    is_folder: bool = False
    words: Words = Field(default_factory=dict)
    is_supernova_type: bool = False
    is_number: bool = False
    missing: Numbers = ()

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.column) == self.is_folder:
            raise ValueError("give either `column`, or `is_folder: true`")
        return self


class Metadata(Number):
    """A number per object, such as `redshift`, or `peak` (with `is_time`)."""

    unit: str = ""
    is_time: bool = False
    frame: Literal["observer", "rest", ""] = ""


class ObjectTable(Settings):
    """A table with one row per object; `name` is the column of its common name, if any.

    The common name (`SN2020adv`) decides by which id splits and statistics go.
    """

    files: Patterns
    key: str
    name: str = ""


class Mapping(Settings):
    """A survey's tables. `labels` and `metadata` are columns of the object table, if there is one.

    Without one they are columns of the measurements, and an object's first row counts.
    """

    survey: str = Field(min_length=1)
    about: str = ""
    files: Patterns  # `light-curves/*.csv`, matched from the right end of a path
    layout: Literal["csv", "whitespace", "parquet", "fits"]
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    header: tuple[str, ...] = ()  # the columns' names, for text without a header
    object: str = ""  # the column of the object's id; "" where each file is one object
    modality: str = "photometry"
    value: Value
    error: Number | None = None
    time: Time
    category: CategoryColumn | None = None
    static: StaticRows | None = None
    objects: ObjectTable | None = None
    labels: dict[str, Label] = Field(default_factory=dict)
    metadata: dict[str, Metadata] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.static is not None and (self.category is None or not self.category.column):
            raise ValueError("`static` needs a `category` with a column")
        if self.value.to_flux is not None and self.error is None:
            raise ValueError("`value.to_flux` needs an `error`, in magnitudes")
        return self

    def declaration(self) -> Modality:
        """The modality that the table's rows are sequences of."""
        category = self.category
        return Modality(
            name=self.modality,
            value=Axis(self.value.name, self.value.unit),
            positions=(Axis("time", self.time.unit, is_time=True, frame=self.time.frame),),
            categories=(Category(category.name, category.vocabulary),) if category else (),
            metadata=tuple(
                Axis(name, m.unit, m.is_time, m.frame) for name, m in self.metadata.items()
            ),
            has_error=self.error is not None,
        )

    def object_columns(self) -> tuple[str, ...]:
        """The columns of labels and metadata."""
        labels = [label.column for label in self.labels.values() if label.column]
        return _unique([*labels, *(c for m in self.metadata.values() for c in m.column)])

    def row_columns(self) -> tuple[str, ...]:
        """Every column that is read of the tables of measurements."""
        numbers = (self.value, self.time, *([self.error] if self.error else []))
        columns = [self.object, *(c for number in numbers for c in number.column)]
        if self.category is not None:
            columns.append(self.category.column)
        if self.value.to_flux is not None:
            columns.append(self.value.to_flux.sign)
        if self.objects is None:
            columns += self.object_columns()
        return _unique(columns)


def _unique(columns: list[str]) -> tuple[str, ...]:
    return tuple(c for c in dict.fromkeys(columns) if c)


def shipped() -> dict[str, Path]:
    """The mappings that come with the package, by name."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.yaml"))}


def load_mapping(name: str) -> Mapping:
    """A shipped mapping by its name, or the file at a path that ends in .yaml or .yml.

    Raises:
        ConfigError: no such mapping or file, no YAML, or a key that a mapping does not have.
    """
    path = _path(name)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise ConfigError(f"the mapping {name!r} cannot be read as YAML: {why}") from None
    if not isinstance(raw, dict):
        raise ConfigError(
            f"the mapping {name!r} holds {type(raw).__name__} instead of keys such as `files:`, "
            "`value:`, `time:`: start from a shipped one"
        )
    try:
        return Mapping.parse(raw)
    except ConfigError as error:
        raise ConfigError(f"mapping {name!r}: {error}") from None


def _path(name: str) -> Path:
    known = shipped()
    if name in known:
        return known[name]
    if name.lower().endswith((".yaml", ".yml")):
        return Path(name)
    if not name:
        raise ConfigError(
            "the format 'table' needs a mapping of its columns: --set mapping=NAME with one of "
            f"{', '.join(known)}, or --set mapping=FILE.yaml with your own"
        )
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(
        f"unknown mapping {name!r}: {hint}shipped: {', '.join(known)}; "
        "a file of your own must end in .yaml"
    )
