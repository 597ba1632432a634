"""Several ingests -> one: what `daep-ray merge` calls.

In: shard folders whose surveys agree. Out: one folder with one manifest, lengths and quarantine, as
if one survey had been read; streaming, a row group at a time (and 32 bytes per sample).

What must agree is said in `shards/agreement.py`. Vocabularies and labels are united, codes put
into the united vocabulary. Splits go by object id, so one object of two surveys lies in one split.

A sample id that an earlier folder has already gets its own folder's name before it,
`<folder>/<sample id>`: ids name files, and two surveys may both have a `1`. Where the content is
the same as well the sample is quarantined: it is one sample given twice.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from daep_ray.errors import DataError
from daep_ray.sample import Ignored, Modality, Quarantined, Record, Sample
from daep_ray.shards.agreement import united_labels, united_modalities
from daep_ray.shards.checks import IdSet
from daep_ray.shards.flat import flatten
from daep_ray.shards.folder import refuse_existing
from daep_ray.shards.manifest import IGNORED, QUARANTINE
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.schema import samples_from_table
from daep_ray.shards.split import hash_of
from daep_ray.shards.write import IngestCounts, write_shards


def merge(
    paths: list[Path],
    out: Path,
    *,
    overwrite: bool = False,
    on_progress: Callable[[IngestCounts], None] | None = None,
) -> IngestCounts:
    """Write the folders' samples to the new folder `out`, in the order given.

    Raises:
        StorageError: `out` cannot be written.
        DataError: fewer than two folders, one that is no ingest, one given twice, surveys that
            disagree, or an `out` that holds an ingest.
    """
    if len(paths) < 2:
        raise DataError(f"merge needs two folders or more, {len(paths)} given")
    out = Path(out)
    if out.resolve() in [Path(path).resolve() for path in paths]:
        raise DataError(f"{str(out)!r} is one of the folders to merge: give another --out")
    refuse_existing(out, overwrite)
    folders = {
        name: ShardFolder.open(path) for name, path in zip(_names(paths), paths, strict=True)
    }
    _refuse_twice(folders)
    return write_shards(_Merged.of(folders), out, overwrite=overwrite, on_progress=on_progress)


def _names(paths: list[Path]) -> list[str]:
    """Each folder's name, numbered where two have the same: `snid`, `snid-2`."""
    names: list[str] = []
    for path in paths:
        stem, number = Path(path).resolve().name, 1
        name = stem
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names


def _refuse_twice(folders: dict[str, ShardFolder]) -> None:
    seen: dict[str, str] = {}
    for name, folder in folders.items():
        if other := seen.get(folder.manifest.hash):
            raise DataError(
                f"{other!r} and {name!r} hold the same data ({folder.manifest.hash}): "
                "give each ingest once"
            )
        seen[folder.manifest.hash] = name


@dataclass(frozen=True)
class _Merged:
    """The folders as one survey: what `write_shards` reads."""

    folders: dict[str, ShardFolder]
    modalities: tuple[Modality, ...]
    source: dict[str, Any]

    @classmethod
    def of(cls, folders: dict[str, ShardFolder]) -> "_Merged":
        manifests = {name: folder.manifest for name, folder in folders.items()}
        united_labels(manifests)  # refuses, before anything is read
        formats = {str(m.source.get("format", "")) for m in manifests.values()}
        surveys = [
            {
                "name": name,
                "hash": m.hash,
                "source": dict(m.source),
                "num_written": m.num_written,
                "num_dropped": m.num_dropped,
            }
            for name, m in manifests.items()
        ]
        return cls(
            folders,
            united_modalities(manifests),
            # a format's default recipe stays where all surveys have the format
            {
                "format": formats.pop() if len(formats) == 1 else "merged",
                "name": " + ".join(folders),
                "surveys": surveys,
            },
        )

    def records(self) -> Iterator[Record]:
        ids, contents = IdSet(), IdSet()
        for name, folder in self.folders.items():
            yield from _small_tables(name, folder)
            yield from _samples(name, folder, self.modalities, ids, contents)


def _small_tables(name: str, folder: ShardFolder) -> Iterator[Record]:
    """What the folder's own ingest lost or ignored."""
    for row in folder.rows_of(QUARANTINE):
        yield Quarantined(f"{name}/{row['file']}", row["unit"], row["reason"])
    for row in folder.rows_of(IGNORED):
        yield Ignored(f"{name}/{row['file']}")


def _samples(
    name: str, folder: ShardFolder, modalities: tuple[Modality, ...], ids: IdSet, contents: IdSet
) -> Iterator[Record]:
    """The folder's samples with codes of the united vocabularies."""
    tables = {m.name: _Recoding.of(folder.modalities.get(m.name), m) for m in modalities}
    for group in folder.row_groups():
        table = folder.read_row_group(*group)
        samples = [
            _recoded(sample, tables)
            for sample in samples_from_table(table, tuple(folder.modalities.values()))
        ]
        if folder.manifest.is_split_by_hash:
            samples = [replace(sample, split=None) for sample in samples]
        is_new_id = ids.add(np.array([hash_of(s.sample_id) for s in samples], np.uint64))
        is_new = contents.add(_content_hashes(samples, modalities))
        for sample, id_is_new, content_is_new in zip(samples, is_new_id, is_new, strict=True):
            if id_is_new:
                yield sample
            elif content_is_new:
                yield replace(sample, sample_id=f"{name}/{sample.sample_id}")
            else:
                why = "the same sample, content and all, is in an earlier folder"
                yield Quarantined(name, sample.sample_id, why)


def _content_hashes(samples: list[Sample], modalities: tuple[Modality, ...]) -> np.ndarray:
    """(n,) uint64 of id, object and all sequences."""
    parts = np.stack([flatten(samples, m).hashes() for m in modalities], axis=1)
    return np.array(
        [
            int.from_bytes(
                hashlib.blake2b(
                    f"{s.sample_id}\0{s.object_id}\0".encode() + row.tobytes(), digest_size=8
                ).digest(),
                "little",
            )
            for s, row in zip(samples, parts, strict=True)
        ],
        np.uint64,
    )


@dataclass(frozen=True)
class _Recoding:
    """For each category of a modality the united code of each of the folder's codes."""

    codes: dict[str, np.ndarray]

    @classmethod
    def of(cls, own: Modality | None, united: Modality) -> "_Recoding":
        if own is None:
            return cls({})
        into = {c.name: {word: k for k, word in enumerate(c.vocabulary)} for c in united.categories}
        return cls(
            {
                c.name: np.array([into[c.name][word] for word in c.vocabulary], np.int16)
                for c in own.categories
            }
        )


def _recoded(sample: Sample, recodings: dict[str, _Recoding]) -> Sample:
    """Metadata are words in a sample already; codes per measurement are looked up."""
    sequences = {
        m: replace(
            sequence,
            categories={c: recodings[m].codes[c][v] for c, v in sequence.categories.items()},
        )
        for m, sequence in sample.sequences.items()
    }
    return replace(sample, sequences=sequences)
