"""A trained model in three lines, for a notebook:

    model = Autoencoder.from_pretrained("runs/snid")
    codes = model.embed(samples)                          # (S, length, width)
    pictures = model.reconstruct(samples, num_draws=16)   # physical units

In: samples (`daep_ray.sample.Sample`, raw values in the units of `model.modalities`) or a table of
shard rows. The recipe and its statistics come from the checkpoint; nothing else is needed. What
the model cannot use is told in one sentence (DataError); a result is never NaN.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
import pyarrow as pa
import torch

from daep_ray.diffusion.samplers import SamplerConfig
from daep_ray.errors import DataError
from daep_ray.objectives.masking import shown_query
from daep_ray.sample import Category, Modality, Sample, Sequence
from daep_ray.shards.schema import table_from_samples
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.flat import FlatSequence, list_lengths, list_values
from daep_ray.stream.noise import Noise
from daep_ray.stream.pack import from_flats
from daep_ray.train.checkpoint import Trained, load_model

Samples: TypeAlias = list[Sample] | pa.Table


@dataclass(frozen=True)
class Reconstruction:
    """One sample in one modality, at the N measurements that the recipe kept; declared units."""

    positions: dict[str, np.ndarray]  # (N,) by axis, as given
    categories: dict[str, np.ndarray]  # (N,) words by category
    measured: np.ndarray  # (N,) the values that were given
    mean: np.ndarray  # (N,) the mean of the draws, taken in standardised units
    draws: np.ndarray  # (K, N)


@dataclass(frozen=True)
class _Packed:
    """Consecutive samples ready for the model."""

    table: pa.Table
    flats: dict[str, FlatSequence]
    batch: PackedBatch


class Autoencoder:
    """A trained model that takes raw samples and answers in physical units."""

    def __init__(self, trained: Trained) -> None:
        self.trained = trained

    @classmethod
    def from_pretrained(cls, folder: Path | str, device: str = "cpu") -> Self:
        """Load what `daep-ray train` has written.

        Raises:
            CheckpointError: a file is missing or broken.
        """
        trained = load_model(Path(folder))
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
    def embed(self, samples: Samples) -> np.ndarray:
        """(S, length, width) float32: the code of every sample, in the order given.

        Raises:
            DataError: a sample that the model cannot read; it is named.
        """
        codes = [np.zeros((0, *self.code_shape), np.float32)]
        for part in self._packed(samples, self.trained.config.evaluation.token_budget):
            points = self.trained.objective.encode(part.batch).point.float().cpu().numpy()
            _require_finite(part.batch.sample_ids, np.isfinite(points).all((1, 2)))
            codes.append(points)
        return np.concatenate(codes)

    @torch.inference_mode()
    def reconstruct(
        self,
        samples: Samples,
        num_draws: int = 8,
        sampler: SamplerConfig | None = None,
        seed: int = 0,
    ) -> list[dict[str, Reconstruction]]:
        """Every sample's reconstruction by modality, in the order given; absent ones are left out.

        Draws are keyed by (seed, sample id): the same whatever the company. `sampler` None takes
        the one of the model's configuration. A masked autoencoder is shown a share of the values
        (`evaluation.visible_share`), which come back as they are.

        Raises:
            DataError: a sample that the model cannot read, or `num_draws` below 1.
        """
        if num_draws < 1:
            raise DataError(f"num_draws is {num_draws}: ask for at least 1")
        settings = self.trained.config.evaluation
        share = settings.visible_share if self.trained.objective.asks_for_values() else 0.0
        found: list[dict[str, Reconstruction]] = []
        for part in self._packed(samples, max(1, settings.token_budget // num_draws)):
            code = self.trained.objective.encode(part.batch)
            noise = Noise(seed, 0, part.batch.sample_ids, self._device)
            draws = self.trained.objective.decode(
                code,
                shown_query(part.batch, share, noise),
                sampler or settings.sampler,
                num_draws,
                noise,
            )
            by_modality = {m: v.double().cpu().numpy() for m, v in draws.values.items()}
            found += self._reconstructions(part, by_modality)
        return found

    @property
    def _device(self) -> torch.device:
        return next(self.trained.objective.parameters()).device

    def _reconstructions(
        self, part: _Packed, draws: dict[str, np.ndarray]
    ) -> Iterator[dict[str, Reconstruction]]:
        """Each sample of the batch by modality; `draws` (K, N) in standardised units."""
        fitted, columns = self.trained.fitted, {}
        for m, flat in part.flats.items():
            physical = fitted.invert_value(m, draws[m], flat)
            _require_finite(part.batch.sample_ids, _is_finite(physical, flat))
            mean = fitted.invert_value(m, draws[m].mean(0), flat)
            columns[m] = (physical, mean, list_values(part.table, f"{m}.value")[flat.kept])
        for i in range(part.batch.num_samples):
            found = {}
            for m, flat in part.flats.items():
                cut = slice(flat.offsets[i], flat.offsets[i + 1])
                physical, mean, measured = (column[..., cut] for column in columns[m])
                if mean.size:
                    where = self._places(m, part, flat.kept[cut])
                    found[m] = Reconstruction(*where, measured, mean, physical)
            yield found

    def _places(
        self, modality: str, part: _Packed, kept: np.ndarray
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Positions and category words of measurements, as they were given."""
        declared = self.modalities[modality]
        positions = {
            a.name: list_values(part.table, f"{modality}.{a.name}")[kept]
            for a in declared.positions
        }
        words = {
            c.name: np.array(c.vocabulary)[list_values(part.table, f"{modality}.{c.name}")[kept]]
            for c in declared.categories
        }
        return positions, words

    def _packed(self, samples: Samples, token_budget: int) -> Iterator[_Packed]:
        """The samples in order, cut into batches of at most `token_budget` measurements."""
        table, fitted = self._table(samples), self.trained.fitted
        names = tuple(self.modalities)
        tokens = np.sum([list_lengths(table, f"{m}.value") for m in names], axis=0)
        start = 0
        while start < table.num_rows:
            within = np.cumsum(tokens[start:]) <= token_budget
            stop = start + max(1, int(within.sum()))
            rows = table.slice(start, stop - start)
            flats = fitted.apply(rows, names)
            self._require_measurements(rows, flats)
            batch = from_flats(fitted, tuple(rows["sample_id"].to_pylist()), flats)
            yield _Packed(rows, flats, batch.to(self._device))
            start = stop

    def _require_measurements(self, table: pa.Table, flats: dict[str, FlatSequence]) -> None:
        lengths = np.sum([flat.lengths for flat in flats.values()], axis=0)
        raw = np.sum([list_lengths(table, f"{m}.value") for m in flats], axis=0)
        for i in np.flatnonzero(lengths == 0):
            why = "left after the recipe's selection" if raw[i] else "that is finite"
            raise DataError(
                f"sample {table['sample_id'][int(i)].as_py()!r} has no measurement of "
                f"{' or '.join(flats)} {why}: leave it out"
            )

    def _table(self, samples: Samples) -> pa.Table:
        """Shard rows of the model's modalities."""
        if isinstance(samples, pa.Table):
            needed = self.trained.fitted.columns(self.modalities)
            missing = [n for n in needed if n not in (*samples.column_names, "object_id")]
            if missing:
                raise DataError(f"the table lacks {', '.join(missing)}: read those columns too")
            return samples.combine_chunks()
        if not isinstance(samples, list | tuple):
            raise DataError(f"samples is a {type(samples).__name__}: give a list of Sample")
        return table_from_samples(
            [self._readable(s) for s in samples], tuple(self.modalities.values()), labels={}
        )

    def _readable(self, sample: Sample) -> Sample:
        """Without what the model does not read, words of categories as codes."""
        sequences = {
            m: _with_codes(sample, declared, sample.sequences[m])
            for m, declared in self.modalities.items()
            if m in sample.sequences and len(sample.sequences[m])
        }
        if not sequences:
            has = ", ".join(sample.sequences) or "nothing"
            raise DataError(
                f"sample {sample.sample_id!r} has {has}, but this model reads "
                f"{' or '.join(self.modalities)}: leave it out"
            )
        return replace(sample, sequences=sequences, labels={})


def _with_codes(sample: Sample, modality: Modality, sequence: Sequence) -> Sequence:
    """Categories as codes of the model's vocabulary, whether given as words or as codes."""
    categories = dict(sequence.categories)
    for category in modality.categories:
        if category.name in categories:
            given = np.asarray(categories[category.name])
            categories[category.name] = _codes(sample, modality, category, given)
    return replace(sequence, categories=categories)


def _codes(sample: Sample, modality: Modality, category: Category, given: np.ndarray) -> np.ndarray:
    where = f"sample {sample.sample_id!r} has the {category.name}"
    advice = "leave those measurements out, or call them 'unknown'"
    num_words = len(category.vocabulary)
    if given.dtype.kind in "UO":
        code_of = {word: code for code, word in enumerate(category.vocabulary)}
        for word in given:
            if str(word) not in code_of:
                known = ", ".join(category.vocabulary[1:])
                raise DataError(f"{where} {str(word)!r}, but this model knows {known}: {advice}")
        return np.array([code_of[str(word)] for word in given], np.int16)
    if given.dtype.kind in "iu":
        for code in given[(given < 0) | (given >= num_words)]:
            raise DataError(
                f"{where} code {code}, but this model knows 0 to {num_words - 1}: {advice}"
            )
    return given


def _is_finite(values: np.ndarray, flat: FlatSequence) -> np.ndarray:
    """(B,) whether all of (K, N) values of a sample are finite."""
    bad = np.concatenate([[0], np.cumsum(~np.isfinite(values).all(0))])[flat.offsets]
    return np.diff(bad) == 0


def _require_finite(sample_ids: tuple[str, ...], is_finite: np.ndarray) -> None:
    for i in np.flatnonzero(~is_finite):
        raise DataError(
            f"the model's answer for sample {sample_ids[i]!r} is not finite: its values lie far "
            "outside those that it was trained on; check their unit"
        )
