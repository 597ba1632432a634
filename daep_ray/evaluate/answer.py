"""What a trained model says of raw rows, batch after batch: codes, and draws in physical units.

In: a table of shard rows and an `Ask`. Out: one `Answer` per batch, in the rows' order. A row that
the model cannot use does not stop the others: it has no answer and says why (`refusals`); one that
lies outside what the training saw has an answer and says so (`remarks`). No answer holds NaN.
Noise is keyed by (seed, sample id): the same whatever the company.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch

from daep_ray.diffusion.samplers import SamplerConfig
from daep_ray.errors import ConfigError, DataError
from daep_ray.objectives.base import SOLVER, Draws
from daep_ray.objectives.masking import shown_query
from daep_ray.shards.flat import Flat
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.chain import transform
from daep_ray.stream.flat import FlatSequence, list_lengths, list_values, reduce_samples, spread
from daep_ray.stream.noise import Noise
from daep_ray.stream.pack import from_flats
from daep_ray.stream.plan import cut_by_tokens
from daep_ray.stream.query import places_of, query
from daep_ray.stream.seen import remarks as unseen
from daep_ray.train.checkpoint import Trained

At = Mapping[str, Any] | Sequence[Mapping[str, Any]]  # the same for all samples, or one for each


@dataclass(frozen=True)
class Ask:
    """What is asked for.

    `at` maps a modality to places (`stream/query.py`); one that it does not name is answered at a
    sample's own measurements.
    """

    source: tuple[str, ...]  # the modalities that are read; none: nothing is, the prior draws
    target: tuple[str, ...]  # the modalities that are answered
    at: Mapping[str, At] = field(default_factory=dict)
    from_reference: bool = False
    num_draws: int = 8
    quantiles: tuple[float, ...] = ()  # instead of draws
    sampler: SamplerConfig | None = None  # None: the configuration's
    seed: int = 0
    label: str | None = None  # of the prior: the class that is drawn, None for any
    guidance: float = 1.0  # above 1 the prior leans on the class more


@dataclass(frozen=True)
class Said:
    """One modality of an answer: N places of B samples, declared units."""

    offsets: np.ndarray  # (B+1,)
    positions: dict[str, np.ndarray]  # (N,) by axis
    categories: dict[str, np.ndarray]  # (N,) words
    measured: np.ndarray | None  # (N,) where the places are the sample's own
    mean: np.ndarray  # (N,) the mean of the draws, taken in standardised units
    draws: np.ndarray  # (K, N), or (number of quantiles, N)


@dataclass(frozen=True)
class Answer:
    """A batch of B consecutive rows, answered."""

    rows: pa.Table
    said: dict[str, Said]
    refusals: dict[int, str]  # by row: why (a part of) the answer is missing
    remarks: dict[int, list[str]]  # by row: what to know of it

    def flags(self) -> list[str]:
        """(B,) both in words, empty where there is nothing to say."""
        return flags(self.rows.num_rows, self.refusals, self.remarks)


@dataclass(frozen=True)
class Read:
    """A batch of B consecutive rows, read; `flats` and `batch` have the usable ones alone."""

    rows: pa.Table
    usable: np.ndarray  # (U,) places of the usable rows
    flats: dict[str, FlatSequence]  # of all modalities of the model, standardised
    batch: PackedBatch  # what the model may read: modalities that are no source are empty
    refusals: dict[int, str]
    remarks: dict[int, list[str]]


def flags(num: int, refusals: Mapping[int, str], remarks: Mapping[int, list[str]]) -> list[str]:
    """(B,) why there is no answer, else what to know of it; empty where there is nothing."""
    return ["; ".join([*filter(None, [refusals.get(i)]), *remarks.get(i, [])]) for i in range(num)]


def check_ask(trained: Trained, ask: Ask) -> None:
    """Raise DataError or ConfigError where a model cannot be asked so."""
    names = trained.config.modalities
    for name in (*ask.source, *ask.target, *ask.at):
        if name not in names:
            raise DataError(f"this model has no modality {name!r}: it has {', '.join(names)}")
    if not isinstance(ask.num_draws, int | np.integer) or ask.num_draws < 1:
        raise DataError(f"num_draws is {ask.num_draws}: ask for a whole number, at least 1")
    if any(not 0 <= q <= 1 for q in ask.quantiles):
        raise DataError(f"quantiles are {ask.quantiles}: give numbers between 0 and 1")
    kind, unread = trained.config.objective.kind, trained.config.objective.unread
    if ask.sampler is not None and ask.sampler.guidance != 1 and SOLVER in unread.ever:
        raise ConfigError(
            f"sampler.guidance is {ask.sampler.guidance:g}, and a model of the objective {kind!r} "
            "draws without a solver: leave it at 1"
        )
    if not ask.source and not hasattr(trained.objective, "sample"):
        raise ConfigError(
            f"a model of the objective {kind!r} has no prior to sample from: reconstruct or "
            "translate given samples, or train an objective that has one"
        )
    for name, at in ask.at.items():
        if isinstance(at, list | tuple):
            continue  # one for each sample, checked when they are read
        places_of(trained.fitted.modalities[name], cast(Mapping[str, Any], at))
    if not ask.source and hasattr(trained.objective, "check_sampling"):
        check: Any = trained.objective.check_sampling
        labels = None if ask.label is None else [ask.label]
        check(ask.sampler or trained.config.evaluation.sampler, labels, ask.guidance)


def device_of(trained: Trained) -> torch.device:
    return next(trained.objective.parameters()).device


def read(
    trained: Trained,
    table: pa.Table,
    source: Sequence[str],
    budget: int,
    extra: np.ndarray | int = 0,
) -> Iterator[Read]:
    """The rows in batches of about `budget` measurements; `extra` (rows,) come on top."""
    names = trained.config.modalities
    tokens = np.sum([list_lengths(table, f"{m}.value") for m in names], axis=0)
    for cut in cut_by_tokens(tokens + extra, budget) if table.num_rows else ():
        yield read_batch(trained, table.slice(cut.start, cut.stop - cut.start), tuple(source))


def read_batch(trained: Trained, rows: pa.Table, source: tuple[str, ...]) -> Read:
    """All rows as one batch."""
    names = trained.config.modalities
    clean, dropped = _finite(trained, rows)
    finite = np.sum([list_lengths(clean, f"{m}.value") for m in source or names], axis=0)
    flats = trained.fitted.apply(clean, names)
    lengths = np.sum([flats[m].lengths for m in source or names], axis=0)
    refusals, found = {}, {int(i): [_left_out(dropped[i])] for i in np.flatnonzero(dropped)}
    for place in np.flatnonzero(lengths == 0) if source else ():
        what = " or ".join(source)
        refusals[int(place)] = (
            f"has no measurement of {what} left after the recipe's selection"
            if finite[place]
            else f"has no finite measurement of {what}"
        )
    for m in source:
        for i, words in unseen(trained.fitted, m, flats[m]).items():
            found.setdefault(i, []).extend(words)
    usable = np.flatnonzero(lengths > 0) if source else np.arange(rows.num_rows)
    if len(usable) < rows.num_rows:
        clean = clean.take(usable)
        flats = trained.fitted.apply(clean, names)
    sample_ids = tuple(clean["sample_id"].to_pylist())
    has_objects = "object_id" in clean.column_names
    object_ids = tuple(clean["object_id"].to_pylist()) if has_objects else ()
    batch = from_flats(trained.fitted, sample_ids, flats, object_ids)
    sequences = {m: s if m in source else s.emptied() for m, s in batch.sequences.items()}
    batch = replace(batch, sequences=sequences).to(device_of(trained))
    return Read(rows, usable, flats, batch, refusals, found)


def _left_out(number: int) -> str:
    return f"{number:,} measurements that are not finite were left out"


def _finite(trained: Trained, rows: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """The rows without measurements whose value or position is not finite, and how many (B,)."""
    dropped = np.zeros(rows.num_rows, np.int64)
    for m in trained.config.modalities:
        flat = Flat.from_table(rows, trained.fitted.modalities[m])
        if "value" not in flat.columns or (good := flat.is_finite()).all():
            continue
        kept = flat.keep(good)
        dropped += flat.lengths - kept.lengths
        for name, array in kept.to_arrow().items():
            if name in rows.column_names:
                rows = rows.set_column(rows.column_names.index(name), name, array)
    return rows, dropped


@torch.inference_mode()
def answers(trained: Trained, table: pa.Table, ask: Ask) -> Iterator[Answer]:
    """Every row's answer, batch after batch.

    Raises:
        DataError: places that the modality cannot have. ConfigError: no prior to sample from.
    """
    check_ask(trained, ask)
    if not ask.target:
        known = ", ".join(trained.config.modalities)
        raise DataError(f"no modality is asked for: name one of {known}")
    places = {m: _places(trained, m, ask.at[m], table.num_rows) for m in ask.at}
    extra = np.zeros(table.num_rows, np.int64)
    for one in places.values():
        extra += np.array([len(p) for p in one], np.int64)
    budget = max(1, trained.config.evaluation.token_budget // ask.num_draws)
    start = 0
    for part in read(trained, table, ask.source, budget, extra):
        here = {m: [one[start + i] for i in part.usable] for m, one in places.items()}
        start += part.rows.num_rows
        yield _answer(trained, part, ask, here)


def _places(trained: Trained, name: str, at: At, num_rows: int) -> list[Any]:
    modality = trained.fitted.modalities[name]
    if isinstance(at, Mapping):
        return [places_of(modality, at)] * num_rows
    if len(at) != num_rows:
        raise DataError(f"`at` for {name} has {len(at)} entries for {num_rows} samples")
    return [places_of(modality, one) for one in at]


@dataclass
class _Asked:
    """One modality's places of the usable rows."""

    flat: FlatSequence
    positions: dict[str, np.ndarray]
    codes: dict[str, np.ndarray]
    measured: np.ndarray | None


def _answer(trained: Trained, part: Read, ask: Ask, places: dict[str, list[Any]]) -> Answer:
    refusals, told = dict(part.refusals), {i: list(w) for i, w in part.remarks.items()}
    rows, asked = part.rows.take(part.usable), {}
    for m in ask.target:
        if m in places:
            modality = trained.fitted.modalities[m]
            own = transform(trained.fitted.recipe.modalities[m], modality, rows, None)
            found = query(trained.fitted, m, own, places[m], ask.from_reference)
            asked[m] = _Asked(found.flat, found.positions, found.codes, None)
            for i, words in found.refusals.items():
                refusals[int(part.usable[i])] = words
            for i, words in found.remarks.items():
                told.setdefault(int(part.usable[i]), []).append(words)
        else:
            asked[m] = _own_places(trained, m, rows, part.flats[m])
        if m in places or m not in ask.source:
            for i, lines in unseen(trained.fitted, m, asked[m].flat, False).items():
                told.setdefault(int(part.usable[i]), []).extend(lines)
    nowhere = np.sum([a.flat.lengths for a in asked.values()], axis=0) == 0
    for place in part.usable[nowhere]:
        why = f"has no measurement of {' or '.join(ask.target)} to be answered at: say where"
        refusals.setdefault(int(place), why)
    said = {}
    for m, values in _draws(trained, part, ask, asked).items():
        said[m], lost = _said(trained, m, asked[m], values, ask, part)
        for place in part.usable[lost]:
            refusals[int(place)] = (
                f"has an answer for {m} that is not finite: its values lie far outside those of "
                "the training; check their unit"
            )
    return Answer(part.rows, said, refusals, told)


def _own_places(trained: Trained, name: str, rows: pa.Table, flat: FlatSequence) -> _Asked:
    modality = trained.fitted.modalities[name]
    clean, _ = _finite(trained, rows)  # what `flat.kept` counts in

    def column(entry: str) -> np.ndarray:
        values = list_values(clean, f"{name}.{entry}")
        return values[flat.kept] if len(values) else values

    return _Asked(
        flat,
        {a.name: column(a.name) for a in modality.positions},
        {c.name: column(c.name).astype(np.int64) for c in modality.categories},
        column("value"),
    )


def _draws(
    trained: Trained, part: Read, ask: Ask, asked: Mapping[str, _Asked]
) -> dict[str, np.ndarray]:
    """(K, N) standardised values of every target, at the places asked."""
    objective, settings = trained.objective, trained.config.evaluation
    flats = {m: a.flat for m, a in asked.items()}
    ids = (part.batch.sample_ids, flats, part.batch.object_ids)
    whole = from_flats(trained.fitted, *ids).to(device_of(trained))
    noise = Noise(ask.seed, 0, whole.sample_ids, device_of(trained))
    if not whole.num_samples or not whole.num_tokens:
        return {m: np.zeros((ask.num_draws, a.flat.offsets[-1])) for m, a in asked.items()}
    # values may be shown where the places are measured ones that the model reads anyway
    may_show = objective.asks_for_values() and set(asked) <= set(ask.source) and not ask.at
    shown = shown_query(whole, settings.visible_share if may_show else 0.0, noise)
    how = (ask.sampler or settings.sampler, ask.num_draws, noise)
    if ask.source:
        draws: Draws = objective.decode(objective.encode(part.batch), shown, *how)
    else:
        sample: Any = objective.sample
        labels = [ask.label] * whole.num_samples
        told = {} if ask.label is None else {"labels": labels, "guidance": ask.guidance}
        draws = sample(shown, *how, **told)
    return {m: draws.values[m].double().cpu().numpy() for m in asked}


def _said(
    trained: Trained, name: str, asked: _Asked, values: np.ndarray, ask: Ask, part: Read
) -> tuple[Said, np.ndarray]:
    """The answer in physical units for all rows of the batch, and for whom it is not finite (U,);
    their places are left out."""
    fitted, flat = trained.fitted, asked.flat
    with np.errstate(over="ignore", invalid="ignore"):
        draws = fitted.invert_value(name, values, flat)
        mean = fitted.invert_value(name, values.mean(0), flat)
    is_good = np.isfinite(draws).all(0) & np.isfinite(mean)
    lost = reduce_samples(np.logical_or, ~is_good, flat.offsets, False)
    kept = ~spread(lost, flat.offsets)
    if ask.quantiles:
        draws = _quantiles(draws, ask.quantiles)
    vocabularies = {c.name: np.array(c.vocabulary) for c in fitted.modalities[name].categories}
    lengths = np.zeros(part.rows.num_rows, np.int64)
    lengths[part.usable] = np.where(lost, 0, flat.lengths)
    said = Said(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        positions={n: p[kept] for n, p in asked.positions.items()},
        categories={n: vocabularies[n][codes[kept]] for n, codes in asked.codes.items()},
        measured=None if asked.measured is None else asked.measured[kept],
        mean=mean[kept],
        draws=draws[:, kept],
    )
    return said, lost


def _quantiles(draws: np.ndarray, wanted: tuple[float, ...]) -> np.ndarray:
    if not draws.shape[1]:
        return np.zeros((len(wanted), 0))
    return np.quantile(draws, wanted, axis=0)
