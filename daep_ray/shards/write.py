"""Samples in, a folder of Parquet shards out: streaming, whole or not at all, no silent loss.

Samples are buffered up to one row group, checked and written together; memory stays the same for
any number of samples (but for 16 bytes per sample, `checks.IdSet`).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from daep_ray.errors import DataError
from daep_ray.sample import Ignored, Modality, Quarantined, Record, Sample
from daep_ray.shards.checks import Admission, check_declaration, defect_of
from daep_ray.shards.files import (
    IGNORED_SCHEMA,
    QUARANTINE_SCHEMA,
    Log,
    ShardFiles,
    lengths_schema,
)
from daep_ray.shards.flat import Flat, bytes_per_measurement, flatten
from daep_ray.shards.folder import storage, whole_folder
from daep_ray.shards.manifest import (
    IGNORED,
    LENGTHS,
    QUARANTINE,
    Manifest,
    SplitCounts,
    footer_of,
)
from daep_ray.shards.schema import ID_COLUMNS, table_from_flats
from daep_ray.shards.split import SPLITS

ROW_GROUP_BYTES = 4 * 2**20  # of lists in memory; twice as much costs 10 to 40 MB of peak memory
SHARD_BYTES = 128 * 2**20
MOST_ROWS = 16384  # of a row group: short sequences cost more as Python objects than as lists
_MOST_REASONS = 1000  # told apart in the summary; quarantine.parquet has all


class SurveyLike(Protocol):
    """What is read of a survey (`surveys.Survey`)."""

    @property
    def modalities(self) -> tuple[Modality, ...]: ...
    @property
    def source(self) -> dict[str, Any]: ...
    @property
    def records(self) -> Callable[[], Iterator[Record]]: ...


@dataclass
class IngestCounts:
    """read = written + quarantined; files that are no data are ignored, apart from these."""

    read: int = 0
    written: int = 0
    quarantined: int = 0
    ignored: int = 0
    dropped: int = 0  # measurements left out of written samples: value or position not finite


def write_shards(
    survey: SurveyLike,
    out: Path,
    *,
    overwrite: bool = False,
    row_group_bytes: int = ROW_GROUP_BYTES,
    shard_bytes: int = SHARD_BYTES,
    on_progress: Callable[[IngestCounts], None] | None = None,
) -> IngestCounts:
    """Write a survey's samples to the folder `out`; `on_progress` is called per row group.

    Raises:
        StorageError: `out` cannot be written, or the disk is full; nothing is left behind.
        DataError: `out` holds an ingest and `overwrite` is False, or nothing could be written.
    """
    check_declaration(survey.modalities)
    out = Path(out).resolve()
    with whole_folder(out, overwrite) as folder:
        limits = (row_group_bytes, shard_bytes)
        writer = _Writer(survey, folder, out, limits, on_progress)
        try:
            for record in survey.records():
                writer.add(record)
            return writer.finish()
        finally:
            writer.close()


class _Writer:
    """One ingest on its way: the buffer, the open files and the counts."""

    def __init__(
        self,
        survey: SurveyLike,
        folder: Path,
        out: Path,  # for messages only
        limits: tuple[int, int],  # bytes of a row group, of a shard
        on_progress: Callable[[IngestCounts], None] | None,
    ) -> None:
        self.survey, self.folder, self.out, self.on_progress = survey, folder, out, on_progress
        self.row_group_bytes, shard_bytes = limits
        self.modalities = {m.name: m for m in survey.modalities}
        self.widths = {m.name: bytes_per_measurement(m) for m in survey.modalities}
        self.admission = Admission()
        self.buffer: list[Sample] = []
        self.buffer_bytes = 0
        self.counts = IngestCounts()
        self.tally = _Tally()
        self.reasons: Counter[str] = Counter()
        self.shards = ShardFiles(folder, shard_bytes)
        self.lengths = Log(folder / LENGTHS, lengths_schema(survey.modalities))
        self.quarantine = Log(folder / QUARANTINE, QUARANTINE_SCHEMA)
        self.ignored = Log(folder / IGNORED, IGNORED_SCHEMA)

    def add(self, record: Record) -> None:
        if isinstance(record, Ignored):
            self.counts.ignored += 1
            with storage(self.out):
                self.ignored.add(asdict(record))
            return
        self.counts.read += 1
        if isinstance(record, Quarantined):
            self._reject(record)
        elif defect := defect_of(record, self.modalities):
            self._reject(Quarantined("", str(record.sample_id), defect))
        else:
            self._hold(record)

    def _reject(self, record: Quarantined) -> None:
        self.counts.quarantined += 1
        if record.reason in self.reasons or len(self.reasons) < _MOST_REASONS:
            self.reasons[record.reason] += 1
        with storage(self.out):
            self.quarantine.add(asdict(record))

    def _hold(self, sample: Sample) -> None:
        size = sum(len(s) * self.widths[name] for name, s in sample.sequences.items())
        is_full = self.buffer_bytes + size > self.row_group_bytes or len(self.buffer) >= MOST_ROWS
        if self.buffer and is_full:
            self._flush()
        self.buffer.append(sample)
        self.buffer_bytes += size

    def _flush(self) -> None:
        """Check the buffered samples together and write the good ones as one row group."""
        samples, self.buffer, self.buffer_bytes = self.buffer, [], 0
        flats = [flatten(samples, m) for m in self.modalities.values()]
        flats = [flat.keep(flat.is_finite()) for flat in flats]
        samples, flats = self._without(_number_defects(flats), samples, flats)
        samples, flats = self._without(self.admission.refuse(samples), samples, flats)
        if samples:
            self._write(samples, flats)
        if self.on_progress:
            self.on_progress(self.counts)

    def _without(
        self, reasons: dict[int, str], samples: list[Sample], flats: list[Flat]
    ) -> tuple[list[Sample], list[Flat]]:
        """Without the samples that there is a reason against; these go to the quarantine."""
        if not reasons:
            return samples, flats
        for i in sorted(reasons):
            self._reject(Quarantined("", samples[i].sample_id, reasons[i]))
        is_kept = np.array([i not in reasons for i in range(len(samples))])
        kept = [sample for i, sample in enumerate(samples) if i not in reasons]
        return kept, [flat.select(is_kept) for flat in flats]

    def _write(self, samples: list[Sample], flats: list[Flat]) -> None:
        table = table_from_flats(samples, flats, self.admission.label_types)
        num_bytes = sum(int(f.offsets[-1]) * self.widths[f.modality.name] for f in flats)
        with storage(self.out):
            shard, row_group = self.shards.write(table, num_bytes)
            self.lengths.extend(_lengths_rows(table, flats, shard, row_group))
        num_measurements = sum(len(q) for s in samples for q in s.sequences.values())
        self.counts.written += len(samples)
        self.counts.dropped += num_measurements - sum(int(f.offsets[-1]) for f in flats)
        self.tally.add(samples, table["split"].to_pylist(), flats)

    def finish(self) -> IngestCounts:
        """Write what is buffered, close the files, write the manifest."""
        if self.buffer:
            self._flush()
        if not self.counts.written:
            raise DataError(self._nothing_written())
        with storage(self.out):
            self.shards.close()
            for log in (self.lengths, self.quarantine, self.ignored):
                log.close()
            self._manifest().write(self.folder)
        return self.counts

    def _nothing_written(self) -> str:
        form = self.survey.source.get("format", "survey")
        if not self.counts.read:
            return (
                f"no {form} data found ({self.counts.ignored} files ignored): "
                "check the format and the source"
            )
        several = "; ".join(f"{n} x {reason}" for reason, n in self.reasons.most_common(3))
        return (
            f"none of {self.counts.read} {form} samples could be written: {several}"
            f"{' ...' if len(self.reasons) > 3 else ''}"
        )

    def _manifest(self) -> Manifest:
        counts, objects = self.counts, self.admission.objects
        return Manifest(
            modalities=tuple(self.survey.modalities),
            shards=tuple(self.shards.shards),
            counts=self.tally.splits({split: len(ids) for split, ids in objects.items()}),
            num_measurements=dict(self.tally.measurements),
            labels=dict(sorted(self.admission.label_types.items())),
            source=self.survey.source,
            num_read=counts.read,
            num_written=counts.written,
            num_quarantined=counts.quarantined,
            num_ignored=counts.ignored,
            num_dropped=counts.dropped,
            is_split_by_hash=self.tally.is_split_by_hash,
            lengths_footer=footer_of(self.folder / LENGTHS) or "",
        )

    def close(self) -> None:
        """Let go of all files; after `finish` this does nothing."""
        self.shards.abandon()
        for log in (self.lengths, self.quarantine, self.ignored):
            log.abandon()


@dataclass
class _Tally:
    """The manifest's counts of what was written."""

    samples: Counter[str] = field(default_factory=Counter)  # by split
    classes: dict[str, Counter[str]] = field(default_factory=lambda: {s: Counter() for s in SPLITS})
    measurements: Counter[str] = field(default_factory=Counter)  # by modality
    is_split_by_hash: bool = True

    def add(self, samples: list[Sample], splits: list[str], flats: list[Flat]) -> None:
        self.samples.update(splits)
        self.is_split_by_hash &= all(s.split is None for s in samples)
        for sample, split in zip(samples, splits, strict=True):
            name = sample.labels.get("class")
            if isinstance(name, str):
                self.classes[split][name] += 1
        for flat in flats:
            self.measurements[flat.modality.name] += int(flat.offsets[-1])

    def splits(self, num_objects: dict[str, int]) -> dict[str, SplitCounts]:
        return {
            split: SplitCounts(
                self.samples[split], num_objects[split], dict(sorted(self.classes[split].items()))
            )
            for split in SPLITS
        }


def _number_defects(flats: list[Flat]) -> dict[int, str]:
    """By sample: nothing finite is left of it, or a category code means nothing."""
    left = np.sum([flat.lengths for flat in flats], axis=0)
    reasons = {int(i): "no measurement is finite" for i in np.flatnonzero(left == 0)}
    for flat in flats:
        reasons |= flat.bad_codes()
    return reasons


def _lengths_rows(table: pa.Table, flats: list[Flat], shard: int, row_group: int) -> pa.Table:
    rows = lengths_schema(tuple(flat.modality for flat in flats))
    columns: dict[str, Any] = {name: table[name] for name in ID_COLUMNS}
    columns["shard"] = np.full(table.num_rows, shard, np.int32)
    columns["row_group"] = np.full(table.num_rows, row_group, np.int32)
    columns["row"] = np.arange(table.num_rows, dtype=np.int32)
    for flat in flats:
        columns[f"{flat.modality.name}.length"] = flat.lengths.astype(np.int32)
        columns[f"{flat.modality.name}.hash"] = flat.hashes()
    return pa.table([columns[name] for name in rows.names], schema=rows)
