"""Training step, sampling and scaling of daep at the sizes of the paper's three surveys.

In: `quick`. Out: rows. Batches are made up, with the lengths of the surveys; a training step is
everything between two batches: loss, gradients, optimiser (Muon), running average.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmark.measure import Row, timed
from daep_ray.config import OptimisationConfig
from daep_ray.diffusion.samplers import DDIMConfig, DPMSolverConfig, SamplerConfig
from daep_ray.nn.config import (
    BottleneckConfig,
    ModelConfig,
    OneStageEncoderConfig,
    SingleStageDecoderConfig,
    TwoStageDecoderConfig,
)
from daep_ray.nn.cost import training_flops
from daep_ray.objectives import build_objective
from daep_ray.objectives.daep import DaepConfig
from daep_ray.stream.batch import Layout, PackedBatch, PackedSequence
from daep_ray.stream.noise import Noise
from daep_ray.train.optimiser import Optimiser, RunningAverage

# 200 DDIM steps of the published code: seconds per object x GFLOP/s of the machine it ran on
PUBLISHED_DDIM_GFLOP = 22.3 * 161
MATMUL_SHARE = 0.55  # the bars
FACTOR_LONG, FACTOR_SHORT = 3.0, 2.0  # times the published code


@dataclass(frozen=True)
class Size:
    """A survey's shape, and the published code's objects per matmul GFLOP on it."""

    name: str
    num_points: int
    num_objects: int  # in a step
    model: ModelConfig
    published: float
    num_bands: int = 0
    factor: float | None = None  # of the published figure, to reach

    @property
    def layout(self) -> Layout:
        bands = (self.num_bands + 1,) if self.num_bands else ()
        return Layout(self.name, num_positions=1, category_sizes=bands)

    @property
    def narrow(self) -> "Size":
        """The published code's arithmetic: a feed-forward as wide as the model."""
        return self._with(feedforward_ratio=1.0)

    @property
    def published_wiring(self) -> "Size | None":
        """Besides, latents that do not read the noisy tokens: about the published 10.2 GFLOP."""
        if not isinstance(self.model.decoder, TwoStageDecoderConfig):
            return None
        decoder = self.model.decoder.model_copy(update={"reads_noisy": False})
        return self.narrow._with(decoder=decoder)

    def _with(self, **changes: object) -> "Size":
        return replace(self, model=self.model.model_copy(update=changes))


_LAYERS = {"encoder": OneStageEncoderConfig(num_layers=4)}
LAMOST = Size(
    "LAMOST spectra",
    2500,
    8,
    ModelConfig(decoder=TwoStageDecoderConfig(num_layers=4, num_latents=256), **_LAYERS),
    published=0.0138,
    factor=FACTOR_LONG,
)
ZTF_SPECTRA = Size(
    "ZTF spectra",
    220,
    32,
    ModelConfig(decoder=SingleStageDecoderConfig(num_layers=4), **_LAYERS),
    published=0.122,
    factor=FACTOR_SHORT,
)
ZTF_PHOTOMETRY = Size(
    "ZTF photometry",
    40,
    128,
    ModelConfig(
        num_heads=4,
        bottleneck=BottleneckConfig(length=2, width=2),
        decoder=SingleStageDecoderConfig(num_layers=4),
        **_LAYERS,
    ),
    published=1.98,
    num_bands=2,
)
SIZES = (LAMOST, ZTF_SPECTRA, ZTF_PHOTOMETRY)


def batch_of(size: Size) -> PackedBatch:
    """A batch of random sequences, all of the survey's length."""
    torch.manual_seed(0)
    num, length = size.num_objects, size.num_points
    total = num * length
    position = torch.sort(torch.rand(num, length) * 3.4 - 1.7).values.reshape(total, 1)
    sequence = PackedSequence(
        value=torch.randn(total),
        error=torch.full((total,), 0.1),
        position=position,
        category=torch.randint(1, size.num_bands + 1, (total, 1))
        if size.num_bands
        else torch.zeros(total, 0, dtype=torch.long),
        offsets=torch.arange(0, total + 1, length, dtype=torch.int32),
        max_length=length,
        metadata=torch.zeros(num, 0),
        metadata_is_known=torch.zeros(num, 0, dtype=torch.bool),
        metadata_category=torch.zeros(num, 0, dtype=torch.long),
    )
    return PackedBatch(tuple(f"object{i}" for i in range(num)), {size.name: sequence})


class TrainingStep:
    """Called: one whole step of training."""

    def __init__(self, size: Size):
        self.batch = batch_of(size)
        torch.manual_seed(0)
        self.objective = build_objective(DaepConfig(), size.model, {size.name: size.layout})
        self.optimiser = Optimiser(self.objective, OptimisationConfig())
        self.average = RunningAverage(self.objective, 0.999)
        self.turn = 0

    def __call__(self) -> None:
        self.turn += 1
        noise = Noise(0, self.turn, self.batch.sample_ids)
        self.objective(self.batch, noise).total.backward()
        self.optimiser.step(0.5)
        self.average.update(self.turn)


class Sampling:
    """Called: one draw for every object of the batch."""

    def __init__(self, size: Size, sampler: SamplerConfig):
        self.batch, self.sampler = batch_of(size), sampler
        torch.manual_seed(0)
        objective = build_objective(DaepConfig(), size.model, {size.name: size.layout})
        self.objective = objective.eval()

    @torch.inference_mode()
    def __call__(self) -> None:
        code = self.objective.encode(self.batch)
        noise = Noise(0, 0, self.batch.sample_ids)
        self.objective.decode(code, self.batch.query(), self.sampler, 1, noise)


def step_rows(scratch: Path, quick: bool) -> list[Row]:
    """A training step at every size, with our arithmetic and with the published code's."""
    return [row for size in SIZES for row in _step_rows(size, 3 if quick else 9)]


def _step_rows(size: Size, repeats: int) -> list[Row]:
    variants = [v for v in (size, size.narrow, size.published_wiring) if v is not None]
    timings = timed([TrainingStep(v) for v in variants], repeats)
    ours = timings[0]
    rate = size.num_objects / ours.seconds
    share = training_flops(size.model, *_shape(size)).total / 1e9 / ours.gflop
    bar = MATMUL_SHARE if size is LAMOST else None
    rows = [
        Row("step", f"{size.name}: matmul rate beside it", ours.matmul_rate, "GFLOP/s"),
        Row("step", f"{size.name}: training", rate, "objects/s"),
        Row("step", f"{size.name}: training", rate * size.num_points, "tokens/s"),
        Row("step", f"{size.name}: share of the matmul rate", share, "", bar),
    ]
    for what, timing in zip(("feed-forward = D", "published wiring"), timings[1:], strict=False):
        per_gflop = size.num_objects / timing.gflop
        bar = size.factor if what == "feed-forward = D" else None
        times = per_gflop / size.published
        rows += [
            Row("step", f"{size.name}, {what}", per_gflop, "objects/GFLOP"),
            Row("step", f"{size.name}, {what}: against {size.published}", times, "times", bar),
        ]
    return rows


def _shape(size: Size) -> tuple[dict[str, Layout], dict[str, list[int]]]:
    return {size.name: size.layout}, {size.name: [size.num_points] * size.num_objects}


def sampling_rows(scratch: Path, quick: bool) -> list[Row]:
    """What a draw costs: the published 200 DDIM steps against 10 steps of DPM-Solver++."""
    size = ZTF_SPECTRA if quick else LAMOST
    few = replace(size, num_objects=2)
    slow, fast = timed(
        [Sampling(few, DDIMConfig(num_steps=200)), Sampling(few, DPMSolverConfig(num_steps=10))],
        1 if quick else 3,
    )
    rows = [
        Row("sampling", f"{size.name}: 200 DDIM steps", slow.seconds / 2, "s/object"),
        Row("sampling", f"{size.name}: 10 DPM-Solver++ steps", fast.seconds / 2, "s/object"),
        Row("sampling", "cheaper than our 200 DDIM steps", slow.gflop / fast.gflop, "times", 10),
    ]
    if size is LAMOST:
        published = PUBLISHED_DDIM_GFLOP / (fast.gflop / 2)
        rows.append(Row("sampling", "cheaper than the published code's", published, "times", 10))
    return rows


def scaling_rows(scratch: Path, quick: bool) -> list[Row]:
    """Time of a training step against points per object, at the same number of tokens."""
    total = 4000 if quick else 16000
    lengths = [n for n in (500, 1000, 2000, 4000, 8000, 16000) if n <= total]
    steps = [TrainingStep(replace(LAMOST, num_points=n, num_objects=total // n)) for n in lengths]
    timings = timed(steps, 2 if quick else 5)
    per_token = [t.gflop / total for t in timings]
    rows = [
        Row("scaling", f"{n:,} points per object", total / t.seconds, "tokens/s")
        for n, t in zip(lengths, timings, strict=True)
    ]
    excess = per_token[-1] / per_token[0]
    what = f"time per token, {lengths[-1]:,} points against {lengths[0]:,}"
    return [*rows, Row("scaling", what, excess, "times", 1.1, is_at_least=False)]
