"""The full check of a shard folder: everything that the manifest says is compared with the files.

In: a folder. Out: problems in words, none for a folder that is as it was written. Streaming: one
row group at a time, and 16 bytes per sample.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from daep_ray.errors import DataError
from daep_ray.sample import Category, Modality
from daep_ray.shards.checks import IdSet
from daep_ray.shards.files import IGNORED_SCHEMA, QUARANTINE_SCHEMA, lengths_schema
from daep_ray.shards.flat import Flat, column_types
from daep_ray.shards.manifest import (
    IGNORED,
    LENGTHS,
    MANIFEST,
    QUARANTINE,
    Manifest,
    Shard,
    SplitCounts,
    footer_of,
)
from daep_ray.shards.read import ShardFolder, shard_problem
from daep_ray.shards.schema import ID_COLUMNS, arrow_schema
from daep_ray.shards.split import SPLITS, hash_of, split_of


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file of the folder."""

    file: str
    what: str


def validate(path: Path | str) -> list[Problem]:
    """Check every byte and every row; an empty list means that the folder is sound.

    Raises:
        DataError: the folder has no manifest that can be read, so there is nothing to compare.
    """
    return _Validation(Path(path), Manifest.read(Path(path))).run()


class _Validation:
    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.manifest = path, manifest
        self.folder = ShardFolder(path, manifest)
        self.problems: list[Problem] = []
        self.sample_ids = IdSet()
        self.objects = {split: IdSet() for split in SPLITS}
        self.samples: Counter[str] = Counter()
        self.classes: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        self.measurements: Counter[str] = Counter()

    def say(self, file: str, what: str) -> None:
        self.problems.append(Problem(file, what))

    def run(self) -> list[Problem]:
        lengths = _RowStream(self._lengths())
        path = self.path / LENGTHS
        if path.is_file() and footer_of(path) != self.manifest.lengths_footer:
            self.say(LENGTHS, "is not the one that the manifest means")
        is_whole = True
        for i, shard in enumerate(self.manifest.shards):
            rows = lengths.take(shard.rows)
            is_whole &= self._shard(i, shard, rows)
        if lengths.take(1) is not None:
            self.say(LENGTHS, "has more rows than the shards")
        if is_whole:
            self._counts()
        self._small_table(QUARANTINE, QUARANTINE_SCHEMA, self.manifest.num_quarantined)
        self._small_table(IGNORED, IGNORED_SCHEMA, self.manifest.num_ignored)
        known = {s.file for s in self.manifest.shards} | {LENGTHS, QUARANTINE, IGNORED}
        for file in sorted(self.path.glob("*.parquet")):
            if file.name not in known:
                self.say(file.name, "is not in the manifest")
        return self.problems

    def _lengths(self) -> Iterator[pa.Table]:
        """The parts of `lengths.parquet` up to the first that cannot be read."""
        try:
            for table in self.folder.iter_lengths():
                if table.schema != lengths_schema(self.manifest.modalities):
                    self.say(LENGTHS, "has other columns than the manifest's modalities ask for")
                    return
                yield table
        except DataError as error:
            self.say(LENGTHS, str(error))

    def _shard(self, index: int, shard: Shard, lengths: pa.Table | None) -> bool:
        """Check one shard; whether all of it could be read."""
        problem = shard_problem(self.path, shard, look_inside=True)
        if problem is None and _sha256(self.path / shard.file) != shard.sha256:
            problem = "the content has changed: its sha256 is not the manifest's"
        if problem is None and lengths is None:
            self.say(LENGTHS, f"has no rows for {shard.file}")
        if problem:
            self.say(shard.file, problem)
            return False
        start = 0
        for group, num_rows in enumerate(shard.row_group_rows):
            try:
                table = self.folder.read_row_group(index, group)
            except DataError as error:
                self.say(shard.file, str(error))
                return False
            self._row_group(shard.file, group, table, num_rows)
            if lengths is not None:
                self._compare_lengths(table, lengths.slice(start, num_rows), index, group)
            start += num_rows
        return True

    def _row_group(self, file: str, group: int, table: pa.Table, num_rows: int) -> None:
        where = f"row group {group}"
        if table.num_rows != num_rows:
            self.say(file, f"{where} has {table.num_rows} rows, the manifest says {num_rows}")
        if table.schema != arrow_schema(self.manifest.modalities, self.manifest.labels):
            self.say(file, f"{where} has columns of other types than the manifest says")
            return
        for defect in (*self._ids(table), *self._values(table)):
            self.say(file, f"{where}: {defect}")

    def _ids(self, table: pa.Table) -> Iterator[str]:
        ids, objects, splits = (table[name].to_pylist() for name in ID_COLUMNS)
        if None in ids or None in objects or set(splits) - set(SPLITS):
            yield "a sample without id, object or split"
            return
        num_again = int((~self.sample_ids.add(_hashes(ids))).sum())
        if num_again:
            yield f"{num_again} sample ids were there before"
        if self.manifest.is_split_by_hash and splits != [split_of(o) for o in objects]:
            yield "splits that are not the hash of the object"
        hashes, split = _hashes(objects), np.array(splits)
        for name in SPLITS:
            self.objects[name].add(hashes[split == name])
        self.samples.update(splits)
        if "class" in self.manifest.labels and self.manifest.labels["class"] == "string":
            for name, word in zip(splits, table["label.class"].to_pylist(), strict=True):
                self.classes[name].update([word] if word is not None else [])

    def _values(self, table: pa.Table) -> Iterator[str]:
        num_present = np.zeros(table.num_rows, np.int64)
        for modality in self.manifest.modalities:
            if _has_unequal_lists(table, modality):
                yield f"{modality.name}: lists of unequal length"
                continue
            flat = Flat.from_table(table, modality)
            self.measurements[modality.name] += int(flat.offsets[-1])
            num_present += flat.lengths > 0
            yield from _flat_defects(flat)
        if not num_present.all():
            yield f"{int((num_present == 0).sum())} samples without any measurement"

    def _compare_lengths(self, table: pa.Table, lengths: pa.Table, shard: int, group: int) -> None:
        expected = {name: table[name].to_pylist() for name in ID_COLUMNS}
        expected["shard"], expected["row_group"] = [shard] * len(table), [group] * len(table)
        expected["row"] = list(range(len(table)))
        for modality in self.manifest.modalities:
            if _has_unequal_lists(table, modality):
                return
            flat = Flat.from_table(table, modality)
            expected[f"{modality.name}.length"] = flat.lengths.tolist()
            expected[f"{modality.name}.hash"] = flat.hashes().tolist()
        for name, values in expected.items():
            if lengths[name].to_pylist() != values:
                file = self.manifest.shards[shard].file
                self.say(LENGTHS, f"{name} differs from row group {group} of {file}")

    def _counts(self) -> None:
        manifest = self.manifest
        for split in SPLITS:
            counts = manifest.counts.get(split, SplitCounts())
            found = (self.samples[split], len(self.objects[split]), dict(self.classes[split]))
            if found != (counts.num_samples, counts.num_objects, dict(counts.classes or {})):
                self.say(MANIFEST, f"the counts of split {split} are not those of the shards")
        for name, number in manifest.num_measurements.items():
            if self.measurements[name] != number:
                self.say(
                    MANIFEST,
                    f"num_measurements of {name} is {number}, the shards hold "
                    f"{self.measurements[name]}",
                )
        total = sum(len(ids) for ids in self.objects.values())
        together = IdSet()
        for ids in self.objects.values():
            together.add(ids.all())
        if len(together) != total:
            self.say(MANIFEST, f"{total - len(together)} objects are in more than one split")
        if sum(self.samples.values()) != manifest.num_written:
            self.say(
                MANIFEST,
                f"num_written is {manifest.num_written}, the shards hold "
                f"{sum(self.samples.values())}",
            )
        if manifest.num_read != manifest.num_written + manifest.num_quarantined:
            self.say(MANIFEST, "num_read is not num_written + num_quarantined")

    def _small_table(self, file: str, schema: pa.Schema, num_rows: int) -> None:
        try:
            metadata = pq.read_metadata(self.path / file)
        except (OSError, pa.ArrowException) as error:
            self.say(file, f"cannot be read ({str(error).splitlines()[0]})")
            return
        if metadata.schema.to_arrow_schema() != schema:
            self.say(file, f"has other columns than {', '.join(schema.names)}")
        if metadata.num_rows != num_rows:
            self.say(file, f"has {metadata.num_rows} rows, the manifest says {num_rows}")


class _RowStream:
    """Rows of a table that comes in parts, as many at a time as asked for."""

    def __init__(self, parts: Iterator[pa.Table]) -> None:
        self._parts = parts
        self._rest: pa.Table | None = None

    def take(self, num_rows: int) -> pa.Table | None:
        """The next rows, None if there are not so many."""
        found = [] if self._rest is None else [self._rest]
        while sum(table.num_rows for table in found) < num_rows:
            part = next(self._parts, None)
            if part is None:
                return None
            found.append(part)
        table = pa.concat_tables(found)
        self._rest = table.slice(num_rows)
        return table.slice(0, num_rows)


def _hashes(texts: list[str]) -> np.ndarray:
    return np.array([hash_of(text) for text in texts], np.uint64)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has_unequal_lists(table: pa.Table, modality: Modality) -> bool:
    columns = [table[f"{modality.name}.{name}"] for name in column_types(modality)]
    lengths = [pc.fill_null(pc.list_value_length(column), 0) for column in columns]
    return any(not one.equals(lengths[0]) for one in lengths[1:])


def _flat_defects(flat: Flat) -> Iterator[str]:
    name = flat.modality.name
    if num_bad := int((~flat.is_finite()).sum()):
        yield f"{name}: {num_bad} measurements whose value or position is not finite"
    if flat.modality.has_error:
        error = flat.columns["error"]
        if not (np.isnan(error) | ((error > 0) & np.isfinite(error))).all():
            yield f"{name}: errors that are not positive"
    if codes := flat.bad_codes():
        yield f"{len(codes)} samples with bad codes ({next(iter(codes.values()))})"
    for entry in flat.modality.metadata:
        if (
            isinstance(entry, Category)
            and (flat.metadata[entry.name] >= len(entry.vocabulary)).any()
        ):
            yield f"{name}: {entry.name} has a code outside its vocabulary"
