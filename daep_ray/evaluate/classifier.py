"""A small supervised classifier of sequences: a frozen encoder that no generative model has seen.

In: labelled training objects. Out: a `Classifier`, whose `features` measure how far generated
sequences are from real ones, and whose predictions measure what generated objects are worth. It
shares code with the models (tokenizer, Perceiver blocks) and no weight: it is trained on its own,
from its own start. Same seed, same data, same weights; `fingerprint` says which.

Features are whitened on the objects it was trained on: of three classes 98 % of the raw features'
variance lies along two directions, and what else tells light curves apart would count for nothing.
"""

import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from daep_ray.config import OptimisationConfig
from daep_ray.errors import DataError, UserError
from daep_ray.evaluate.labelled import Labelled
from daep_ray.nn.config import BottleneckConfig, ModelConfig, TwoStageEncoderConfig
from daep_ray.nn.perceiver import Encoder
from daep_ray.settings import Settings
from daep_ray.stream.batch import Layout, PackedSequence
from daep_ray.train.optimiser import Optimiser

PART = 512  # objects that go through at once where nothing is learnt
SMALLEST_VARIANCE = 1e-8  # of a direction; raw features are of order 1


class ClassifierConfig(Settings):
    """`num_features`: what a sequence is told by; `num_objects`: seen in training, repeats counted
    (40,000: about 15 seconds of one core on light curves of 30 points)."""

    num_features: PositiveInt = 16
    width: PositiveInt = 32
    num_heads: PositiveInt = 4
    num_layers: PositiveInt = 2
    num_latents: PositiveInt = 8
    num_objects: PositiveInt = 40_000
    batch_size: PositiveInt = 64
    seed: int = 0

    @property
    def model(self) -> ModelConfig:
        """As the settings of an encoder with a code of one row."""
        return ModelConfig(
            width=self.width,
            num_heads=self.num_heads,
            bottleneck=BottleneckConfig(length=1, width=self.num_features),
            encoder=TwoStageEncoderConfig(num_layers=self.num_layers, num_latents=self.num_latents),
        )


class Classifier(nn.Module):
    """Features of a sequence and a straight line from them to its class.

    Measurement errors are not read: generated objects have none.
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, config: ClassifierConfig, layout: Layout, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.classes = classes
        self.encoder = Encoder(config.model, layout, config.num_features)
        self.head = nn.Linear(config.num_features, len(classes))
        size = config.num_features
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("whitening", torch.eye(size, dtype=torch.float64))

    def forward(self, sequence: PackedSequence) -> Tensor:
        """(B, number of classes) logits."""
        return self.head(F.silu(self.encoder(sequence)[:, 0]))

    @torch.inference_mode()
    def features(self, objects: Labelled) -> np.ndarray:
        """(S, number of features) float64; of the training objects mean 0, covariance 1."""
        parts = [self.encoder(p.sequence)[:, 0] for p in objects.parts(PART)]
        return ((torch.cat(parts).double() - self.mean) @ self.whitening).numpy()

    @torch.inference_mode()
    def predict(self, objects: Labelled) -> np.ndarray:
        """(S,) the likeliest class of each object."""
        said = torch.cat([self(p.sequence).argmax(1) for p in objects.parts(PART)])
        return np.array(self.classes, dtype=str)[said.numpy()]

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the weights: which encoder a distance was measured in."""
        digest = hashlib.sha256(",".join(self.classes).encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def train_classifier(
    objects: Labelled, layout: Layout, config: ClassifierConfig | None = None
) -> Classifier:
    """Train on the objects and freeze; nothing random outside is touched.

    Raises:
        DataError: fewer than two classes. UserError: the loss is not finite.
    """
    config = config or ClassifierConfig()
    classes = tuple(np.unique(objects.classes).tolist())
    if len(classes) < 2:
        raise DataError(
            f"the {len(objects):,} training objects are all of the class {classes[0]!r}: "
            "a classifier needs two"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Classifier(config, layout, classes)
    targets = torch.from_numpy(np.searchsorted(classes, objects.classes))
    optimiser = Optimiser(model, OptimisationConfig())
    rng, seen = np.random.default_rng(config.seed), 0
    waiting = np.zeros(0, np.int64)
    while seen < config.num_objects:
        if len(waiting) < config.batch_size:
            waiting = np.concatenate([waiting, rng.permutation(len(objects))])
        which, waiting = waiting[: config.batch_size], waiting[config.batch_size :]
        loss = F.cross_entropy(model(objects.take(which).sequence), targets[which])
        if not torch.isfinite(loss):
            raise UserError(f"the classifier's loss is not finite after {seen:,} objects")
        loss.backward()
        optimiser.step(seen / config.num_objects)
        seen += config.batch_size
    return _frozen(model, objects)


def _frozen(model: Classifier, objects: Labelled) -> Classifier:
    """Without gradients, its features whitened on the training objects."""
    model.eval().requires_grad_(False)
    features = torch.from_numpy(model.features(objects))
    variances, directions = torch.linalg.eigh(features.T.cov())
    # a feature that nothing changes stays finite
    model.whitening.copy_(directions / variances.clamp(min=SMALLEST_VARIANCE).sqrt())
    model.mean.copy_(features.mean(0))
    return model
