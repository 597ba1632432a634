"""Text tables for people: an ingest, an evaluation.

In: a folder of shards, or a metrics table. Out: text with aligned columns.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MOST_REASONS = 10
MOST_CLASSES = 8


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
        return f"{value:.5g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def describe(data: Path) -> str:
    """What an ingest holds: modalities and their ranges, splits and classes, quarantine.

    Raises:
        DataError: no ingest there, or a shard is damaged.
    """
    from daep_ray.shards.inspect import summarise
    from daep_ray.shards.read import ShardFolder

    of = summarise(ShardFolder.open(data))
    parts = [
        f"{data}: {of['source'].get('format', 'unknown format')}, {of['num_written']:,} samples "
        f"of {of['num_objects']:,} objects in {of['num_shards']} shards, "
        f"{of['bytes_on_disk'] / 1e6:,.1f} MB, manifest {of['hash']}",
        _modalities(of["modalities"]),
        _ranges(of["modalities"]),
        _splits(of["splits"]),
        f"read {of['num_read']:,} = written {of['num_written']:,} + quarantined "
        f"{of['num_quarantined']:,} (ignored files: {of['num_ignored']:,}, measurements left out: "
        f"{of['num_dropped']:,})",
    ]
    if of["quarantine"]:
        reasons = list(of["quarantine"].items())[:MOST_REASONS]
        parts.append(columns(("why quarantined", "samples"), reasons))
    return "\n\n".join(parts)


def _modalities(modalities: dict[str, Any]) -> str:
    rows = [
        (
            name,
            m["num_samples"],
            m["num_measurements"],
            *(m["length"][k] for k in ("low", "median", "high")),
            "; ".join(f"{c}: {_by_word(words)}" for c, words in m["categories"].items()) or None,
        )
        for name, m in modalities.items()
    ]
    head = ("modality", "samples", "measurements", "shortest", "median", "longest", "categories")
    return columns(head, rows)


def _by_word(counts: dict[str, int]) -> str:
    return ", ".join(f"{word} {count:,}" for word, count in counts.items())


def _ranges(modalities: dict[str, Any]) -> str:
    """Lowest and highest of every value, position and metadata."""
    rows: list[tuple[Any, ...]] = []
    for name, m in modalities.items():
        for quantity, r in (*m["ranges"].items(), *m["metadata"].items()):
            if "num_known" in r:
                rows.append((f"{name}.{quantity}", r["low"], r["high"], r["num_known"], r["unit"]))
            else:
                rows.append((f"{name}.{quantity}", None, None, sum(r.values()), _by_word(r)))
    return columns(("quantity", "lowest", "highest", "known", "unit or words"), rows)


def _splits(splits: dict[str, Any]) -> str:
    total: Counter[str] = Counter()
    for split in splits.values():
        total.update(split["classes"])
    classes = [name for name, _ in total.most_common(MOST_CLASSES)]
    rows = [
        (name, s["num_objects"], s["num_samples"], *(s["classes"].get(k, 0) for k in classes))
        for name, s in splits.items()
    ]
    return columns(("split", "objects", "samples", *classes), rows)


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
