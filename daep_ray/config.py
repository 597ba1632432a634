"""The run's configuration: one frozen tree, presets, fingerprints.

Settings that choose code stand beside that code (`nn/config.py`, `objectives/`, `stream/recipe.py`,
`diffusion/samplers.py`); plain numbers stand here. Overrides are dotted paths, the same for the
command line and for study axes: `--set model.bottleneck.length=8`.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from daep_ray.diffusion.samplers import DPMSolverConfig, SamplerConfig
from daep_ray.errors import ConfigError
from daep_ray.nn.config import ModelConfig
from daep_ray.objectives import ObjectiveConfig
from daep_ray.objectives.base import SHOWN_VALUES, SOLVER
from daep_ray.objectives.daep import DaepConfig
from daep_ray.objectives.mmvae import MmVaeConfig
from daep_ray.objectives.prior import PriorConfig
from daep_ray.objectives.vae import VaeConfig
from daep_ray.published import PUBLISHED
from daep_ray.settings import Settings, canonical_hash, override
from daep_ray.shards.manifest import Manifest
from daep_ray.stream.named import named_recipe
from daep_ray.stream.recipe import Recipe, default_recipe, recipe_identity

# Raised whenever code changes numbers: results of another version are never mixed in.
SCIENCE_VERSION = 1
# Raised whenever an evaluation measures more, or otherwise: trainings stay, evaluations are made
# anew. 2: conformal intervals, lines of spectra, a Gaussian process through the other points.
# 3: recall among objects, not their repeated sequences; calibration by position at each phase.
# 4: labels asked of those who have one; residuals told from another modality, and by its phase.
EVALUATION_VERSION = 4


class MuonConfig(Settings):
    """Muon (Jordan 2024) on the matrices, AdamW on everything else."""

    kind: Literal["muon"] = "muon"
    rate: float = Field(3e-3, gt=0)  # scaled per matrix to AdamW's step size (match_rms_adamw)
    adamw_rate: float = Field(1e-3, gt=0)
    momentum: float = Field(0.95, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)


class AdamWConfig(Settings):
    """The paper's optimiser: AdamW, rate 2.5e-4."""

    kind: Literal["adamw"] = "adamw"
    rate: float = Field(2.5e-4, gt=0)
    weight_decay: float = Field(0.01, ge=0)


class CosineRate(Settings):
    """Linear warm-up, then half a cosine down to `final` times the peak rate."""

    kind: Literal["cosine"] = "cosine"
    warmup: float = Field(0.02, ge=0, lt=1)  # fraction of the budget
    final: float = Field(0.0, ge=0, le=1)


class ConstantRate(Settings):
    """Linear warm-up, then constant: the paper's (with warmup 0)."""

    kind: Literal["constant"] = "constant"
    warmup: float = Field(0.0, ge=0, lt=1)


class OptimisationConfig(Settings):
    """How long and how a model is trained; batch and budget are global, whatever the workers."""

    num_objects: int = Field(100_000, ge=1)  # budget: samples seen over all epochs
    token_budget: int = Field(8192, ge=1)  # measurements in one global step
    optimizer: Annotated[MuonConfig | AdamWConfig, Field(discriminator="kind")] = MuonConfig()
    rate: Annotated[CosineRate | ConstantRate, Field(discriminator="kind")] = CosineRate()
    clip_norm: float = Field(1.0, ge=0)  # 0: off
    ema_decay: float = Field(0.999, ge=0, lt=1)  # 0: the weights themselves


PERCENTILES = (10, 50, 90)  # of the examples in a report, by the training mean's error


class EvaluationConfig(Settings):
    """How a trained model is measured; changing it never retrains."""

    split: Literal["train", "validation", "test"] = "test"
    sampler: SamplerConfig = DPMSolverConfig(num_steps=10)
    num_draws: int = Field(8, ge=1)
    max_objects: int = Field(200, ge=1)
    # of the validation split, at most `max_objects`, that conformal intervals are calibrated on,
    # each a prediction more; 0: no such intervals
    num_conformal_objects: int = Field(100, ge=0)
    token_budget: int = Field(8192, ge=1)  # measurements in one pass; larger for a GPU
    probe_label: str | None = "class"  # None: no probe
    # converged fits on several splits, or the published code's one (`evaluate/published_probe.py`);
    # network: the converged one and, beside it, a small network on the same splits
    probe: Literal["converged", "published", "network"] = "converged"
    num_probe_splits: int = Field(10, ge=1)
    # of each sample's measurements, the values that a masked autoencoder's decoder is shown
    visible_share: float = Field(0.1, ge=0, lt=1)
    example_percentiles: tuple[Annotated[int, Field(ge=0, le=100)], ...] = PERCENTILES
    seed: int = 0


class RuntimeConfig(Settings):
    """Where and how it runs: no number in a result depends on it (beyond rounding)."""

    num_workers: int = Field(0, ge=0)  # 0: in this process
    num_threads: int = Field(1, ge=1)  # per worker
    device: Literal["auto", "cpu", "cuda"] = "auto"
    stream: Literal["auto", "memory", "ray"] = "auto"  # auto: memory when the survey fits
    memory_bytes: int = Field(2 * 2**30, ge=0)  # a survey up to this size is held in memory
    checkpoint_seconds: float = Field(60.0, ge=0)
    progress_seconds: float = Field(10.0, ge=0)
    num_curve_points: int = Field(24, ge=1)  # of the learning curves
    validation_objects: int = Field(64, ge=0)  # 0: no validation curve
    max_failures: int = Field(3, ge=0)  # restarts of a worker group


class RunConfig(Settings):
    """Everything that decides one training and its evaluation."""

    modalities: tuple[str, ...] = ()  # empty: those of the named recipe, else the first
    recipe: Recipe | None = None  # None: the default for the survey's format
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = DaepConfig()
    optimisation: OptimisationConfig = OptimisationConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    seed: int = 0

    @model_validator(mode="after")
    def _guidance_is_learnt(self) -> Self:
        guidance = self.evaluation.sampler.guidance
        if guidance == 1 or isinstance(self.objective, PriorConfig):  # that asks its parent
            return self
        if SOLVER in self.objective.unread.ever:
            raise ValueError(
                f"evaluation.sampler.guidance {guidance:g} does nothing with objective.kind "
                f"{self.objective.kind!r}, which draws without a solver: leave it at 1, in a study "
                "of several models by an axis with is_conditional"
            )
        if isinstance(self.objective, DaepConfig) and not self.objective.code_drop:
            raise ValueError(
                f"evaluation.sampler.guidance {guidance:g} needs a model that learns to do without "
                "a code: set objective.code_drop to 0.1, or guidance to 1"
            )
        return self


def training_fingerprint(config: RunConfig, manifest_hash: str) -> str:
    """Identity of a training: whatever can change its weights, and nothing else.

    `config` must be resolved: modalities and recipe filled in.
    """
    assert config.recipe is not None
    assert config.modalities
    whole = config.model_dump(mode="json")
    parts = {k: whole[k] for k in ("model", "objective", "optimisation", "seed", "modalities")}
    unread = config.objective.unread
    for path in (*_unread(config), *unread.in_training, *unread.told_elsewhere):
        _leave_out(parts, path)
    used = {m: recipe_identity(config.recipe.modalities[m]) for m in config.modalities}
    identity = {**parts, "recipe": used, "data": manifest_hash, "science": SCIENCE_VERSION}
    return canonical_hash(identity)


def evaluation_fingerprint(config: RunConfig, training: str) -> str:
    """Identity of an evaluation: the training's and the inference settings.

    How many measurements go through at once (`token_budget`) changes no result and is left out;
    so is what is shown, of objectives that are shown nothing, and the usual choice of examples.
    A sampler counts even for an objective without a solver: `one_step` asks it for its mean.
    """
    unused = {"token_budget"}
    if ignores(config, SHOWN_VALUES):
        unused |= {"visible_share"}
    if config.evaluation.example_percentiles == PERCENTILES:
        unused |= {"example_percentiles"}
    settings = config.evaluation.model_dump(mode="json", exclude=unused)
    whole = config.model_dump(mode="json")
    own = {path: _setting(whole, path) for path in config.objective.unread.in_training}
    return canonical_hash([EVALUATION_VERSION, training, settings, *([own] if own else [])])


def ignores(config: RunConfig, path: str) -> bool:
    """Whether nothing in a result hangs on the setting `path`, because the objective does without.

    `config` must have its modalities filled in.
    """
    return any(path == part or path.startswith(f"{part}.") for part in _unread(config))


def _unread(config: RunConfig) -> tuple[str, ...]:
    """What the objective does not look at on these modalities."""
    unread = config.objective.unread
    return unread.ever + (unread.alone if len(config.modalities) == 1 else ())


def _leave_out(tree: dict[str, Any], path: str) -> None:
    """Drop a setting from nested settings; one that is not among them is no matter."""
    *parents, leaf = path.split(".")
    node: Any = tree
    for part in parents:
        node = node.get(part, {})
    node.pop(leaf, None)


def _setting(tree: dict[str, Any], path: str) -> Any:
    node: Any = tree
    for part in path.split("."):
        node = node[part]
    return node


_SMALL_MODEL: dict[str, Any] = {
    "model.num_heads": 4,
    "model.encoder.num_layers": 2,
    "model.decoder.num_layers": 2,
}

# At these budgets many small steps learn more than few large ones: light curves with daep after
# 35,000 objects, validation error 0.116 at 1,024 measurements a step against 0.164 at 4,096.
PRESETS: dict[str, dict[str, Any]] = {
    # minutes on two cores, the built-in survey: short sequences, so one stage
    "smoke": {
        **_SMALL_MODEL,
        "model.width": 32,
        "model.decoder.kind": "single_stage",
        "model.decoder.num_layers": 2,
        "optimisation.num_objects": 16_000,
        "optimisation.token_budget": 1024,
        "evaluation.num_draws": 8,
        "evaluation.max_objects": 100,
        "runtime.progress_seconds": 5.0,
    },
    # an hour on two cores, real spectra
    "laptop": {
        **_SMALL_MODEL,
        "model.width": 64,
        "model.decoder.num_latents": 32,
        "optimisation.num_objects": 64_000,
        "optimisation.token_budget": 2048,
        # real surveys are small: 2 % lower validation error on SNID spectra (studies/LOG.md)
        "optimisation.optimizer.weight_decay": 0.1,
    },
    # the paper's sizes on GPUs
    "cluster": {
        "model.decoder.num_latents": 256,
        "model.mixer.num_tokens": 64,
        "optimisation.num_objects": 10_000_000,
        "optimisation.token_budget": 160_000,
        "evaluation.num_draws": 50,
        "evaluation.max_objects": 2_000,
        "evaluation.sampler.num_steps": 20,
        "evaluation.token_budget": 262_144,
        "runtime.stream": "ray",
        "runtime.num_workers": 1,
    },
}


def preset(name: str) -> RunConfig:
    """The configuration of a preset, `smoke`, or of one with the published code's choices on top
    (`published.py`), `smoke+published_code`.

    Raises:
        ConfigError: no such preset.
    """
    size, plus, choices = name.partition("+")
    if size not in PRESETS or (plus and choices not in PUBLISHED):
        raise ConfigError(
            f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}, with one of "
            f"{', '.join(f'+{n}' for n in PUBLISHED)} behind it if you like"
        )
    return override(RunConfig(), {**PRESETS[size], **PUBLISHED.get(choices, {})})


def size_of(preset_name: str) -> str:
    """The preset without the choices put on top: `smoke` of `smoke+published_code`."""
    return preset_name.partition("+")[0]


def configure(
    manifest: Manifest,
    preset_name: str = "laptop",
    modality: str | None = None,
    assignments: dict[str, Any] | None = None,
    recipe: str | None = None,
) -> RunConfig:
    """A resolved configuration for a survey: preset, recipe, then the user's settings.

    `recipe` names one of `stream/named.py`; without, it is the default for the survey's format.

    Raises:
        ConfigError: an unknown preset or path, a value out of range, a modality not in the survey.
        DataError: the named recipe does not fit the survey.
    """
    config = resolve(preset(preset_name), manifest, modality, recipe)
    return resolve(override(config, assignments or {}), manifest)


def resolve(
    config: RunConfig,
    manifest: Manifest,
    modality: str | None = None,
    recipe_name: str | None = None,
) -> RunConfig:
    """Fill in what depends on the survey (modality, recipe) and check that it is there.

    `modality` names one, or several with commas between.

    Raises:
        ConfigError: a modality that the survey does not have; a prior without a trained parent.
        DataError: the named recipe does not fit the survey.
    """
    if isinstance(config.objective, PriorConfig):
        config = _on_parent(config, config.objective, manifest)
        modality = recipe_name = None
    names = [m.name for m in manifest.modalities]
    recipe = config.recipe
    if recipe_name is not None:
        recipe = named_recipe(recipe_name, manifest)
    in_recipe = [n for n in names if recipe is None or n in recipe.modalities]
    # a recipe asked for by name says what belongs together; else the survey's first
    usual = in_recipe if recipe_name else (in_recipe or names)[:1]
    wanted = tuple(modality.split(",")) if modality else config.modalities or tuple(usual)
    for name in wanted:
        if name not in names:
            raise ConfigError(
                f"no modality {name!r} in this survey: it has {', '.join(names)}; "
                "choose one with --modality"
            )
    recipe = recipe or default_recipe(manifest)
    for name in wanted:
        if name not in recipe.modalities:
            raise ConfigError(
                f"the recipe says nothing about {name!r}: add recipe.modalities.{name}"
            )
    return config.model_copy(update={"modalities": wanted, "recipe": recipe})


def _on_parent(config: RunConfig, objective: PriorConfig, manifest: Manifest) -> RunConfig:
    """A model of another's codes reads what that one reads: same model, modalities and recipe."""
    found, fingerprint = _parent(objective.parent)
    if not isinstance(found.objective, DaepConfig | VaeConfig | MmVaeConfig):
        raise ConfigError(
            f"objective.parent {objective.parent!r} is a {found.objective.kind}: a prior is built "
            "on a daep, a vae or an mmvae"
        )
    classes: tuple[str, ...] = ()
    if objective.label is not None:
        counts = manifest.counts.get("train")
        classes = tuple(sorted((counts and counts.classes) or {}))
        if not classes:
            raise ConfigError(
                f"objective.label is {objective.label!r}, but no training sample of this survey "
                "has one: leave it out"
            )
    told = {
        "parent": str(Path(objective.parent).absolute()),
        "parent_fingerprint": fingerprint,
        "parent_objective": found.objective,
        "classes": classes,
    }
    taken = {name: getattr(found, name) for name in ("model", "modalities", "recipe")}
    return config.model_copy(update={**taken, "objective": objective.model_copy(update=told)})


def _parent(folder: str) -> tuple[RunConfig, str]:
    """Configuration and fingerprint of a finished training."""
    advice = "give the folder that `daep-ray train` wrote (--out)"
    if not folder:
        raise ConfigError(f"objective.parent is empty, a prior needs a trained model: {advice}")
    path = Path(folder)
    if not (path / "result.json").is_file():
        raise ConfigError(f"objective.parent {folder!r} holds no finished training: {advice}")
    try:
        mark = json.loads((path / "training.json").read_text())
        return RunConfig.parse(mark["config"]), str(mark["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"objective.parent {folder!r} cannot be read ({error}): {advice}"
        ) from None
