"""Long tables: one row per measurement, as CSV, Parquet, text between blanks, or FITS tables.

In: a folder, an archive or one file, and a mapping of its columns (`table_mapping.py`; shipped ones
in `mappings/`). Out: one sample per object, `sample_id` as the survey spells it, with one modality,
usually `photometry`.

A file is one object, or holds many (streamed). Labels, redshift and the like come from an object
table or from the rows. A row of the object table without measurements is no sample. An object that
comes a second time, under whatever spelling, is quarantined.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pyarrow as pa

from daep_ray.errors import DataError
from daep_ray.sample import Ignored, Quarantined, Record, Sample
from daep_ray.settings import Settings
from daep_ray.surveys.names import object_id
from daep_ray.surveys.source import LargeFile, RawFile, check_source, walk_or_stream
from daep_ray.surveys.survey import Reader, Survey
from daep_ray.surveys.table_files import Layout, Malformed, read_batches
from daep_ray.surveys.table_groups import Group, read_groups
from daep_ray.surveys.table_mapping import Mapping, Patterns, load_mapping
from daep_ray.surveys.table_objects import Described, Facts, ObjectIndex, folder_labels
from daep_ray.surveys.table_rows import ObjectRows, objects_in

_NOTHING_KNOWN = Facts({}, {})


class TableSettings(Settings):
    """`mapping`: the name of a shipped mapping, or the path of a YAML file of one's own."""

    mapping: str = ""


@dataclass(frozen=True)
class _Place:
    """A file's name with the source's in front, so that `light-curves/*.csv` fits either."""

    path: PurePosixPath

    def fits(self, patterns: Patterns) -> bool:
        return any(self.path.match(pattern) for pattern in patterns)


def open_table(source: Path | None, settings: TableSettings) -> Survey:
    """The tables below `source`; one pass over its files finds the object table.

    Raises:
        ConfigError: no such mapping, or one with a wrong key.
        DataError: nothing there, no file that the mapping names, or no object table.
    """
    assert source is not None
    mapping = load_mapping(settings.mapping)
    check_source(source)
    objects = _object_index(source, settings.mapping, mapping)
    name = PurePosixPath(Path(settings.mapping).as_posix()).name
    return Survey(
        format="table",
        modalities=(mapping.declaration(),),
        records=lambda: _Pass(source, mapping, objects).records(),
        source={
            "format": "table",
            "options": {"mapping": name},
            "mapping": mapping.model_dump(mode="json", exclude_defaults=True),
            "name": source.name,
        },
    )


def _place(source: Path, name: str) -> _Place:
    if source.is_dir():
        return _Place(PurePosixPath(source.name, name))
    if source.name == name:
        return _Place(PurePosixPath(source.absolute().parent.name, name))
    return _Place(PurePosixPath(name))


def _object_index(source: Path, mapping_name: str, mapping: Mapping) -> ObjectIndex | None:
    """The survey's object table, None where the mapping has none; checks that there are data."""
    wanted, has_rows = mapping.objects, False
    tables: list[pa.Table] = []
    faults: dict[str, str] = {}
    for file in walk_or_stream(source):
        if not isinstance(file, RawFile | LargeFile):
            continue
        place = _place(source, file.name)
        has_rows = has_rows or place.fits(mapping.files)
        if wanted is not None and place.fits(wanted.files):
            tables += _object_rows(file, mapping, faults)
        elif has_rows and wanted is None:
            break
    if not has_rows:
        raise DataError(
            f"no file in {str(source)!r} is named as the mapping {mapping_name!r} says "
            f"({', '.join(mapping.files)}): is it the mapping of another survey?"
        )
    if wanted is None:
        return None
    if not tables:
        raise DataError(
            f"the object table {', '.join(wanted.files)} of the mapping {mapping_name!r} is not in "
            f"{str(source)!r}: add it, or take `objects` out of the mapping"
        )
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        raise DataError(
            f"the object tables {', '.join(wanted.files)} hold columns of other types: make one"
        ) from None
    return ObjectIndex(table, mapping, faults)


def _object_rows(
    file: RawFile | LargeFile, mapping: Mapping, faults: dict[str, str]
) -> list[pa.Table]:
    """The rows of an object table; rows that are cut go to `faults`, by object."""
    assert mapping.objects is not None
    columns = [mapping.objects.key, mapping.objects.name, *mapping.object_columns()]
    wanted = tuple(dict.fromkeys(c for c in columns if c))
    layout = Layout("parquet" if file.name.endswith(".parquet") else "csv", mapping.delimiter)
    try:
        return list(read_batches(file, layout, wanted, faults.setdefault))
    except Malformed as error:
        raise DataError(f"the object table {file.name!r} {error}") from None


class _Pass:
    """One pass over the source; remembers in which file each object came."""

    def __init__(self, source: Path, mapping: Mapping, objects: ObjectIndex | None) -> None:
        self._source, self._mapping, self._objects = source, mapping, objects
        self._file_of: dict[str, str] = {}  # by object id

    def records(self) -> Iterator[Record]:
        for file in walk_or_stream(self._source):
            if not isinstance(file, RawFile | LargeFile):
                yield file
                continue
            place = _place(self._source, file.name)
            if place.fits(self._mapping.files):
                yield from self._file(file, place)
            elif self._mapping.objects is None or not place.fits(self._mapping.objects.files):
                yield Ignored(file.name)

    def _file(self, file: RawFile | LargeFile, place: _Place) -> Iterator[Record]:
        """The samples of one file."""
        short_rows: dict[str, str] = {}  # by object, "" where each file is one
        by_row = bool(self._mapping.object)
        facts = Facts(folder_labels(self._mapping, place.path.parent.name), {})

        def on_short_row(first: str, why: str) -> None:
            short_rows.setdefault(first if by_row else place.path.stem, why)

        num_objects = 0
        try:
            for group in read_groups(file, self._mapping, place.path.stem, on_short_row):
                for record in self._group(file.name, group, facts, short_rows):
                    yield record
                    num_objects += 1
        except Malformed as error:
            yield Quarantined(file.name, "", str(error))
            return
        for name, why in short_rows.items():
            yield Quarantined(file.name, name, f"{why}: no whole row is left")
        if num_objects == 0 and not short_rows:
            yield Quarantined(file.name, "", "no rows")

    def _group(
        self, file: str, group: Group, facts: Facts, short_rows: dict[str, str]
    ) -> Iterator[Record]:
        in_rows = None
        if self._mapping.objects is None and self._mapping.object_columns():
            in_rows = Described(group.table.take(group.starts[:-1]), self._mapping)
        rows = objects_in(group.table, group.starts, self._mapping)
        for k, (name, found) in enumerate(zip(group.names, rows, strict=True)):
            reason = short_rows.pop(name, "") or found.reason or _id_fault(name)
            try:
                if in_rows is not None:
                    known = in_rows.row(k)
                else:
                    known = (self._objects and self._objects.facts(name)) or _NOTHING_KNOWN
            except Malformed as error:
                known, reason = _NOTHING_KNOWN, reason or str(error)
            identity = object_id(known.common_name or name, self._mapping.survey)
            reason = reason or self._second_time(identity, file)
            if reason:
                yield Quarantined(file, name, reason)
            else:
                self._file_of[identity] = file
                yield self._sample(name, identity, found, known, facts)

    def _second_time(self, identity: str, file: str) -> str:
        before = self._file_of.get(identity)
        if before is None:
            return ""
        where = "this file" if before == file else repr(before)
        return f"the object {identity!r} stands in {where} already"

    def _sample(
        self, name: str, identity: str, found: ObjectRows, known: Facts, facts: Facts
    ) -> Sample:
        mapping = self._mapping
        assert found.sequence is not None
        declared = dict.fromkeys(["class", "subtype", *mapping.labels])
        metadata = dict.fromkeys(mapping.metadata) | known.metadata
        return Sample(
            sample_id=name,
            object_id=identity,
            sequences={mapping.modality: replace(found.sequence, metadata=metadata)},
            labels=declared | known.labels | facts.labels | found.statics,
        )


def _id_fault(name: str) -> str:
    if not name:
        return "rows without an object id"
    return "an object id that is no UTF-8 text" if "\ufffd" in name else ""


READER = Reader(TableSettings, open_table, needs_source=True)
