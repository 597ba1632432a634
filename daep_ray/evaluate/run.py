"""One evaluation: a trained model, or a reference, measured on one split. Tables come out.

Every model and reference goes through the same `_measure`: the same objects, points, examples and
probe. Results do not depend on how samples are packed; noise is keyed by sample and draw, with the
evaluation's own seed, so that models and samplers are compared on the same noise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from daep_ray.config import EvaluationConfig
from daep_ray.diffusion.samplers import OneStepConfig, SamplerConfig
from daep_ray.evaluate.examples import choose, example_rows
from daep_ray.evaluate.fits import check_fits
from daep_ray.evaluate.groups import Groups
from daep_ray.evaluate.maps import map_rows
from daep_ray.evaluate.probes import Asked, probes
from daep_ray.evaluate.profiles import Profile, edges_of
from daep_ray.evaluate.reconstruction import (
    COPIED,
    DRAWS_FROM,
    FROM,
    Predictions,
    central,
    ids_of,
)
from daep_ray.evaluate.references import fit_reference
from daep_ray.evaluate.retrieval import Aligned
from daep_ray.evaluate.sums import Sums
from daep_ray.evaluate.tables import Tables, table
from daep_ray.objectives.base import Code, Objective
from daep_ray.objectives.masking import is_shown, shown_query
from daep_ray.shards.read import ShardFolder, read_rows
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.bins import evaluation_batches
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.noise import Noise
from daep_ray.stream.pack import pack
from daep_ray.train.checkpoint import Trained

SAMPLES_FOR_EDGES = 256  # that place the bins of the residual profiles


class Measured(Protocol):
    """What is evaluated: `predict` gives every estimate as (K, N), `codes` (B, F).

    `hidden` is (N,) bool, the measurements it is judged by; empty: by all.
    """

    def predict(self, batch: PackedBatch) -> Predictions: ...

    def hidden(self, batch: PackedBatch) -> Mapping[str, np.ndarray]: ...

    def codes(self, batch: PackedBatch) -> np.ndarray: ...


@dataclass(frozen=True)
class Model:
    """A trained objective as something that can be measured."""

    objective: Objective
    evaluation: EvaluationConfig

    @property
    def device(self) -> torch.device:
        return next(self.objective.parameters()).device

    def codes(self, batch: PackedBatch) -> np.ndarray:
        code = self.objective.encode(batch.to(self.device)).point
        return code.flatten(1).double().cpu().numpy()

    def predict(self, batch: PackedBatch) -> Predictions:
        """`one_draw` (K, N), `mean_of_draws` (1, N) and, where it has a meaning, `one_step`.

        With several modalities `from_<modality>` too: the mean of draws told from that one alone,
        and `draws_from_<modality>`, those draws (K, N);
        with values shown `shown_copied`: the mean of draws, the shown values among the errors.
        """
        batch = batch.to(self.device)
        code, settings = self.objective.encode(batch), self.evaluation
        found: dict[str, dict[str, np.ndarray]] = {}
        for m, array in self._draws(code, batch, settings.sampler, settings.num_draws).items():
            found[m] = {"one_draw": array, "mean_of_draws": array.mean(0, keepdims=True)}
        if self.objective.has_one_step():
            for m, array in self._draws(code, batch, OneStepConfig(), 1).items():
                found[m]["one_step"] = array
        for source in batch.sequences if len(batch.sequences) > 1 else ():
            alone = self.objective.encode(batch.only(source))
            for m, array in self._draws(alone, batch, settings.sampler, settings.num_draws).items():
                if m != source:
                    found[m][FROM + source] = array.mean(0, keepdims=True)
                    found[m][DRAWS_FROM + source] = array
        for m in self.hidden(batch):
            found[m][COPIED] = found[m]["mean_of_draws"]
        return found

    def compare(self, batch: PackedBatch, compared: Aligned) -> None:
        """Add what one modality searches another by, where there are several."""
        if len(batch.sequences) > 1:
            vectors = self.objective.aligned(batch.to(self.device))
            compared.add(
                batch.objects,
                {m: x.double().cpu().numpy() for m, x in vectors.items()},
                {m: batch.is_present(m).numpy() for m in vectors},
            )

    def hidden(self, batch: PackedBatch) -> dict[str, np.ndarray]:
        """What a masked autoencoder is not shown."""
        if self._share == 0:
            return {}
        batch = batch.to(self.device)
        shown = is_shown(shown_query(batch, self._share, self._noise(batch)))
        return {m: ~points.cpu().numpy() for m, points in shown.items()}

    @property
    def _share(self) -> float:
        """Of the values, shown to the decoder."""
        return self.evaluation.visible_share if self.objective.asks_for_values() else 0.0

    def _noise(self, batch: PackedBatch) -> Noise:
        """Keyed by sample and draw: the same whatever the code."""
        return Noise(self.evaluation.seed, 0, batch.sample_ids, self.device)

    def _draws(
        self, code: Code, batch: PackedBatch, sampler: SamplerConfig, num_draws: int
    ) -> dict[str, np.ndarray]:
        """(K, N) per modality."""
        noise = self._noise(batch)
        query = shown_query(batch, self._share, noise)
        draws = self.objective.decode(code, query, sampler, num_draws, noise)
        return {m: values.double().cpu().numpy() for m, values in draws.values.items()}


@torch.inference_mode()
def evaluate(trained: Trained, folder: ShardFolder, evaluation: EvaluationConfig) -> Tables:
    """The tables of a trained model.

    Raises:
        DataError: the data do not fit the model, or the split is empty.
    """
    model = Model(trained.objective, evaluation)
    # at most `token_budget` measurements x draws at once, so memory does not grow with draws
    budget = max(1, evaluation.token_budget // evaluation.num_draws)
    run = _Run(folder, trained.fitted, tuple(trained.config.modalities), evaluation, budget)
    return run.measure(model, has_codes=True)


def evaluate_reference(
    kind: Literal["pca", "mean"],
    num_floats: int | None,
    folder: ShardFolder,
    fitted: FittedRecipe,
    modalities: tuple[str, ...],
    evaluation: EvaluationConfig,
) -> Tables:
    """The tables of PCA with `num_floats` floats, or of the training mean (`num_floats` unused).

    Raises:
        DataError: the data do not fit the recipe, or a split is empty.
    """
    budget = evaluation.token_budget
    run = _Run(folder, fitted, tuple(modalities), evaluation, budget)
    size = (num_floats or 0) if kind == "pca" else 0
    reference = fit_reference(size, folder, fitted, run.modalities, budget)
    return run.measure(reference, has_codes=size > 0)


@dataclass(frozen=True)
class _Run:
    """What a measurement is made on."""

    folder: ShardFolder
    fitted: FittedRecipe
    modalities: tuple[str, ...]
    evaluation: EvaluationConfig
    token_budget: int

    def __post_init__(self) -> None:
        check_fits(self.folder, self.fitted, self.modalities)

    def measure(self, model: Measured, has_codes: bool) -> Tables:
        """All tables of one model."""
        profiles, compared = self._profiles(), Aligned()
        groups = Groups(self.fitted, self.modalities, self.evaluation.probe_label)
        sums = Sums(
            self.fitted,
            self.modalities,
            {m: profile.edges for m, profile in profiles.items()},
            self.evaluation.split,
            self.evaluation.num_draws,
        )
        for batch, rows in self._batches():
            if isinstance(model, Model):
                model.compare(batch, compared)
            estimates, hidden = model.predict(batch), model.hidden(batch)
            flats = self.fitted.apply(rows, self.modalities)
            groups.add(rows)
            for m in self.modalities:
                sums.add(ids_of(rows), flats, m, estimates[m], hidden.get(m))
                residual = central(estimates[m]) - flats[m].value
                profiles[m].add(flats[m], residual, hidden.get(m))
        found = sums.reconstructions()
        metrics = [*sums.metric_rows(), *compared.metric_rows(self.evaluation.split)]
        percentiles = self.evaluation.example_percentiles
        chosen = {m: choose(e, percentiles) for m, e in found.items()}
        shown = [row for m, c in chosen.items() for row in self._examples(model, m, c)]
        asked = self._probes(model) if has_codes else Asked()
        split = self.evaluation.split
        return {
            "metrics": table("metrics", [*metrics, *asked.metrics]),
            "objects": table("objects", sums.object_rows()),
            "examples": table("examples", shown),
            "profiles": table(
                "profiles", (r for m in found for r in profiles[m].rows(self.fitted, m))
            ),
            "calibration": table("calibration", sums.calibration_rows()),
            "groups": table(
                "groups",
                (
                    {"modality": m, "split": split, **row}
                    for m, errors in found.items()
                    for row in groups.rows(m, errors)
                ),
            ),
            "confusion": table("confusion", asked.confusion),
            "codes": table("codes", self._map(model) if has_codes else []),
        }

    def _batches(self, most: int | None = None) -> Iterator[tuple[PackedBatch, pa.Table]]:
        return evaluation_batches(
            self.folder,
            self.fitted,
            self.modalities,
            self.evaluation.split,
            self.token_budget,
            max_samples=most or self.evaluation.max_objects,
        )

    def _profiles(self) -> dict[str, Profile]:
        """Empty profiles with bins at quantiles of the positions of a fair subset."""
        positions: dict[str, list[np.ndarray]] = {m: [np.zeros(0)] for m in self.modalities}
        for batch, _ in self._batches(min(SAMPLES_FOR_EDGES, self.evaluation.max_objects)):
            for m in self.modalities:
                positions[m].append(batch.sequences[m].position[:, 0].double().numpy())
        return {
            m: Profile(edges_of(np.concatenate(parts)), self._num_categories(m))
            for m, parts in positions.items()
        }

    def _num_categories(self, modality: str) -> int:
        categories = self.fitted.modalities[modality].categories
        return len(categories[0].vocabulary) if categories else 1

    def _examples(
        self, model: Measured, modality: str, chosen: dict[str, int]
    ) -> Iterator[dict[str, Any]]:
        """The chosen samples, read and predicted once more (the same noise, so the same draws)."""
        ids = self.folder.lengths()["sample_id"]
        where = pc.index_in(pa.array(chosen, pa.string()), value_set=ids.combine_chunks())
        rows = read_rows(self.folder, where.to_numpy())
        estimates = model.predict(pack(self.fitted, rows, self.modalities))[modality]
        flat = self.fitted.apply(rows, (modality,))[modality]
        names = rows["sample_id"].to_pylist()
        label = f"label.{self.evaluation.probe_label}"
        words = rows[label].to_pylist() if label in rows.column_names else [None] * len(names)
        labels = {n: None if w is None else str(w) for n, w in zip(names, words, strict=True)}
        yield from example_rows(self.fitted, modality, rows, flat, estimates, chosen, labels)

    def _probes(self, model: Measured) -> Asked:
        """Nothing where the survey has nothing to ask a code for."""
        label = self.evaluation.probe_label
        if label is None:
            return Asked()
        where = (self.folder, self.fitted, self.modalities)
        asked = probes(model.codes, *where, self.evaluation, label, self.token_budget)
        of = {"modality": "+".join(self.modalities)}
        return Asked(
            [{**of, **row} for row in asked.metrics], [{**of, **row} for row in asked.confusion]
        )

    def _map(self, model: Measured) -> Iterator[dict[str, Any]]:
        """Rows of `codes`."""
        settings = self.evaluation
        where = (self.folder, self.fitted, self.modalities, settings.split)
        yield from map_rows(
            model.codes, *where, settings.probe_label, settings.max_objects, self.token_budget
        )
