"""What surveys must agree on to be one: declarations united, or one sentence about the first clash.

In: manifests by name. Out: the united modalities and labels. Value, positions, extras, names of
categories and whether there are errors must be equal to the unit and the frame; vocabularies are
united; a modality, a metadata entry or a label may be absent from some surveys.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from daep_ray.errors import DataError
from daep_ray.sample import Axis, Category, Modality
from daep_ray.shards.manifest import Manifest

Named = tuple[str, Modality]  # a survey's name and its declaration of a modality


def united_modalities(manifests: Mapping[str, Manifest]) -> tuple[Modality, ...]:
    """Every modality of any survey, vocabularies united, the first survey's entries first.

    Raises:
        DataError: two surveys disagree; the sentence names both and what differs.
    """
    named = [(survey, m) for survey, manifest in manifests.items() for m in manifest.modalities]
    names = dict.fromkeys(m.name for _, m in named)
    return tuple(_united([(s, m) for s, m in named if m.name == name]) for name in names)


def united_labels(manifests: Mapping[str, Manifest]) -> dict[str, str]:
    """Every label of any survey and its type.

    Raises:
        DataError: a label is text in one survey and a number in another.
    """
    types: dict[str, tuple[str, str]] = {}
    for survey, manifest in manifests.items():
        for label, kind in manifest.labels.items():
            other, known = types.setdefault(label, (survey, kind))
            if kind != known:
                raise _clash(f"label {label!r}", other, known, survey, kind)
    return {label: kind for label, (_, kind) in types.items()}


def _united(declared: list[Named]) -> Modality:
    first_survey, first = declared[0]
    for survey, other in declared[1:]:
        _check(first_survey, first, survey, other)
    modalities = [m for _, m in declared]
    categories = tuple(
        _united_category([m.categories[k] for m in modalities])
        for k in range(len(first.categories))
    )
    return replace(first, categories=categories, metadata=_united_metadata(declared))


def _check(survey: str, one: Modality, other_survey: str, other: Modality) -> None:
    """Raise if two declarations of a modality cannot be mixed."""
    what = f"modality {one.name!r}: "
    pairs: list[tuple[str, str, str]] = [
        ("value", _axis(one.value), _axis(other.value)),
        ("positions", _axes(one.positions), _axes(other.positions)),
        ("categories", _names(one.categories), _names(other.categories)),
        ("errors", _errors(one), _errors(other)),
        ("extras", _axes(one.extras), _axes(other.extras)),
    ]
    for part, here, there in pairs:
        if here != there:
            raise _clash(what + part, survey, here, other_survey, there)


def _clash(what: str, survey: str, here: str, other: str, there: str) -> DataError:
    return DataError(
        f"{survey!r} and {other!r} cannot be merged, {what}: {here} in {survey!r}, {there} in "
        f"{other!r}; ingest one of them again with the other's unit and frame, or keep them apart"
    )


def _axis(axis: Axis) -> str:
    unit = f"in {axis.unit}" if axis.unit else "without unit"
    frame = f", {axis.frame} frame" if axis.frame else ""
    return f"{axis.name} {unit}{frame}{', a time' if axis.is_time else ''}"


def _axes(axes: Iterable[Axis]) -> str:
    return _list(map(_axis, axes))


def _list(words: Iterable[str]) -> str:
    return " and ".join(words) or "none"


def _names(categories: Iterable[Category]) -> str:
    return _list(c.name for c in categories)


def _errors(modality: Modality) -> str:
    return "measured errors" if modality.has_error else "no errors"


def _united_category(categories: list[Category]) -> Category:
    words = dict.fromkeys(word for c in categories for word in c.vocabulary)
    return Category(categories[0].name, tuple(words))


def _united_metadata(declared: list[Named]) -> tuple[Axis | Category, ...]:
    """Missing metadata are allowed, so what only one survey has stays."""
    found: dict[str, tuple[str, Axis | Category]] = {}
    for survey, modality in declared:
        for entry in modality.metadata:
            other, known = found.setdefault(entry.name, (survey, entry))
            if isinstance(known, Category) and isinstance(entry, Category):
                found[entry.name] = (other, _united_category([known, entry]))
            elif known != entry:
                what = f"modality {modality.name!r}: metadata {entry.name}"
                raise _clash(what, other, _entry(known), survey, _entry(entry))
    return tuple(entry for _, entry in found.values())


def _entry(entry: Axis | Category) -> str:
    return _axis(entry) if isinstance(entry, Axis) else f"{entry.name} in words"
