"""One evaluation: a trained model, or a reference, measured on one split. Tables come out.

Every model and reference goes through the same `Run`: the same objects, points, examples and
probe. Its steps are told apart, so that a large survey is measured block by block on many workers
(`blocks.py`): what is settled first (`prepare`), what is summed batch by batch (`add`), questions
that are asked of a fair subset (`QUESTIONS`), examples. Results do not depend on how samples are
packed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from daep_ray.config import EvaluationConfig
from daep_ray.evaluate import REFERENCES
from daep_ray.evaluate.conformal import CALIBRATED_ON, Calibrator, HalfWidths
from daep_ray.evaluate.examples import choose, example_rows
from daep_ray.evaluate.fits import check_fits
from daep_ray.evaluate.groups import about
from daep_ray.evaluate.maps import map_rows
from daep_ray.evaluate.model import Measured, Model
from daep_ray.evaluate.other_points import fit_other_points
from daep_ray.evaluate.over_objects import ERRORS, Kind
from daep_ray.evaluate.probes import probes
from daep_ray.evaluate.profiles import edges_of
from daep_ray.evaluate.reconstruction import (
    Predictions,
    SortedErrors,
    check_finite,
    ids_of,
    object_table,
)
from daep_ray.evaluate.references import fit_reference
from daep_ray.evaluate.retrieval import MOST_SAMPLES as MOST_RETRIEVED
from daep_ray.evaluate.retrieval import Aligned
from daep_ray.evaluate.summary import Summary, in_order
from daep_ray.evaluate.sums import Sums
from daep_ray.evaluate.tables import Tables, table
from daep_ray.shards.read import ShardFolder, read_rows
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.bins import Blocks, evaluation_batches
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.flat import FlatSequence
from daep_ray.stream.pack import pack
from daep_ray.train.checkpoint import Trained

SAMPLES_FOR_EDGES = 256  # that place the bins of the residual profiles
Rows = dict[str, list[dict[str, Any]]]  # by table


@torch.inference_mode()
def evaluate(trained: Trained, folder: ShardFolder, evaluation: EvaluationConfig) -> Tables:
    """The tables of a trained model.

    Raises:
        DataError: the data do not fit the model, or the split is empty.
        ConfigError: the model answers with numbers that are not finite.
    """
    run = Run.of(trained, folder, evaluation)
    return run.measure(Model(trained.objective, evaluation), has_codes=True)


def evaluate_reference(
    kind: str,
    num_floats: int | None,
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: tuple[str, ...],
    evaluation: EvaluationConfig,
) -> Tables:
    """The tables of one of REFERENCES: `pca` with `num_floats` floats, `mean` of the training
    split, or `gp`, a Gaussian process that predicts each point of a light curve from the others.

    Raises:
        DataError: the data do not fit the recipe, a split is empty, or a Gaussian process is asked
            for where nothing has a time.
    """
    budget = evaluation.token_budget
    run = Run(folder, fitted, tuple(modalities), evaluation, budget)
    assert kind in REFERENCES, f"no reference {kind!r}"
    if kind == "gp":
        others = fit_other_points(folder, fitted, run.modalities, budget)
        return run.measure(others, has_codes=False)
    size = (num_floats or 0) if kind == "pca" else 0
    reference = fit_reference(size, folder, fitted, run.modalities, budget)
    return run.measure(reference, has_codes=size > 0)


@dataclass(frozen=True)
class Prepared:
    """What the first batch needs, the same for every part of a survey; small."""

    edges: Mapping[str, np.ndarray]  # of position bins, by modality, z units
    half_widths: HalfWidths  # of conformal intervals, z units


@dataclass(frozen=True)
class Run:
    """What a measurement is made on."""

    folder: ShardFolder
    fitted: FittedRecipe
    modalities: tuple[str, ...]
    evaluation: EvaluationConfig
    token_budget: int

    def __post_init__(self) -> None:
        check_fits(self.folder, self.fitted, self.modalities)

    @classmethod
    def of(cls, trained: Trained, folder: ShardFolder, evaluation: EvaluationConfig) -> "Run":
        """Of a trained model.

        Raises:
            DataError: the data do not fit the model.
        """
        # at most `token_budget` measurements x draws at once, so memory does not grow with draws
        budget = max(1, evaluation.token_budget // evaluation.num_draws)
        return cls(folder, trained.fitted, tuple(trained.config.modalities), evaluation, budget)

    def measure(self, model: Measured, has_codes: bool) -> Tables:
        """All tables of one model."""
        sums, blocks = self.sums(self.prepare(model)), self.blocks()
        for number in range(len(blocks)):
            for batch, rows in blocks.batches(number):
                self.add(sums, model, batch, rows)
        samples = sums.sorted()
        answers = [ask(self, model) for ask in QUESTIONS.values()] if has_codes else []
        objects = [object_table(k[1], samples[k]) for k in in_order(samples, self.modalities)]
        return {
            **self.tables(sums, Summary.of(samples), answers),
            "objects": pa.concat_tables([table("objects", []), *objects]),
            "examples": table("examples", self.examples(model, samples)),
        }

    def blocks(self, most: int | None = None) -> Blocks:
        """The samples that are measured; of `most` alone if those are fewer."""
        settings = self.evaluation
        num = min(most or settings.max_objects, settings.max_objects)
        where = (self.folder, self.fitted, self.modalities, settings.split, self.token_budget)
        return Blocks.of(*where, max_samples=num)

    def fair(self, most: int) -> Iterator[tuple[PackedBatch, pa.Table]]:
        """Batches of a fair subset of the samples that are measured."""
        blocks = self.blocks(most)
        for number in range(len(blocks)):
            yield from blocks.batches(number)

    def prepare(self, model: Measured) -> Prepared:
        """Bins at quantiles of the positions of a fair subset; intervals of objects set aside."""
        positions: dict[str, list[np.ndarray]] = {m: [np.zeros(0)] for m in self.modalities}
        for batch, _ in self.fair(SAMPLES_FOR_EDGES):
            for m in self.modalities:
                positions[m].append(batch.sequences[m].position[:, 0].double().numpy())
        edges = {m: edges_of(np.concatenate(parts)) for m, parts in positions.items()}
        return Prepared(edges, self._half_widths(model))

    @torch.inference_mode()
    def _half_widths(self, model: Measured) -> HalfWidths:
        """Of the validation split; none without one, or where that is not set aside itself."""
        settings, calibrator = self.evaluation, Calibrator()
        most = min(settings.max_objects, settings.num_conformal_objects)
        counts = self.folder.manifest.counts.get(CALIBRATED_ON)
        if settings.split != "test" or not most or counts is None or not counts.num_samples:
            return {}
        where = (self.folder, self.fitted, self.modalities, CALIBRATED_ON, self.token_budget)
        for batch, rows in evaluation_batches(*where, max_samples=most):
            flats, estimates = self._predicted(model, batch, rows)
            hidden = model.hidden(batch)
            for m in estimates:
                calibrator.add(ids_of(rows), flats, m, estimates[m], hidden.get(m))
        return calibrator.half_widths()

    def sums(self, prepared: Prepared) -> Sums:
        """Nothing measured yet."""
        settings = self.evaluation
        known = (prepared.edges, settings.split, settings.num_draws, prepared.half_widths)
        return Sums(self.fitted, self.modalities, *known)

    def add(self, sums: Sums, model: Measured, batch: PackedBatch, rows: pa.Table) -> None:
        """Measure a batch.

        Raises:
            ConfigError: the model answers with numbers that are not finite.
        """
        flats, estimates = self._predicted(model, batch, rows)
        hidden = model.hidden(batch)
        for m in estimates:
            groups = about(self.fitted, rows, m, self.evaluation.probe_label)
            sums.add(ids_of(rows), flats, m, estimates[m], hidden.get(m), groups)

    def _predicted(
        self, model: Measured, batch: PackedBatch, rows: pa.Table
    ) -> tuple[dict[str, FlatSequence], Predictions]:
        """The truth, and every estimate of it, checked to be numbers."""
        flats, estimates = self.fitted.apply(rows, self.modalities), model.predict(batch)
        for m, own in estimates.items():
            check_finite(ids_of(rows), flats, m, own)
        return flats, estimates

    def tables(self, sums: Sums, summary: Summary, answers: list[Rows]) -> Tables:
        """All but `objects` and `examples`."""
        rows = {
            "metrics": [*summary.metric_rows(sums)],
            "profiles": [*summary.profile_rows(sums)],
            "calibration": [*summary.calibration_rows(sums)],
            "groups": [*summary.group_rows(sums)],
            "confusion": [],
            "codes": [],
        }
        for answer in answers:
            for name, more in answer.items():
                rows[name] += more
        return {name: table(name, found) for name, found in rows.items()}

    def examples(
        self, model: Measured, samples: Mapping[Kind, SortedErrors]
    ) -> Iterator[dict[str, Any]]:
        """Rows of `examples`, chosen among `samples`."""
        for m in self.modalities:
            if (ERRORS, m, "") in samples:
                chosen = choose(samples[ERRORS, m, ""], self.evaluation.example_percentiles)
                yield from self._examples(model, m, chosen)

    def _examples(
        self, model: Measured, modality: str, chosen: dict[str, int]
    ) -> Iterator[dict[str, Any]]:
        """The chosen samples, read and predicted once more (the same noise, so the same draws)."""
        rows = read_rows(self.folder, self._places(list(chosen)))
        estimates = model.predict(pack(self.fitted, rows, self.modalities))[modality]
        flat = self.fitted.apply(rows, (modality,))[modality]
        names = rows["sample_id"].to_pylist()
        label = f"label.{self.evaluation.probe_label}"
        words = rows[label].to_pylist() if label in rows.column_names else [None] * len(names)
        labels = {n: None if w is None else str(w) for n, w in zip(names, words, strict=True)}
        yield from example_rows(self.fitted, modality, rows, flat, estimates, chosen, labels)

    def _places(self, sample_ids: list[str]) -> np.ndarray:
        """Global rows of some samples, in their order."""
        found, start = np.zeros(len(sample_ids), np.int64), 0
        for part in self.folder.iter_lengths():
            ids = part["sample_id"].combine_chunks()
            here = pc.index_in(pa.array(sample_ids, pa.string()), value_set=ids)
            is_here = pc.is_valid(here).to_numpy(zero_copy_only=False)
            found[is_here] = start + pc.fill_null(here, 0).to_numpy()[is_here]
            start += part.num_rows
        return found


def _retrieval(run: Run, model: Measured) -> Rows:
    compared = Aligned()
    if isinstance(model, Model) and len(run.modalities) > 1:
        for batch, _ in run.fair(MOST_RETRIEVED):
            model.compare(batch, compared)
    return {"metrics": [*compared.metric_rows(run.evaluation.split)]}


def _probes(run: Run, model: Measured) -> Rows:
    """Nothing where the survey has nothing to ask a code for."""
    label = run.evaluation.probe_label
    if label is None:
        return {}
    where = (run.folder, run.fitted, run.modalities)
    asked = probes(model.codes, *where, run.evaluation, label, run.token_budget)
    of = {"modality": "+".join(run.modalities)}
    return {
        "metrics": [{**of, **row} for row in asked.metrics],
        "confusion": [{**of, **row} for row in asked.confusion],
    }


def _map(run: Run, model: Measured) -> Rows:
    settings = run.evaluation
    where = (run.folder, run.fitted, run.modalities, settings.split)
    label, most = settings.probe_label, settings.max_objects
    return {"codes": [*map_rows(model.codes, *where, label, most, run.token_budget)]}


# what is asked of codes, of a bounded number of samples: each by itself
QUESTIONS: dict[str, Callable[[Run, Measured], Rows]] = {
    "retrieval": _retrieval,
    "probes": _probes,
    "map": _map,
}
