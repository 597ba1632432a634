"""What is measured: a trained objective, or whatever else answers the same two questions.

In: packed batches. Out: every estimate of their values, and codes. Noise is keyed by sample and
draw, with the evaluation's own seed, so that models and samplers are compared on the same noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from daep_ray.config import EvaluationConfig
from daep_ray.diffusion.samplers import OneStepConfig, SamplerConfig
from daep_ray.evaluate.reconstruction import COPIED, DRAWS_FROM, FROM, Predictions
from daep_ray.evaluate.retrieval import Aligned
from daep_ray.objectives.base import Code, Objective
from daep_ray.objectives.masking import is_shown, shown_query
from daep_ray.stream.batch import PackedBatch
from daep_ray.stream.noise import Noise


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
                batch.sample_ids,
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
