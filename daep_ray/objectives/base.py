"""The contract of every objective: an `nn.Module` whose `forward` is its loss.

Evaluation, studies and users call `encode`, `decode`, `prepare` and nothing else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from daep_ray.diffusion.samplers import SamplerConfig
from daep_ray.errors import ConfigError
from daep_ray.stream.batch import Layout, PackedBatch
from daep_ray.stream.noise import Noise

MIXER = "model.mixer"  # names for `Unread`
SOLVER = "evaluation.sampler"
SHOWN_VALUES = "evaluation.visible_share"
TOKENS_PER_PASS = 65_536  # draws are decoded together up to this many tokens


@dataclass(frozen=True)
class Unread:
    """Settings that an objective does not look at: dotted paths, each with all that is below it.

    Every objective's settings declare theirs as `unread`; fingerprints and conditional axes follow
    from it, so that a setting without effect neither trains nor measures anything again.
    """

    ever: tuple[str, ...] = ()  # no result hangs on them
    alone: tuple[str, ...] = ()  # nor on these, with one modality
    # of the objective's own: looked at when a trained model is used, never while it is trained
    in_training: tuple[str, ...] = ()
    # of the objective's own: what they say is in the identity already, under another name
    told_elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True)
class Term:
    """One named term of a loss, as a sum and its weight so that workers can be added exactly."""

    sum: Tensor  # () with gradient
    weight: Tensor  # () without gradient: number of points, samples, pairs
    coefficient: float = 1.0

    @property
    def mean(self) -> Tensor:
        return self.sum / self.weight.clamp(min=1)


@dataclass(frozen=True)
class Loss:
    """Named terms.

    Total = sum over terms of coefficient x (sum over all workers / weight over all workers).
    """

    terms: Mapping[str, Term]

    @property
    def total(self) -> Tensor:
        """() the loss of this worker alone."""
        parts = [t.coefficient * t.mean for t in self.terms.values()]
        return sum(parts[1:], start=parts[0])


@dataclass(frozen=True)
class Code:
    """The bottleneck's content."""

    point: Tensor  # (B, M, Z): the code, or the posterior's mean
    scale: Tensor | None = None  # (B, M, Z): the posterior's standard deviation where there is one
    by_modality: Mapping[str, Tensor] | None = None  # (B, M, Z) each, where there are several


@dataclass(frozen=True)
class Draws:
    """Reconstructions at a query's measurements, standardised units."""

    values: Mapping[str, Tensor]  # per modality (K, N)


class Objective(nn.Module):
    """Base of the objectives: `loss` is what is learnt, `encode` and `decode` what is used."""

    def loss(self, batch: PackedBatch, noise: Noise) -> Loss:
        raise NotImplementedError

    def forward(self, batch: PackedBatch, noise: Noise) -> Loss:
        return self.loss(batch, noise)

    def encode(self, batch: PackedBatch) -> Code:
        """The code of every sample; a function of the sample alone."""
        raise NotImplementedError

    def decode(
        self,
        code: Code,
        query: PackedBatch,
        sampler: SamplerConfig,
        num_draws: int,
        noise: Noise,
    ) -> Draws:
        """`num_draws` reconstructions at the query's positions; draw k uses `noise.at(k)`.

        A query holds no values, unless the objective `asks_for_values`.

        The sampler `one_step` asks for a single network evaluation without sampling: the clean
        values predicted at the last diffusion time, or the decoded posterior mean. K is then 1.
        """
        raise NotImplementedError

    def asks_for_values(self) -> bool:
        """Whether a query may show `decode` some of the values: masked autoencoders alone.

        The query's `value` then holds the shown ones and NaN elsewhere (`masking.shown_query`).
        """
        return False

    def has_one_step(self) -> bool:
        """Whether the sampler `one_step` means anything here (not for epsilon-prediction)."""
        return True

    def is_judged_by_loss(self) -> bool:
        """Whether its loss alone says what it has learnt: of a prior, that reconstructs as its
        parent does, however far it is. One worker computes it, so no term may ask the others.
        """
        return False

    def aligned(self, batch: PackedBatch) -> Mapping[str, Tensor]:
        """(B, F) of length 1 per modality: what is compared when one modality searches another.

        The codes themselves, unless the objective learns to compare; empty without several.
        """
        codes = self.encode(batch).by_modality or {}
        return {m: nn.functional.normalize(code.flatten(1), dim=1) for m, code in codes.items()}

    def asks_for_samples(self) -> int:
        """How many training samples `remember` wants: none, but for an objective that searches."""
        return 0

    def remember(self, batches: Iterable[PackedBatch]) -> None:
        """Keep training samples for inference, in the state that a checkpoint holds."""

    def prepare(self, codes: Tensor) -> None:
        """Take training codes (S, M, Z) once, before the first step: a prior standardises."""


def only_layout(layouts: Mapping[str, Layout], kind: str) -> Layout:
    """The layout of a unimodal objective.

    Raises:
        ConfigError: none or several modalities.
    """
    if len(layouts) != 1:
        names = ", ".join(sorted(layouts)) or "none"
        raise ConfigError(
            f"objective {kind!r} learns one modality, got {len(layouts)} ({names}): "
            "name exactly one in modalities"
        )
    return next(iter(layouts.values()))


def passes(num_draws: int, num_tokens: int) -> list[range]:
    """Draws 0 .. K-1 in groups of at most `TOKENS_PER_PASS` tokens: bounded memory for any K."""
    size = max(1, TOKENS_PER_PASS // max(1, num_tokens))
    return [range(k, min(k + size, num_draws)) for k in range(0, num_draws, size)]
