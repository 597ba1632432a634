"""Does a modality find its other half? recall@k of every configuration, beside chance.

Study and evidence in, a `Grid` out: a row per configuration, asking modality and k.
"""

import re
from dataclasses import dataclass
from typing import Any

from daep_ray.report.evidence import Evidence
from daep_ray.report.grid import Column, Grid, number_column, text_column
from daep_ray.report.results import SHAPE, Configuration, configurations
from daep_ray.report.source import Study
from daep_ray.report.style import title
from daep_ray.report.svg import slug
from daep_ray.study.statistics import Interval, seed_interval

FROM = "from_"
_RECALL = re.compile(r"recall_at_(\d+)(_chance)?")


@dataclass(frozen=True)
class _Found:
    """One row of the table, over the seeds that were measured."""

    configuration: Configuration
    source: str
    k: int
    recall: Interval
    chance: Interval
    gallery: str


def retrieval(study: Study, evidence: Evidence) -> Grid | None:
    """How often the others' codes find a sequence of this modality; None where nobody asked."""
    rows = _rows(study, evidence)
    if not rows:
        return None
    columns = [*_design(evidence, rows), text_column("from", "asked by", [r.source for r in rows])]
    columns.append(text_column("k", "k", [str(r.k) for r in rows], "number"))
    columns.append(number_column("recall", "recall@k", [r.recall for r in rows]))
    columns.append(number_column("chance", "by chance", [r.chance for r in rows]))
    columns.append(text_column("gallery", "gallery", [r.gallery for r in rows], "number"))
    return Grid(
        f"retrieval-{slug(evidence.modality)}",
        f"Retrieval of {evidence.modality}, test samples that have both",
        tuple(columns),
        (
            "Every sample ranks the gallery, one sequence of each object, by cosine. recall@k: the "
            "share whose own object is among the first k, an object's samples averaged first. "
            "\u00b1: half width of the 95 % interval over seeds.",
        ),
    )


def _rows(study: Study, evidence: Evidence) -> list[_Found]:
    """By configuration, then by who asks, then by k."""
    told = _measured(study, evidence.modality)
    asked = sorted({(source, k) for _, source, k, is_chance in told if not is_chance})
    found = []
    for configuration in configurations(study, evidence):
        cells = [c.cell for c in configuration.cells]
        for source, k in asked:
            own, luck = (
                [told[key] for cell in cells if (key := (cell, source, k, is_chance)) in told]
                for is_chance in (False, True)
            )
            if own and luck:
                recall, chance = (seed_interval([r["value"] for r in rows]) for rows in (own, luck))
                gallery = _sizes([row["count"] for row in own])
                found.append(_Found(configuration, source, k, recall, chance, gallery))
    return found


def _measured(study: Study, modality: str) -> dict[tuple[str, str, int, bool], dict[str, Any]]:
    """Rows of the metrics by cell, modality that asks, k, and whether it is chance's."""
    found = {}
    for row in study.rows("metrics", modality=modality).to_pylist():
        recall = _RECALL.fullmatch(row["metric"])
        if recall and row["estimate"].startswith(FROM):
            source = row["estimate"].removeprefix(FROM)
            found[row["cell"], source, int(recall[1]), bool(recall[2])] = row
    return found


def _sizes(counts: list[int]) -> str:
    """Objects in the gallery; from fewest to most where the cells differ."""
    ends = sorted({min(counts), max(counts)})
    return " to ".join(f"{n:,}" for n in ends)


def _design(evidence: Evidence, rows: list[_Found]) -> list[Column]:
    """What tells the rows apart, as far as something does."""
    of = [row.configuration for row in rows]
    columns = [text_column("model", "model", [title(c.model) for c in of])]
    for key, name, words in (
        ("x", evidence.x.title, ["" if c.x is None else str(c.x) for c in of]),
        ("shape", SHAPE, [c.shape for c in of]),
        ("variant", "variant", [c.variant for c in of]),
    ):
        if len(set(words)) > 1:
            columns.append(text_column(key, name, words))
    return columns
