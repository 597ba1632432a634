"""A recipe's statistics against the training split, and the sequences that it leaves empty.

Every recipe kept in `<data>/recipes/` for these data is fitted anew, from the training rows alone;
where none is kept, the default recipe tells what would be left empty. Somebody has trained with a
kept recipe and was told what its steps leave out: that is counted by reason in notes, and only
what the data are at fault for is a finding.
"""

import json
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from daep_ray.shards.read import ShardFolder
from daep_ray.stream import excluded
from daep_ray.stream.audit_finding import MOST_FINDINGS, Finding, limited
from daep_ray.stream.fitted import ModalityStatistics, Scale
from daep_ray.stream.recipe import Recipe, default_recipe
from daep_ray.stream.statistics import VERSION, left_out, refit

TOLERANCE = 1e-6  # of a standard deviation: another machine's rounding

Statistics = dict[str, ModalityStatistics]


def recipe_findings(folder: ShardFolder) -> Iterator[Finding]:
    """What the kept statistics and the recipes' selections tell; one pass per recipe."""
    kept = list(_kept(folder))
    for name, recipe, statistics in kept:
        fitted, lengths = refit(folder, recipe)
        what = next(_disagreements(statistics, fitted), None)
        if what is not None:
            yield Finding(
                "statistics",
                f"recipes/{name}/statistics.json was not made from the training split alone: "
                f"{what}; delete that folder and every model trained with it",
            )
        yield from _left_out(folder, lengths, recipe, f"recipe {name}")
    if not kept:
        recipe = default_recipe(folder.manifest)
        yield from _emptied(refit(folder, recipe)[1], recipe, "the default recipe")


def _kept(folder: ShardFolder) -> Iterator[tuple[str, Recipe, Statistics]]:
    """Recipes with statistics that a training on these data would take as they are."""
    for path in sorted(folder.path.glob("recipes/*/statistics.json")):
        try:
            raw = json.loads(path.read_text())
            if (raw["version"], raw["manifest"]) != (VERSION, folder.manifest.hash):
                continue
            found = {n: ModalityStatistics.from_json(s) for n, s in raw["statistics"].items()}
            yield path.parent.name, Recipe.parse(raw["recipe"]), found
        except (OSError, ValueError, KeyError, TypeError):
            continue  # damaged: a training makes it anew


def _disagreements(kept: Statistics, fitted: Statistics) -> Iterator[str]:
    """Every number that differs, in words."""
    for name, right in fitted.items():
        if name not in kept:
            yield f"{name} is missing"
            continue
        found = kept[name]
        for count in ("num_sequences", "num_measurements"):
            here, there = getattr(found, count), getattr(right, count)
            if here != there:
                yield f"{name} has {count} {here:,}, the training split {there:,}"
        pairs = [
            ("value", found.value, right.value),
            ("positions", found.positions, right.positions),
        ]
        for what, scales, others in pairs:
            for k, (a, b) in enumerate(zip(scales, others, strict=False)):
                yield from _scale_differs(f"{name} {what} {k}", a, b)
        for entry, b in right.metadata.items():
            yield from _scale_differs(
                f"{name} {entry}", found.metadata.get(entry, Scale(np.nan)), b
            )


def _scale_differs(what: str, a: Scale, b: Scale) -> Iterator[str]:
    bound = TOLERANCE * max(abs(b.sd), abs(b.mean) * TOLERANCE)
    if not (abs(a.mean - b.mean) <= bound and abs(a.sd - b.sd) <= bound):
        yield f"{what} has mean {a.mean:.6g}, sd {a.sd:.6g} instead of {b.mean:.6g}, {b.sd:.6g}"


def _left_out(
    folder: ShardFolder, lengths: pa.Table, recipe: Recipe, who: str
) -> Iterator[Finding]:
    """How many samples each reason of the recipe's empties, and those that no step is meant to."""
    meant: Counter[tuple[str, str]] = Counter()
    faults: list[str] = []
    num_faults = 0
    for part in left_out(folder, recipe, lengths):
        for row in part.to_pylist():
            if row["reason"] not in excluded.FAULTS:
                meant[row["modality"], row["reason"]] += 1
                continue
            num_faults += 1
            if len(faults) < MOST_FINDINGS:
                what = f"{who} leaves nothing of its {row['modality']}, {row['reason']}"
                faults.append(f"sample {row['sample_id']!r}: {what}")
    for (modality, reason), number in meant.most_common():
        samples = "sample" if number == 1 else "samples"
        what = f"{who} leaves out {number:,} {samples} of {modality}: {reason}"
        yield Finding("rejected", what, is_note=True)
    yield from limited("rejected", faults, num_faults)


def _emptied(lengths: pa.Table, recipe: Recipe, who: str) -> Iterator[Finding]:
    """Sequences with measurements of which the recipe keeps none."""
    for name in recipe.modalities:
        raw = lengths.column(f"{name}.raw_length").to_numpy()
        rows = np.flatnonzero((lengths.column(f"{name}.length").to_numpy() == 0) & (raw > 0))
        ids = lengths.column("sample_id").take(rows[:MOST_FINDINGS]).to_pylist()
        told = (
            f"sample {sample_id!r}: {who} leaves none of its {raw[row]:,} {name} measurements"
            for sample_id, row in zip(ids, rows[:MOST_FINDINGS], strict=True)
        )
        yield from limited("rejected", told, len(rows))
