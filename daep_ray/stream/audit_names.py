"""One object under two spellings in two splits: the model is tested on what it was trained on.

Object ids are compared in a form that forgets how a name is written: `SN 1999aa`, `sn1999aa`,
`1999AA` and `AT1999aa` are one object, so are `DES_12` and `des-12`.
"""

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from daep_ray.shards.checks import IdSet
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.split import SPLITS, hash_of
from daep_ray.stream.audit_finding import MOST_FINDINGS, Finding, limited
from daep_ray.surveys.names import canon

_SEPARATORS = re.compile(r"[\s_\-]+")
_TRANSIENT = re.compile(r"^at ?(?=(?:19|20)\d{2}[a-z]+$)", re.IGNORECASE)  # before it has a type


def spelling_key(object_id: str) -> str:
    """The same text for every spelling of an object's name."""
    words = _SEPARATORS.sub(" ", canon(object_id)).strip()
    return canon(_TRANSIENT.sub("SN ", words)).lower().replace(" ", "-")


def spelling_findings(folder: ShardFolder) -> Iterator[Finding]:
    """Objects whose spellings lie in several splits; two passes over `lengths.parquet`."""
    keys = {split: IdSet() for split in SPLITS}
    for table in folder.iter_lengths():
        hashes, splits = _keys(table)
        for split, known in keys.items():
            known.add(hashes[splits == split])
    everything = np.concatenate([known.all() for known in keys.values()])
    unique, counts = np.unique(everything, return_counts=True)
    shared = unique[counts > 1]
    if len(shared):
        sentences = map(_sentence, _spellings(folder, shared[:MOST_FINDINGS]).values())
        yield from limited("spelling", sentences, len(shared))


def _keys(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """(n,) uint64 of each row's spelling key, and (n,) its split."""
    ids = table["object_id"].to_pylist()
    cache = {object_id: hash_of(spelling_key(object_id)) for object_id in set(ids)}
    return np.array([cache[i] for i in ids], np.uint64), np.array(table["split"].to_pylist(), str)


def _spellings(folder: ShardFolder, shared: np.ndarray) -> dict[int, dict[tuple[str, str], None]]:
    """By key, the (object id, split) that have it, in the order of the rows."""
    found: dict[int, dict[tuple[str, str], None]] = {}
    for table in folder.iter_lengths():
        hashes, splits = _keys(table)
        ids = table["object_id"]
        for i in np.flatnonzero(np.isin(hashes, shared)):
            found.setdefault(int(hashes[i]), {})[ids[int(i)].as_py(), str(splits[i])] = None
    return found


def _sentence(spellings: dict[tuple[str, str], None]) -> str:
    listed = " and ".join(f"{object_id!r} in {split}" for object_id, split in spellings)
    return f"one object lies in several splits: {listed}"
