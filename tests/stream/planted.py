"""A survey with faults planted in it, for the tests of the audit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from daep_ray.sample import Modality, Record, Sample, Sequence
from daep_ray.shards.split import split_of
from daep_ray.stream.audit import Finding, audit

NUM_OBJECTS = 300


@dataclass(frozen=True)
class Planted:
    """A survey with other samples than its reader gave."""

    modalities: tuple[Modality, ...]
    source: dict[str, Any]
    samples: list[Sample]

    def records(self) -> Iterator[Record]:
        yield from self.samples


Plant = Callable[[Callable[[list[Sample]], list[Sample]]], Path]


def found(path: Path) -> list[Finding]:
    return list(audit(path))


def split(sample: Sample) -> str:
    return sample.split or split_of(sample.object_id)


def changed(sample: Sample, modality: str, change: Callable[[Sequence], Sequence]) -> Sample:
    if modality not in sample.sequences:
        return sample
    sequences = sample.sequences | {modality: change(sample.sequences[modality])}
    return replace(sample, sequences=sequences)
