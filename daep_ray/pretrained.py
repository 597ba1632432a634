"""A trained model in three lines, for a notebook:

    model = Autoencoder.from_pretrained("runs/snid")     # or s3://bucket/prefix
    codes = model.embed(samples)                         # (S, length, width), of a table a table
    pictures = model.reconstruct(samples, num_draws=16)  # physical units

In: samples in any form of `evaluate/forms.py`, raw values in the units of `model.modalities`. Out:
the same form. The recipe and its statistics come from the checkpoint; nothing else is needed. What
the model cannot use is told in one sentence (DataError; in tables, the column `flag`), what lies
outside its training is flagged; a result is never NaN.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import torch

from daep_ray.diffusion.samplers import SamplerConfig
from daep_ray.errors import CheckpointError, DataError
from daep_ray.evaluate.answer import Answer, Ask, Said, answers, check_ask, flags, read
from daep_ray.evaluate.answer_table import as_table, schema
from daep_ray.evaluate.embed import NOT_FINITE, code_tables, encoded
from daep_ray.evaluate.forms import Given, given, without_units
from daep_ray.sample import Modality
from daep_ray.shards.schema import ID_COLUMNS, table_from_samples
from daep_ray.study.address import is_address
from daep_ray.study.download import downloaded
from daep_ray.train.checkpoint import FILES_OF_INFERENCE, Trained, load_model

Names = str | tuple[str, ...] | list[str] | None
Places = Mapping[str, Any] | list[Any] | None


@dataclass(frozen=True)
class Reconstruction:
    """One sample in one modality, at N places; declared units."""

    positions: dict[str, np.ndarray]  # (N,) by axis, as given
    categories: dict[str, np.ndarray]  # (N,) words by category
    measured: np.ndarray | None  # (N,) the values that were given, None at places asked for
    mean: np.ndarray  # (N,) the mean of the draws, taken in standardised units
    draws: np.ndarray  # (K, N); where quantiles were asked for, these
    flag: str = ""  # what to know of it: outside the training's range, left out


def load_trained(address: str) -> Trained:
    """A model in a folder, or in a bucket (kept in the user's cache folder).

    Raises:
        CheckpointError: a file is missing or broken. StorageError: the bucket does not answer.
    """
    if not is_address(address):
        return load_model(Path(address))
    folder = downloaded(address)
    if folder is None:
        raise CheckpointError(f"no trained model at {address}: give the folder of a training")
    return load_model(folder, FILES_OF_INFERENCE)


class Autoencoder:
    """A trained model that takes raw samples and answers in physical units."""

    def __init__(self, trained: Trained) -> None:
        self.trained = trained

    @classmethod
    def from_pretrained(cls, folder: Path | str, device: str = "cpu") -> Self:
        """Load what `daep-ray train` has written, or a study has put into a bucket.

        Raises:
            CheckpointError: a file is missing or broken. StorageError: a bucket does not answer.
        """
        trained = load_trained(str(folder))
        return cls(replace(trained, objective=trained.objective.to(device)))

    @property
    def modalities(self) -> dict[str, Modality]:
        """What the model reads: names, units and vocabularies that samples must follow."""
        return {m: self.trained.fitted.modalities[m] for m in self.trained.config.modalities}

    @property
    def code_shape(self) -> tuple[int, int]:
        """(length, width) of a code."""
        bottleneck = self.trained.config.model.bottleneck
        return bottleneck.length, bottleneck.width

    @torch.inference_mode()
    def embed(self, samples: Any, source: Names = None) -> Any:
        """The code of every sample, in the order given.

        Lists of `Sample` and dicts give (S, length, width) float32; an Arrow table gives the table
        that `daep-ray embed` writes, an astropy table one with a row per sample. `source`: the
        modalities that it is made from, None for all.

        What of a sample lies outside the training stands in a table's `flag`; an array has no
        place for it, so there it is a UserWarning.

        Raises:
            DataError: a sample that the model cannot read; it is named. In an Arrow table it has
                no code instead, and `flag` says why.
        """
        what = given(samples, self.trained.fitted, tuple(self.modalities))
        ask = Ask(self._names(source), ())
        check_ask(self.trained, ask)
        if what.kind == "arrow":
            return pa.concat_tables(code_tables(self.trained, what.table, ask.source))
        codes = [np.zeros((0, *self.code_shape), np.float32)]
        told: list[str] = []
        for part in read(self.trained, what.table, ask.source, self._budget):
            _refuse(part.rows, part.refusals)
            code, _ = encoded(self.trained, part)["code"]
            bad = np.flatnonzero(~np.isfinite(code).all((1, 2)))
            _refuse(part.rows, {int(i): NOT_FINITE for i in bad})
            told += flags(len(code), {}, _with_dropped(part.remarks, what, len(told), len(code)))
            codes.append(code)
        ids, found = what.table["sample_id"].to_pylist(), np.concatenate(codes)
        if what.kind == "astropy":
            from daep_ray.evaluate.astropy_tables import code_table

            return code_table(ids, found, told)
        _warn(ids, told)
        return found

    def reconstruct(
        self,
        samples: Any,
        num_draws: int = 8,
        sampler: SamplerConfig | None = None,
        seed: int = 0,
        *,
        at: Places = None,
        from_reference: bool = False,
        quantiles: tuple[float, ...] = (),
    ) -> Any:
        """Every sample's reconstruction, in the order and form given.

        `at` None answers at the measurements that the recipe kept; else at the places asked for,
        `{"time": [...], "band": "g"}`, the same for all samples or a list with one per sample;
        with several modalities `{"photometry": {...}, ...}`. Positions are in the declared unit;
        with `from_reference` they are counted from what the recipe counts from (days from peak).

        Lists of `Sample` give a list of `Reconstruction` by modality (absent ones are left out),
        dicts give dicts, tables tables. Draws are keyed by (seed, sample id): the same whatever
        the company. `sampler` None takes the one of the configuration. A masked autoencoder is
        shown a share of the values (`evaluation.visible_share`), which come back as they are.

        Raises:
            DataError: a sample or a place that the model cannot use.
        """
        names = tuple(self.modalities)
        places = self._at(at, names)
        target = tuple(places) or names
        draw = (from_reference, num_draws, tuple(quantiles), sampler, seed)
        return self._answered(samples, Ask(names, target, places, *draw))

    def translate(
        self,
        samples: Any,
        source: Names,
        target: Names,
        at: Places = None,
        num_draws: int = 8,
        sampler: SamplerConfig | None = None,
        seed: int = 0,
        *,
        from_reference: bool = False,
        quantiles: tuple[float, ...] = (),
    ) -> Any:
        """What the modalities `source` say of `target`: as `reconstruct`, told from these alone.

        Where the recipe scales a sequence by its median and the sample has none in `target`, the
        answer is in units of that median, and flagged; `at` may say the decimal `log_scale`.
        """
        given_from, wanted = self._names(source), self._names(target)
        if not given_from:
            known = ", ".join(self.modalities)
            raise DataError(f"no modality is read: name one or several as source, of {known}")
        places = self._at(at, wanted)
        draw = (from_reference, num_draws, tuple(quantiles), sampler, seed)
        return self._answered(samples, Ask(given_from, wanted, places, *draw))

    def sample(
        self,
        at: Mapping[str, Any],
        num_draws: int = 8,
        sampler: SamplerConfig | None = None,
        seed: int = 0,
        *,
        quantiles: tuple[float, ...] = (),
        label: str | None = None,
        guidance: float = 1.0,
    ) -> dict[str, Reconstruction]:
        """Draws of the prior, of no sample at all, at the places asked for (counted from what the
        recipe counts from), by modality. `label` asks for a class, `guidance` above 1 leans on it.

        Raises:
            ConfigError: an objective without a prior.
        """
        places = self._at(at, tuple(self.modalities))
        draw = (True, num_draws, tuple(quantiles), sampler, seed, label, guidance)
        ask = Ask((), tuple(places), places, *draw)
        nobody = table_from_samples([], tuple(self.modalities.values()), labels={})
        row = {f.name: pa.nulls(1, f.type) for f in nobody.schema}
        row["sample_id"] = row["object_id"] = pa.array(["prior"])
        (answer,) = answers(self.trained, pa.table(row, schema=nobody.schema), ask)
        _refuse(answer.rows, answer.refusals)
        return next(_reconstructions(answer))

    @property
    def _budget(self) -> int:
        return self.trained.config.evaluation.token_budget

    def _names(self, names: Names) -> tuple[str, ...]:
        if names is None:
            return tuple(self.modalities)
        return (names,) if isinstance(names, str) else tuple(names)

    def _at(self, at: Places, targets: tuple[str, ...]) -> dict[str, Any]:
        """Places by modality, numbers in the declared units."""
        if at is None:
            return {}
        if not (isinstance(at, Mapping) and at and set(at) <= set(self.modalities)):
            if len(targets) != 1:
                raise DataError(
                    f"`at` says nothing of which modality: write {{'{targets[0]}': {{...}}}}"
                )
            at = {targets[0]: at}
        known = self.modalities
        return {m: without_units(known[m], a) if m in known else a for m, a in at.items()}

    def _answered(self, samples: Any, ask: Ask) -> Any:
        what = given(samples, self.trained.fitted, tuple(self.modalities))
        ids = [n for n in ID_COLUMNS if n in what.table.column_names]
        wanted = schema(self.trained, ask, ids)
        check_ask(self.trained, ask)
        found = _all_told(answers(self.trained, what.table, ask), what)
        if what.kind == "arrow":
            return pa.concat_tables(
                [wanted.empty_table(), *(as_table(a, ask, wanted) for a in found)]
            )
        by_sample = []
        for answer in found:
            _refuse(answer.rows, answer.refusals)
            by_sample += list(_reconstructions(answer))
        return _in_form(what, by_sample, ask, self.modalities)


def _with_dropped(
    remarks: Mapping[int, list[str]], what: Given, start: int, num: int
) -> dict[int, list[str]]:
    """The remarks of `num` rows from `start`, with what was left out before the rows were made:
    measurements that are not finite."""
    here = what.num_dropped[start : start + num]
    found = {i: list(words) for i, words in remarks.items()}
    for i in np.flatnonzero(here):
        told = f"{here[i]:,} measurements that are not finite were left out"
        found.setdefault(int(i), []).insert(0, told)
    return found


def _all_told(found: Iterator[Answer], what: Given) -> Iterator[Answer]:
    start = 0
    for answer in found:
        num = answer.rows.num_rows
        yield replace(answer, remarks=_with_dropped(answer.remarks, what, start, num))
        start += num


def _warn(ids: list[str], told: list[str]) -> None:
    """One warning for all samples of which there is something to know."""
    flagged = [f"sample {name!r}: {words}" for name, words in zip(ids, told, strict=True) if words]
    if flagged:
        more = f" (and {len(flagged) - 1:,} more samples)" if len(flagged) > 1 else ""
        warnings.warn(f"{flagged[0]}{more}", UserWarning, stacklevel=4)


def _reconstructions(answer: Answer) -> Iterator[dict[str, Reconstruction]]:
    """Each row of the batch by modality; one without an answer is left out."""
    told = answer.flags()
    for i in range(answer.rows.num_rows):
        found = {}
        for m, said in answer.said.items():
            cut = slice(said.offsets[i], said.offsets[i + 1])
            if cut.stop > cut.start:
                found[m] = _cut(said, cut, told[i])
        yield found


def _cut(said: Said, cut: slice, flag: str) -> Reconstruction:
    return Reconstruction(
        {name: values[cut] for name, values in said.positions.items()},
        {name: words[cut] for name, words in said.categories.items()},
        None if said.measured is None else said.measured[cut],
        said.mean[cut],
        said.draws[:, cut],
        flag,
    )


def _refuse(rows: pa.Table, refusals: Mapping[int, str]) -> None:
    for i in sorted(refusals):
        name = rows["sample_id"][i].as_py()
        advice = "" if ":" in refusals[i] else ": leave it out"
        raise DataError(f"sample {name!r} {refusals[i]}{advice}")


def _in_form(
    what: Given,
    found: list[dict[str, Reconstruction]],
    ask: Ask,
    modalities: Mapping[str, Modality],
) -> Any:
    """As the samples were given."""
    if what.kind == "samples":
        return found
    ids = what.table["sample_id"].to_pylist()
    if what.kind == "astropy":
        from daep_ray.evaluate.astropy_tables import measurement_tables

        columns = [{m: _plain(r, ask) for m, r in one.items()} for one in found]
        tables = measurement_tables(ids, columns, {m: modalities[m] for m in ask.target})
        return tables if len(modalities) > 1 else next(iter(tables.values()))
    dicts = []
    for name, one in zip(ids, found, strict=True):
        flag = next((r.flag for r in one.values()), "")
        dicts.append(
            {"sample_id": name, **{m: _plain(r, ask) for m, r in one.items()}, "flag": flag}
        )
    return dicts[0] if what.is_one else dicts


def _plain(one: Reconstruction, ask: Ask) -> dict[str, Any]:
    """Arrays by name."""
    found = {**one.positions, **one.categories, "mean": one.mean}
    if one.measured is not None:
        found["measured"] = one.measured
    found["quantiles" if ask.quantiles else "draws"] = one.draws
    return {**found, "flag": one.flag}
