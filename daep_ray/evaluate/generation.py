"""Objects that never were, at the places of real ones, and how far they are from them.

In: a trained prior (`objectives/prior.py`) of one modality, real held-out objects, a frozen
classifier. Out: generated objects, and their Frechet distances with what each part is to blame for:

real                    the null: two real sets
own codes               the parent's draws of the objects themselves: what the code cannot hold
codes of others         real training objects' codes at these places: what a perfect prior gives
Gaussian codes          codes of a Gaussian with the training codes' mean and covariance
prior                   what is asked
prior, told the class   of the objects whose places they are
training mean           the constant 0 in z units

The prior draws a code without knowing the places it is decoded at. Where a survey sees some objects
longer than others, places tell of the object, and even a perfect prior is not at the null: `codes
of others` says by how much.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from daep_ray.diffusion.samplers import SamplerConfig
from daep_ray.errors import ConfigError
from daep_ray.evaluate.classifier import Classifier
from daep_ray.evaluate.frechet import Distance, distances
from daep_ray.evaluate.labelled import Labelled
from daep_ray.objectives.base import Code
from daep_ray.objectives.prior import Prior
from daep_ray.stream.noise import Noise
from daep_ray.train.checkpoint import Trained

PART = 256  # objects that are decoded at once

OWN, OTHERS, GAUSSIAN = "own codes", "codes of others", "Gaussian codes"
PRIOR, TOLD, MEAN = "prior", "prior, told the class", "training mean"


@dataclass(frozen=True)
class Generator:
    """A prior of one modality, and how it draws."""

    prior: Prior
    modality: str
    sampler: SamplerConfig
    seed: int = 0

    @classmethod
    def of(cls, trained: Trained, seed: int = 0) -> "Generator":
        """Of a trained model.

        Raises:
            ConfigError: it is no prior, or one of several modalities.
        """
        if not isinstance(trained.objective, Prior):
            raise ConfigError(
                f"a {trained.config.objective.kind!r} draws no objects: train a prior on it "
                "(objective.kind prior)"
            )
        names = trained.config.modalities
        if len(names) > 1:
            raise ConfigError(
                f"the prior is of {', '.join(names)}: objects are compared in one modality, train "
                "it on a parent of one"
            )
        return cls(trained.objective, names[0], trained.config.evaluation.sampler, seed)

    def objects(self, places: Labelled, classes: Sequence[str] | None = None) -> Labelled:
        """One object per sequence of `places`, of the class asked for, or of any.

        The objects' classes are those asked for; with none they are those of `places`, which say
        nothing of them.
        """
        drawn = self.decoded(self.drawn_codes(places, classes), places)
        if classes is None:
            return drawn
        return replace(drawn, classes=np.array(classes, dtype=str))

    @torch.inference_mode()
    def drawn_codes(self, places: Labelled, classes: Sequence[str] | None = None) -> Tensor:
        """(S, M, Z) codes of the prior."""
        found, start = [], 0
        for part in places.parts(PART):
            asked = None if classes is None else classes[start : start + len(part)]
            codes = self.prior.sample_codes(
                len(part), self.sampler, range(1), self._noise(part), asked
            )
            found.append(codes[0])
            start += len(part)
        return torch.cat(found)

    @torch.inference_mode()
    def codes(self, objects: Labelled) -> Tensor:
        """(S, M, Z) codes of real objects; a draw where the parent has a posterior."""
        parts = objects.parts(PART)
        return torch.cat([self.prior.codes(part.batch, self._noise(part)) for part in parts])

    @torch.inference_mode()
    def decoded(self, codes: Tensor, places: Labelled) -> Labelled:
        """One draw of every code (S, M, Z) at the places of as many sequences."""
        values, start = [], 0
        for part in places.parts(PART):
            code = Code(codes[start : start + len(part)])
            noise, query = self._noise(part), part.batch.query()
            drawn = self.prior.parent.decode(code, query, self.sampler, 1, noise)
            values.append(drawn.values[self.modality][0])
            start += len(part)
        return places.with_values(torch.cat(values))

    def _noise(self, objects: Labelled) -> Noise:
        return Noise(self.seed, 0, objects.sample_ids)


def gaussian_codes(codes: Tensor, num: int, seed: int) -> Tensor:
    """(num, M, Z) draws of the Gaussian with the codes' mean and covariance."""
    flat = codes.flatten(1).double().numpy()
    drawn = np.random.default_rng(seed).multivariate_normal(
        flat.mean(0), np.cov(flat, rowvar=False), num, method="eigh"
    )
    return torch.from_numpy(drawn.astype(np.float32)).view(num, *codes.shape[1:])


def others_codes(codes: Tensor, num: int, seed: int) -> Tensor:
    """(num, M, Z) of the codes, drawn without order; twice only if there are fewer than `num`."""
    rng = np.random.default_rng(seed)
    which = np.resize(rng.permutation(len(codes)), num)
    return codes[torch.from_numpy(which)]


def generated_sets(
    generator: Generator, training: Labelled, places: Labelled
) -> Iterator[tuple[str, Labelled]]:
    """Every set of objects at the places, by name."""
    num, seed = len(places), generator.seed
    learnt = generator.codes(training)
    yield OWN, generator.decoded(generator.codes(places), places)
    yield OTHERS, generator.decoded(others_codes(learnt, num, seed), places)
    yield GAUSSIAN, generator.decoded(gaussian_codes(learnt, num, seed), places)
    yield PRIOR, generator.objects(places)
    if set(places.classes) <= set(generator.prior.config.classes):
        yield TOLD, generator.objects(places, places.classes.tolist())
    yield MEAN, places.with_values(torch.zeros(places.sequence.num_tokens))


@dataclass(frozen=True)
class Judged:
    """Generated sets against real objects in the features of one classifier."""

    distances: list[Distance]
    recognised: dict[str, float]  # balanced share whose class the classifier says, by set
    encoder: str  # the classifier's fingerprint


def judged(
    classifier: Classifier,
    generator: Generator,
    training: Labelled,
    places: Labelled,
    num_halvings: int = 50,
) -> Judged:
    """All distances; of sets whose class is known, also how often the classifier says it.

    Raises:
        DataError: too few objects for a distance.
    """
    sets = dict(generated_sets(generator, training, places))
    features = {name: classifier.features(objects) for name, objects in sets.items()}
    found = distances(classifier.features(places), features, num_halvings)
    known = {"real": places, **{name: sets[name] for name in (OWN, TOLD) if name in sets}}
    recognised = {name: _recognised(classifier, objects) for name, objects in known.items()}
    return Judged(found, recognised, classifier.fingerprint)


def _recognised(classifier: Classifier, objects: Labelled) -> float:
    from sklearn.metrics import balanced_accuracy_score

    return float(balanced_accuracy_score(objects.classes, classifier.predict(objects)))
