"""Text tables for people: an ingest, an evaluation.

In: a folder of shards, or a metrics table. Out: text with aligned columns.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MOST_REASONS = 10


def columns(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns: words to the left, numbers to the right, None as a dash."""
    cells = [[_cell(value) for value in row] for row in rows]
    is_number = [
        all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(head))
    ]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]

    def line(words: Sequence[str]) -> str:
        fitted = (
            word.rjust(width) if right else word.ljust(width)
            for word, width, right in zip(words, widths, is_number, strict=True)
        )
        return "  ".join(fitted).rstrip()

    return "\n".join([line(head), line(["-" * w for w in widths]), *map(line, cells)])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def describe(data: Path) -> str:
    """What an ingest holds: modalities and lengths, splits and classes, quarantine.

    Raises:
        DataError: no ingest there.
    """
    from daep_ray.shards.read import ShardFolder

    folder = ShardFolder.open(data)
    manifest = folder.manifest
    num_objects = sum(c.num_objects for c in manifest.counts.values())
    parts = [
        f"{data}: {manifest.source.get('format', 'unknown format')}, "
        f"{manifest.num_written:,} samples of {num_objects:,} objects in "
        f"{len(manifest.shards)} shards, {folder.num_bytes / 1e6:,.1f} MB, "
        f"manifest {manifest.hash}",
        _modalities(folder),
        _splits(manifest),
        f"read {manifest.num_read:,} = written {manifest.num_written:,} + quarantined "
        f"{manifest.num_quarantined:,} (ignored files: {manifest.num_ignored:,})",
        _reasons(data),
    ]
    return "\n\n".join(part for part in parts if part)


def _modalities(folder: Any) -> str:
    import numpy as np

    lengths = folder.lengths()
    rows = []
    for name, modality in folder.modalities.items():
        length = lengths[f"{name}.length"].to_numpy()
        present = length[length > 0]
        low, middle, high = np.quantile(present, (0, 0.5, 1)) if len(present) else (0, 0, 0)
        axes = [f"{a.name} [{a.unit}]" for a in modality.positions]
        vocabularies = [f"{c.name} ({len(c.vocabulary) - 1})" for c in modality.categories]
        rows.append(
            (
                name,
                f"{modality.value.name} [{modality.value.unit}]",
                ", ".join(axes + vocabularies),
                len(present),
                int(present.sum()),
                f"{middle:,.0f} ({low:,.0f} to {high:,.0f})",
            )
        )
    head = ("modality", "value", "against", "sequences", "measurements", "length: median (range)")
    return columns(head, rows)


def _splits(manifest: Any) -> str:
    total: Counter[str] = Counter()
    for counts in manifest.counts.values():
        total.update(counts.classes or {})
    classes = [name for name, _ in total.most_common()]
    rows = [
        (split, c.num_objects, c.num_samples, *((c.classes or {}).get(k, 0) for k in classes))
        for split, c in manifest.counts.items()
    ]
    return columns(("split", "objects", "samples", *classes), rows)


def _reasons(data: Path) -> str:
    import pyarrow.parquet as pq

    path = data / "quarantine.parquet"
    if not path.is_file():
        return ""
    reasons = Counter(pq.read_table(path, columns=["reason"])["reason"].to_pylist())
    if not reasons:
        return ""
    return columns(("why quarantined", "samples"), reasons.most_common(MOST_REASONS))


def metrics_table(metrics: Any) -> str:
    """The metrics of one evaluation, a row per modality, estimate and metric."""
    names = ("modality", "split", "estimate", "metric", "value", "sd", "count")
    shown = [name for name in names if name in metrics.column_names]
    return columns(shown, [tuple(row[n] for n in shown) for row in metrics.to_pylist()])


def write_tables(tables: Mapping[str, Any], out: Path) -> None:
    """Each table to `out/<name>.parquet`."""
    import pyarrow.parquet as pq

    out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        pq.write_table(table, out / f"{name}.parquet", compression="zstd")
