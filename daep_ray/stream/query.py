"""Places that a user asks a model about, as what the model reads: a FlatSequence without values.

In: positions, category words and metadata in declared units, and the raw rows of the samples that
they are asked of (their reference, redshift and scale are needed). Out: standardised flat arrays
that `FittedRecipe.invert_value` takes results back with, and in words what could not be placed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from daep_ray.errors import DataError
from daep_ray.sample import Axis, Category, Modality
from daep_ray.stream.factors import factors
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import FlatSequence, offsets_of, spread
from daep_ray.stream.position_chain import DivideByOnePlus, PositionStep, Reference, Taken
from daep_ray.stream.recipe import LOG_SCALE
from daep_ray.stream.value_chain import ScaleByMedian


@dataclass(frozen=True)
class Places:
    """N places in one modality of one sample, in declared units."""

    positions: dict[str, np.ndarray]  # (N,) by axis
    categories: dict[str, np.ndarray]  # (N,) codes
    metadata: dict[str, float]  # what the user says of the sequence; codes of categorical ones

    def __len__(self) -> int:
        return len(next(iter((*self.positions.values(), *self.categories.values()))))


def places_of(modality: Modality, at: Mapping[str, Any]) -> Places:
    """`{"time": [...], "band": "g", "redshift": 0.1}`: numbers, words or codes; one of them stands
    for all places.

    Raises:
        DataError: a name that the modality does not have, one that is missing, lengths that differ.
    """
    where = f"`at` for {modality.name}"
    if not isinstance(at, Mapping):
        raise DataError(
            f"{where} is a {type(at).__name__}: write {{'{modality.positions[0].name}': [...]}}"
        )
    per_place: list[Axis | Category] = [*modality.positions, *modality.categories]
    known = [e.name for e in (*per_place, *modality.metadata)] + [LOG_SCALE]
    for name in at:
        if name not in known:
            raise DataError(f"{where} has {name!r}, which is none of {', '.join(known)}")
    missing = [e.name for e in per_place if e.name not in at]
    if missing:
        raise DataError(f"{where} lacks {', '.join(missing)}: give a number or a list for each")
    arrays = {e.name: np.atleast_1d(_numbers(where, e, at[e.name])) for e in per_place}
    sizes = {len(a) for a in arrays.values() if len(a) != 1} or {1}
    if len(sizes) > 1:
        told = ", ".join(f"{n} {len(a)}" for n, a in arrays.items())
        raise DataError(f"{where} has lists of different lengths ({told}): make them equal")
    (size,) = sizes
    full = {name: np.broadcast_to(a, (size,)) for name, a in arrays.items()}
    metadata = {e.name: _one(where, e, at[e.name]) for e in modality.metadata if e.name in at}
    if LOG_SCALE in at:
        metadata[LOG_SCALE] = _one(where, Axis(LOG_SCALE, ""), at[LOG_SCALE])
    return Places(
        {a.name: full[a.name] for a in modality.positions},
        {c.name: full[c.name].astype(np.int64) for c in modality.categories},
        metadata,
    )


def _one(where: str, entry: Axis | Category, given: Any) -> float:
    """What is said of the whole sequence."""
    found = _numbers(where, entry, given)
    if found.size != 1:
        raise DataError(f"{where} has {found.size} of {entry.name}: give one for all places")
    return float(found.item())


def _numbers(where: str, entry: Axis | Category, given: Any) -> np.ndarray:
    """Numbers, words as codes: one, or a plain list."""
    try:
        array = np.asarray(given)
    except ValueError:  # lists of different lengths in a list
        array = np.zeros((1, 1))
    if array.ndim > 1:
        raise DataError(f"{where} has the {entry.name} as lists in a list: give a plain one")
    if isinstance(entry, Category):
        return _codes(where, entry, array)
    try:
        numbers = array.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{where} has the {entry.name} {given!r}: give numbers") from None
    if not np.isfinite(numbers).all():
        raise DataError(f"{where} has a {entry.name} that is not finite: leave it out")
    return numbers


def _codes(where: str, category: Category, given: np.ndarray) -> np.ndarray:
    words = given.astype(str) if given.dtype.kind in "UO" else None
    for word in () if words is None else np.unique(words):
        if word not in category.vocabulary:
            known = ", ".join(category.vocabulary[1:])
            raise DataError(f"{where} has the {category.name} {str(word)!r}: choose of {known}")
    if words is not None:
        code_of = {word: code for code, word in enumerate(category.vocabulary)}
        return np.array([code_of[w] for w in words.ravel()], np.int64).reshape(given.shape)
    num_words = len(category.vocabulary)
    if given.dtype.kind not in "iu" or ((given < 0) | (given >= num_words)).any():
        raise DataError(
            f"{where} has a {category.name} that is neither a word nor a code of 0 to "
            f"{num_words - 1}: choose of {', '.join(category.vocabulary[1:])}"
        )
    return given


@dataclass(frozen=True)
class Query:
    """The places of B samples; those of a sample that could not be placed are left out."""

    flat: FlatSequence  # standardised, its values mean nothing
    positions: dict[str, np.ndarray]  # (N,) as they were asked
    codes: dict[str, np.ndarray]  # (N,) as they were asked
    refusals: dict[int, str]  # by sample: why there is no answer
    remarks: dict[int, str]  # by sample: what to know of the answer


def query(
    fitted: FittedRecipe,
    name: str,
    own: FlatSequence,
    asked: Sequence[Places],
    from_reference: bool = False,
) -> Query:
    """Ask `asked[i]` of sample i, whose own measurements are `own` (before z-scores).

    Positions are in the declared unit; with `from_reference` they are counted already from what
    the recipe counts from (days from peak instead of MJD).
    """
    modality, recipe = fitted.modalities[name], fitted.recipe.modalities[name]
    metadata = {e.name: _overlaid(own.metadata[e.name], e.name, asked) for e in modality.metadata}
    log_scale = np.where(own.lengths > 0, own.log_scale, np.nan)
    log_scale = _overlaid(log_scale, LOG_SCALE, asked)
    taken, refusals = _taken(fitted, name, own, metadata, from_reference)
    asked = [_none(p) if i in refusals else p for i, p in enumerate(asked)]
    flat = FlatSequence(
        value=np.zeros(sum(map(len, asked))),
        error=None,
        position=_columns(
            [_joined(p.positions[a.name] for p in asked) for a in modality.positions]
        ),
        category=_columns(
            [_joined(p.categories[c.name] for p in asked) for c in modality.categories]
        ).astype(np.int64),
        offsets=offsets_of(np.array([len(p) for p in asked], np.int64)),
        kept=np.arange(sum(map(len, asked))),
        raw_start=offsets_of(np.array([len(p) for p in asked], np.int64))[:-1],
        metadata=metadata,
        reference=taken.reference,
        one_plus_redshift=taken.one_plus_redshift,
        log_scale=log_scale,
    )
    if not modality.categories:
        flat = replace(flat, category=np.zeros((len(flat.value), 0), np.int64))
    asked_positions = {a.name: flat.position[:, i] for i, a in enumerate(modality.positions)}
    codes = {c.name: flat.category[:, i] for i, c in enumerate(modality.categories)}
    if recipe.factors:
        flat = replace(flat, factor=factors(recipe.factors, flat, modality))
    forward = [
        _forward(recipe.positions.get(axis.name, ()), flat, place)
        for place, axis in enumerate(modality.positions)
    ]
    flat = fitted.standardised(name, replace(flat, position=_columns(forward)))
    is_unknown = ~np.isfinite(log_scale)
    remarks = {}
    if any(isinstance(step, ScaleByMedian) for step in recipe.value):
        told = f"{name} is in units of its own median, for its scale is not known (log_scale)"
        remarks = {int(i): told for i in np.flatnonzero(is_unknown & (flat.lengths > 0))}
    flat = replace(flat, log_scale=np.where(is_unknown, 0.0, log_scale))
    return _without_unplaced(Query(flat, asked_positions, codes, refusals, remarks), name)


def _without_unplaced(found: Query, name: str) -> Query:
    """Without places that the recipe cannot use (a logarithm of 0, no dust law there)."""
    flat = found.flat
    good = np.isfinite(flat.position).all(axis=1)
    if flat.factor is not None:
        good &= np.isfinite(flat.factor)
    if good.all():
        return found
    bad = np.diff(np.concatenate([[0], np.cumsum(~good)])[flat.offsets])
    remarks = dict(found.remarks)
    for i in np.flatnonzero(bad):
        told = f"{bad[i]:,} places of {name} were left out: the recipe cannot use them"
        remarks[int(i)] = "; ".join(filter(None, [remarks.get(int(i)), told]))
    return Query(
        flat.where(good),
        {n: values[good] for n, values in found.positions.items()},
        {n: values[good] for n, values in found.codes.items()},
        found.refusals,
        remarks,
    )


def _taken(
    fitted: FittedRecipe,
    name: str,
    own: FlatSequence,
    metadata: dict[str, np.ndarray],
    from_reference: bool,
) -> tuple[Taken, dict[int, str]]:
    """Reference and 1 + z of every sample and axis (B, P), and for whom they are not known."""
    reference, one_plus = own.reference.copy(), own.one_plus_redshift.copy()
    refusals: dict[int, str] = {}
    for place, axis in enumerate(fitted.modalities[name].positions):
        for step in fitted.recipe.modalities[name].positions.get(axis.name, ()):
            if isinstance(step, DivideByOnePlus):
                one_plus[:, place] = 1.0 + metadata[step.column]
                for i in np.flatnonzero(~np.isfinite(one_plus[:, place])):
                    refusals[int(i)] = f"has no {step.column}, which {axis.name} needs: give it"
            elif _is_reference(step):
                found = _reference(step, own, metadata, place)
                reference[:, place] = 0.0 if from_reference else found
                for i in np.flatnonzero(~np.isfinite(reference[:, place])):
                    refusals[int(i)] = (
                        f"has no {name} from which {axis.name} could be counted: give {axis.name} "
                        "counted from there, with from_reference"
                    )
    return Taken(reference, one_plus), refusals


def _is_reference(step: PositionStep) -> bool:
    return not isinstance(step, DivideByOnePlus) and step.kind != "log"


def _reference(
    step: PositionStep, own: FlatSequence, metadata: dict[str, np.ndarray], place: int
) -> np.ndarray:
    """(B,) what an axis is counted from, NaN where the sample does not tell."""
    found = np.where(own.lengths > 0, own.reference[:, place], np.nan)
    if isinstance(step, Reference) and step.column:
        column = metadata[step.column]
        return np.where(np.isfinite(column), column, found)
    return found


def _forward(steps: tuple[PositionStep, ...], flat: FlatSequence, place: int) -> np.ndarray:
    """(N,) one axis through its chain, with what was taken from the samples."""
    position = flat.position[:, place]
    for step in steps:
        if isinstance(step, DivideByOnePlus):
            position = position / spread(flat.one_plus_redshift[:, place], flat.offsets)
        elif _is_reference(step):
            position = position - spread(flat.reference[:, place], flat.offsets)
        else:
            with np.errstate(invalid="ignore", divide="ignore"):
                position = np.log(position)
    return position


def _overlaid(own: np.ndarray, name: str, asked: Sequence[Places]) -> np.ndarray:
    """(B,) the samples' own metadata, replaced where the user says otherwise."""
    found = own.copy()
    for i, places in enumerate(asked):
        if name in places.metadata:
            found[i] = places.metadata[name]
    return found


def _none(places: Places) -> Places:
    empty = {n: a[:0] for n, a in places.positions.items()}
    return Places(empty, {n: a[:0] for n, a in places.categories.items()}, places.metadata)


def _joined(parts: Any) -> np.ndarray:
    return np.concatenate([np.zeros(0), *parts])


def _columns(columns: list[np.ndarray]) -> np.ndarray:
    return np.stack(columns, axis=1) if columns else np.zeros((0, 0))
