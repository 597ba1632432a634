"""Answers as an Arrow table: a row per sample, in order.

    sample_id object_id split     where the rows had them
    <m>.<axis> <m>.<category>     list: the places, in declared units, words
    <m>.measured                  list: what was given, where the places are the sample's own
    <m>.mean                      list
    <m>.draws | <m>.quantiles     list of K lists, as long as the places
    flag                          why there is no answer (the lists are null), or what to know of it

The schema's metadata key `daep_ray` (JSON) says what was asked.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from daep_ray.evaluate.answer import Answer, Ask, Said, answers
from daep_ray.sample import Modality
from daep_ray.shards.schema import ID_COLUMNS
from daep_ray.train.checkpoint import Trained


def about(ask: Ask) -> dict[str, Any]:
    """What was asked, as JSON."""
    return {
        "source": list(ask.source),
        "target": list(ask.target),
        "at": {m: at if isinstance(at, dict) else "per sample" for m, at in ask.at.items()},
        "from_reference": ask.from_reference,
        "num_draws": ask.num_draws,
        "quantiles": list(ask.quantiles),
        "sampler": None if ask.sampler is None else ask.sampler.model_dump(mode="json"),
        "seed": ask.seed,
        "label": ask.label,
        "guidance": ask.guidance,
    }


def tables(trained: Trained, table: pa.Table, ask: Ask) -> Iterator[pa.Table]:
    """The rows' answers, a table per batch, all of `schema`."""
    wanted = schema(trained, ask, [n for n in ID_COLUMNS if n in table.column_names])
    for answer in answers(trained, table, ask):
        yield as_table(answer, ask, wanted)


def schema(trained: Trained, ask: Ask, ids: list[str]) -> pa.Schema:
    """Of the answers of one ask; `ids` are the id columns that the rows have."""
    types: dict[str, pa.DataType] = dict.fromkeys(ids, pa.string())
    for m in ask.target:
        types |= _types(trained.fitted.modalities[m], ask)
    types["flag"] = pa.string()
    return pa.schema(types, metadata={"daep_ray": identity(ask)})


def identity(ask: Ask) -> str:
    """A text that tells asks apart."""
    return json.dumps(about(ask), sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def _types(modality: Modality, ask: Ask) -> dict[str, pa.DataType]:
    name, numbers = modality.name, pa.list_(pa.float64())
    types = {f"{name}.{axis.name}": numbers for axis in modality.positions}
    types |= {f"{name}.{c.name}": pa.list_(pa.string()) for c in modality.categories}
    if name not in ask.at:
        types[f"{name}.measured"] = numbers
    types[f"{name}.mean"] = numbers
    types[f"{name}.{'quantiles' if ask.quantiles else 'draws'}"] = pa.list_(numbers)
    return types


def as_table(answer: Answer, ask: Ask, wanted: pa.Schema) -> pa.Table:
    """One batch's answers."""
    arrays: dict[str, pa.Array] = {"flag": pa.array(answer.flags(), pa.string())}
    for m, said in answer.said.items():
        arrays |= {f"{m}.{name}": array for name, array in _lists(said, ask).items()}
    for name in wanted.names:
        if name in ID_COLUMNS:
            arrays[name] = answer.rows[name].combine_chunks().cast(pa.string())
    columns = [arrays[f.name].cast(f.type) for f in wanted]
    return pa.table(columns, schema=wanted)


def _lists(said: Said, ask: Ask) -> dict[str, pa.Array]:
    lists = {**said.positions, **said.categories, "mean": said.mean}
    if said.measured is not None:
        lists["measured"] = said.measured
    offsets, is_absent = pa.array(said.offsets, pa.int32()), pa.array(np.diff(said.offsets) == 0)
    found = {
        name: pa.ListArray.from_arrays(offsets, pa.array(values), mask=is_absent)
        for name, values in lists.items()
    }
    found["quantiles" if ask.quantiles else "draws"] = _nested(said, is_absent)
    return found


def _nested(said: Said, is_absent: pa.Array) -> pa.Array:
    """(K, N) as a list of K lists for every sample: a sample's draws one after another."""
    num_draws, num = said.draws.shape
    starts, lengths = said.offsets[:-1], np.diff(said.offsets)
    present = np.flatnonzero(lengths)
    parts = [said.draws[:, starts[i] : starts[i] + lengths[i]].ravel() for i in present]
    values = np.concatenate(parts) if parts else np.zeros(num_draws * num)
    inner = np.concatenate([[0], np.cumsum(np.repeat(lengths[present], num_draws))])
    draws = pa.ListArray.from_arrays(pa.array(inner, pa.int32()), pa.array(values))
    outer = np.concatenate([[0], np.cumsum(np.where(lengths > 0, num_draws, 0))])
    return pa.ListArray.from_arrays(pa.array(outer, pa.int32()), draws, mask=is_absent)
