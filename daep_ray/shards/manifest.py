"""The manifest of a shard folder: what the data are, where, and how many; its hash is their name.

`manifest.json` is written last, so a folder that has one is whole. The hash covers the schema
version, the modalities, the labels and every shard's content: no path, no time, no source. Two
ingests of the same files have the same hash.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from daep_ray.errors import DataError
from daep_ray.sample import Modality
from daep_ray.settings import canonical_hash

SCHEMA_VERSION = 1
MANIFEST, LENGTHS = "manifest.json", "lengths.parquet"
QUARANTINE, IGNORED = "quarantine.parquet", "ignored.parquet"


@dataclass(frozen=True)
class Shard:
    """One Parquet file of the folder."""

    file: str
    bytes: int  # on disk
    raw_bytes: int  # of the lists in memory
    sha256: str
    footer: str  # `footer_of` the file: tells cheaply whether the file is this one
    row_group_rows: tuple[int, ...]

    @property
    def rows(self) -> int:
        return sum(self.row_group_rows)

    @property
    def row_groups(self) -> int:
        return len(self.row_group_rows)


@dataclass(frozen=True)
class SplitCounts:
    """What a split holds; `classes` counts samples by the label `class`."""

    num_samples: int = 0
    num_objects: int = 0
    classes: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Manifest:
    """The declaration of a folder of shards; see the module for what `hash` covers."""

    modalities: tuple[Modality, ...]
    shards: tuple[Shard, ...]
    counts: Mapping[str, SplitCounts]  # by split
    num_measurements: Mapping[str, int]  # by modality
    labels: Mapping[str, str]  # name -> "string" or "float"
    source: Mapping[str, Any]  # format, options, file names
    num_read: int
    num_written: int
    num_quarantined: int
    num_ignored: int
    num_dropped: int  # measurements left out of good samples: value or position not finite
    is_split_by_hash: bool  # False: the survey gave its own splits
    lengths_footer: str
    schema_version: int = SCHEMA_VERSION

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits that identify the data everywhere."""
        return canonical_hash(
            {
                "schema_version": self.schema_version,
                "modalities": [m.to_json() for m in self.modalities],
                "labels": dict(self.labels),
                "shards": [s.sha256 for s in self.shards],
            }
        )

    def to_json(self) -> dict[str, Any]:
        return {"hash": self.hash, **asdict(self)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        fields = {k: v for k, v in raw.items() if k != "hash"}
        fields["modalities"] = tuple(Modality.from_json(m) for m in raw["modalities"])
        fields["shards"] = tuple(
            Shard(**{**s, "row_group_rows": tuple(s["row_group_rows"])}) for s in raw["shards"]
        )
        fields["counts"] = {split: SplitCounts(**c) for split, c in raw["counts"].items()}
        return cls(**fields)

    def write(self, folder: Path) -> None:
        text = json.dumps(self.to_json(), indent=2, allow_nan=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """From `folder/manifest.json`.

        Raises:
            DataError: there is none, it is of another version, or it was edited.
        """
        path = folder / MANIFEST
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            what = "has no manifest.json" if folder.is_dir() else "is not there"
            raise DataError(
                f"data folder {str(folder)!r} {what}: give the folder that "
                "`daep-ray ingest FORMAT SOURCE --out DIR` wrote"
            ) from None
        except (OSError, ValueError) as error:
            raise DataError(f"{str(path)!r} cannot be read ({error}): ingest again") from None
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if version != SCHEMA_VERSION:
            raise DataError(
                f"{str(path)!r} has schema version {version!r}, this program reads "
                f"{SCHEMA_VERSION}: ingest again"
            )
        try:
            manifest = cls.from_json(raw)
        except (KeyError, TypeError, AttributeError, AssertionError) as error:
            raise DataError(f"{str(path)!r} is incomplete ({error}): ingest again") from None
        if manifest.hash != raw.get("hash"):
            raise DataError(
                f"{str(path)!r} was edited: its hash is {manifest.hash}, "
                f"it says {raw.get('hash')}: ingest again"
            )
        return manifest


def footer_of(path: Path) -> str | None:
    """A hash of a Parquet file's footer, None if the file has no whole footer.

    The footer holds the sizes and places of all columns, so files of other content differ in it;
    reading it costs nothing beside opening the file.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < 12:
            return None
        file.seek(size - 8)
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != b"PAR1" or length + 12 > size:
            return None
        file.seek(size - 8 - length)
        return hashlib.sha256(file.read(length)).hexdigest()[:16]
