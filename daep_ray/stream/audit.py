"""Leakage and units of an ingest: what `daep-ray audit` calls.

In: a folder of shards. Out: findings in words, none for clean data but notes.

    spelling     one object under two spellings in two splits        audit_names.py
    duplicate    two objects with the same measurements              audit_content.py
    scale        a column of held-out objects on another scale       audit_scale.py
    rejected     a row of which nothing can be used                  audit_content.py and
                 or that a recipe leaves empty; a note of what it
                 leaves out on purpose                               audit_recipes.py
    statistics   a recipe's statistics are not the training split's  audit_recipes.py

One pass over the shards and one per recipe; memory stays the same but for 16 bytes per sample and 8
per sequence.
"""

from collections.abc import Iterator
from pathlib import Path

from daep_ray.shards.flat import Flat
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import ID_COLUMNS, columns_of
from daep_ray.stream.audit_content import Contents, Rejected
from daep_ray.stream.audit_finding import Finding
from daep_ray.stream.audit_names import spelling_findings
from daep_ray.stream.audit_recipes import recipe_findings
from daep_ray.stream.audit_scale import Scales

__all__ = ["Finding", "audit"]


def audit(path: Path | str) -> Iterator[Finding]:
    """Everything that is found, as it is found.

    Raises:
        DataError: no ingest, or a shard that is damaged.
    """
    folder = ShardFolder.open(path)
    yield from spelling_findings(folder)
    yield from _shard_findings(folder)
    yield from recipe_findings(folder)


def _shard_findings(folder: ShardFolder) -> Iterator[Finding]:
    """What one pass over the shards tells."""
    modalities = folder.modalities.values()
    contents, rejected = Contents(folder.modalities), Rejected(folder.modalities)
    scales = Scales(folder.manifest)
    columns = [*ID_COLUMNS, *(column for m in modalities for column in columns_of(m))]
    for group in folder.row_groups():
        table = folder.read_row_group(*group, columns)
        flats = [Flat.from_table(table, m) for m in modalities]
        ids = table.select(list(ID_COLUMNS)).to_pydict()
        contents.add(ids["object_id"], flats)
        rejected.add(ids["sample_id"], flats)
        scales.add(ids["object_id"], ids["split"], flats)
    yield from contents.findings(folder)
    yield from scales.findings()
    yield from rejected.findings()
