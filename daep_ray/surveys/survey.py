"""What a reader hands over: a `Survey`, and how a format is registered: a `Reader`.

In: a source (a folder, an archive, or nothing) and the format's settings. Out: the declared
modalities and an iterator of records, one per sample, lost sample or ignored file.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daep_ray.sample import Modality, Record
from daep_ray.settings import Settings


@dataclass(frozen=True)
class Survey:
    """One survey, opened: vocabularies are complete before `records` is called.

    `records()` starts a fresh pass each time, always in the same order, and never raises for one
    bad object: it yields a `Quarantined` in its place. `source` goes into the manifest (plain
    JSON: format, options, the source's own name; no absolute path).
    """

    format: str
    modalities: tuple[Modality, ...]
    records: Callable[[], Iterator[Record]]
    source: dict[str, Any]


@dataclass(frozen=True)
class Reader:
    """A registered format: its settings and the function that opens a source with them."""

    settings: type[Settings]
    open: Callable[[Path | None, Any], Survey]  # (source, settings) -> Survey
    needs_source: bool
