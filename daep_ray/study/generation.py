"""The tables of the study of generated objects, and what they say as Markdown.

In: judged sets (`evaluate/generation.py`) and scored arms (`evaluate/augmentation.py`). Out: rows
of two small tables, `distances` and `gains`, and from these rows alone the text.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from daep_ray.errors import storage_error
from daep_ray.evaluate.augmentation import FEW, REPEATED, SCORES, Scored
from daep_ray.evaluate.generation import Judged
from daep_ray.study.statistics import seed_interval

Rows = list[dict[str, Any]]

SCHEMAS: dict[str, pa.Schema] = {
    "distances": pa.schema(
        {
            "parent": pa.string(),
            "seed": pa.int64(),
            "set": pa.string(),
            "distance": pa.float64(),  # squared, mean over the halvings
            "low": pa.float64(),  # 2.5 % of the halvings
            "high": pa.float64(),
            "excess": pa.float64(),  # over the null
            "objects": pa.int64(),  # on each side
            # balanced share whose class the encoder says; null where they are of no class
            "recognised": pa.float64(),
            "encoder": pa.string(),  # hash of the frozen classifier's weights
        }
    ),
    "gains": pa.schema(
        {
            "seed": pa.int64(),
            "rare": pa.string(),  # the class made rare
            "arm": pa.string(),
            "metric": pa.string(),
            "value": pa.float64(),
            "num_rare": pa.int64(),  # training objects of that class, repeated or generated too
            "encoder": pa.string(),  # hash of the arm's own classifier
        }
    ),
}


def distance_rows(parent: str, seed: int, found: Judged) -> Iterator[dict[str, Any]]:
    """Rows of the table `distances` of one generator."""
    for one in found.distances:
        yield {
            "parent": parent,
            "seed": seed,
            "set": one.name,
            "distance": one.mean,
            "low": one.low,
            "high": one.high,
            "excess": one.excess,
            "objects": one.size,
            "recognised": found.recognised.get(one.name),
            "encoder": found.encoder,
        }


def gain_rows(seed: int, rare: str, found: Iterable[Scored]) -> Iterator[dict[str, Any]]:
    """Rows of the table `gains` of one seed."""
    for scored in found:
        for metric, value in scored.scores.items():
            yield {
                "seed": seed,
                "rare": rare,
                "arm": scored.arm,
                "metric": metric,
                "value": value,
                "num_rare": scored.num_rare,
                "encoder": scored.encoder,
            }


def write(folder: Path, tables: dict[str, Rows]) -> str:
    """Write `<table>.parquet` and `report.md` into the folder; returns the text.

    Raises:
        StorageError: the folder cannot be written.
    """
    text = "\n".join([*distance_lines(tables["distances"]), "", *gain_lines(tables["gains"])])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in tables.items():
            table = pa.Table.from_pylist(rows, schema=SCHEMAS[name])
            pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
        (folder / "report.md").write_text(f"{text}\n")
    except OSError as error:
        raise storage_error(error, folder) from error
    return text


def distance_lines(rows: Rows) -> Iterator[str]:
    """The distances, means over seeds; of the halvings 95 % between the numbers in brackets."""
    sizes, encoders = ({row[k] for row in rows} for k in ("objects", "encoder"))
    seeds = len({row["seed"] for row in rows})
    yield (
        f"Squared Frechet distance, {_listed(sizes)} objects on each side, in the frozen encoder "
        f"{_listed(encoders)}; {seeds} {'seed' if seeds == 1 else 'seeds'} of every generator."
    )
    yield ""
    yield "| parent | objects | distance | over the null | class recognised |"
    yield "|---|---|---:|---:|---:|"
    for parent, name in dict.fromkeys((row["parent"], row["set"]) for row in rows):
        ours = [row for row in rows if (row["parent"], row["set"]) == (parent, name)]
        mean = {k: np.mean([row[k] for row in ours]) for k in ("distance", "low", "high", "excess")}
        known = [row["recognised"] for row in ours if row["recognised"] is not None]
        told = f"{np.mean(known):.3f}" if known else "-"
        interval = f"{mean['distance']:.2f} ({mean['low']:.2f} to {mean['high']:.2f})"
        yield f"| {parent} | {name} | {interval} | {mean['excess']:+.2f} | {told} |"


def gain_lines(rows: Rows) -> Iterator[str]:
    """Every arm, and its difference to the few objects alone and repeated, paired by seed."""
    value = {(row["arm"], row["metric"], row["seed"]): row["value"] for row in rows}
    seeds = sorted({row["seed"] for row in rows})
    counts = {row["num_rare"] for row in rows if row["arm"] == FEW}
    yield (
        f"The rare class {_listed({row['rare'] for row in rows})}, of which {_listed(counts)} "
        f"training objects are left; {len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'}, "
        "differences within a seed with 95 % intervals over the seeds (Student's t)."
    )
    yield ""
    yield "| training objects | metric | value | against few | against repeated |"
    yield "|---|---|---:|---:|---:|"
    for arm in dict.fromkeys(row["arm"] for row in rows):
        for metric in SCORES:
            against = [
                _difference([value[arm, metric, s] - value[control, metric, s] for s in seeds])
                if control != arm
                else "-"
                for control in (FEW, REPEATED)
            ]
            mean = np.mean([value[arm, metric, s] for s in seeds])
            words = metric.replace("_", " ")
            yield f"| {arm} | {words} | {mean:.3f} | {against[0]} | {against[1]} |"


def _difference(differences: list[float]) -> str:
    """`+0.031 (-0.010 to +0.072)`; one seed has no interval."""
    found = seed_interval(differences)
    told = f"{found.mean:+.3f}"
    return told if found.count == 1 else f"{told} ({found.low:+.3f} to {found.high:+.3f})"


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in sorted(values))
