"""Raw survey files -> a folder of shards: what `daep-ray ingest` calls."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from daep_ray.errors import DataError
from daep_ray.shards.folder import refuse_existing
from daep_ray.shards.manifest import QUARANTINE
from daep_ray.shards.write import IngestCounts, write_shards
from daep_ray.surveys import open_survey


def ingest(
    format: str,
    source: Path | None,
    out: Path,
    options: dict[str, Any] | None = None,
    *,
    strict: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[IngestCounts], None] | None = None,
) -> IngestCounts:
    """Read `source` in a registered format and write the folder `out`.

    With `strict` the folder is written all the same, so that its quarantine can be read, but any
    quarantined sample is an error.

    Raises:
        StorageError: `out` cannot be written.
        ConfigError, DataError: an unknown format or option, an unreadable source, an `out` that
            holds an ingest, nothing written, or (strict) something quarantined.
    """
    out = Path(out)
    refuse_existing(out, overwrite)  # before a long scan of the source
    survey = open_survey(format, source, options or {})
    counts = write_shards(survey, out, overwrite=overwrite, on_progress=on_progress)
    if strict and counts.quarantined:
        raise DataError(
            f"{counts.quarantined:,} of {counts.read:,} samples are quarantined and --strict "
            f"allows none: {str(out / QUARANTINE)!r} says why"
        )
    return counts
