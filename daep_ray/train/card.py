"""The model card, `MODEL.md`, beside a checkpoint: what a stranger must know before using it.

In: configuration, statistics, what `training.json` says of the data, parameters and, once measured,
metrics. Out: Markdown, the same bytes for the same training: no clock, no host, no path.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daep_ray.config import RunConfig
from daep_ray.errors import storage_error
from daep_ray.sample import Axis, Modality
from daep_ray.shards.manifest import Manifest
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.stream.recipe import ModalityRecipe
from daep_ray.stream.seen import ranges_in_units

CARD = "MODEL.md"
MARK = "training.json"
PAPER = "arXiv:2510.20595"

_OBJECTIVES = {
    "daep": "diffusion autoencoder with Perceivers (daep)",
    "vae": "variational autoencoder (beta-VAE) with Perceivers",
    "maep": "masked autoencoder with Perceivers (maep)",
    "mmvae": "mixture-of-experts VAE (mmVAE) with Perceivers",
    "prior": "latent prior: a diffusion model of another model's codes",
    "contrastive": "pair of contrastive encoders, answering with the nearest training sample",
}


@dataclass(frozen=True)
class Measured:
    """Rows of the table `metrics`, and the manifest hash of the data that they were taken on."""

    rows: list[dict[str, Any]]
    data: str


def data_summary(manifest: Manifest) -> dict[str, Any]:
    """What a card says of the data: no file names, no paths."""
    return {
        "format": str(manifest.source.get("format") or "several, merged"),
        "hash": manifest.hash,
        "is_split_by_hash": manifest.is_split_by_hash,
        "splits": {
            split: [c.num_samples, c.num_objects] for split, c in sorted(manifest.counts.items())
        },
    }


def write_card(
    folder: Path,
    config: RunConfig,
    fitted: FittedRecipe,
    num_parameters: int,
    measured: Measured | None = None,
) -> Path:
    """Write `MODEL.md` into a training's folder, whole.

    Raises:
        StorageError: it cannot be written.
    """
    path = folder / CARD
    staged = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        text = card(config, fitted, num_parameters, _data_of(folder), measured)
        staged.write_text(text, encoding="utf-8")
        staged.replace(path)
    except OSError as error:
        raise storage_error(error, path) from error
    return path


def _data_of(folder: Path) -> dict[str, Any] | None:
    """None for a training of before its data were kept."""
    try:
        return dict(json.loads((folder / MARK).read_text())["data"])
    except (OSError, ValueError, KeyError):
        return None


def card(
    config: RunConfig,
    fitted: FittedRecipe,
    num_parameters: int,
    data: Mapping[str, Any] | None,
    measured: Measured | None = None,
) -> str:
    """The card's text."""
    kind = config.objective.kind
    parts = [
        f"# {kind} of {' and '.join(config.modalities)}",
        f"A {_OBJECTIVES.get(kind, kind)}, trained with daep_ray.",
        *_data(data),
        *_modalities(config, fitted),
        *_model(config, num_parameters),
        *_metrics(measured),
        *_limits(config, fitted),
        *_use(config),
    ]
    return "\n\n".join(parts) + "\n"


def _data(data: Mapping[str, Any] | None) -> list[str]:
    if data is None:
        return ["## Data", "Not known: this training was made before cards were written."]
    counts = [
        f"- {split}: {samples:,} samples of {objects:,} objects"
        for split, (samples, objects) in data["splits"].items()
    ]
    how = "a stable hash of the object id" if data["is_split_by_hash"] else "the survey itself"
    return [
        "## Data",
        f"Survey format `{data['format']}`, manifest `{data['hash']}`; split by {how}.",
        "\n".join(counts),
    ]


def _modalities(config: RunConfig, fitted: FittedRecipe) -> list[str]:
    lines = []
    for name in config.modalities:
        modality = fitted.modalities[name]
        axes = ", ".join(_axis(a) for a in modality.positions)
        words = "".join(
            f"; {c.name}: {', '.join(c.vocabulary[1:]) or 'none'}" for c in modality.categories
        )
        lines.append(f"- {name}: {_axis(modality.value)} over {axes}{words}")
        lines.append(f"  - recipe: {_recipe(fitted.recipe.modalities[name])}")
        read = [*fitted.continuous_metadata(name), *fitted.categorical_metadata(name)]
        lines.append(f"  - metadata read: {', '.join(read) or 'none'}")
    return ["## What it reads", "\n".join(lines)]


def _recipe(recipe: ModalityRecipe) -> str:
    """What differs from a recipe that does nothing."""
    plain = ModalityRecipe().model_dump(mode="json")
    told = {k: v for k, v in recipe.model_dump(mode="json").items() if v != plain[k]}
    return f"`{json.dumps(told, sort_keys=True)}`" if told else "z-scores alone"


def _axis(axis: Axis) -> str:
    unit = f" in {axis.unit}" if axis.unit else ""
    frame = f", {axis.frame} frame" if axis.frame else ""
    return f"{axis.name}{unit}{frame}"


def _model(config: RunConfig, num_parameters: int) -> list[str]:
    model, how = config.model, config.optimisation
    code = model.bottleneck
    lines = [
        f"- code: {code.length} x {code.width} = {code.length * code.width} floats per sample",
        f"- width {model.width}, {model.num_heads} heads, {model.encoder.num_layers} encoder and "
        f"{model.decoder.num_layers} decoder layers ({model.decoder.kind})",
        f"- {num_parameters:,} parameters",
        f"- {how.num_objects:,} samples seen, {how.token_budget:,} measurements per step, "
        f"{how.optimizer.kind}, seed {config.seed}",
    ]
    # a prior's parent is a path, and its fingerprint says which it was
    objective = config.objective.model_dump(mode="json", exclude={"parent"})
    return [
        "## Model",
        "\n".join(lines),
        f"Objective: `{json.dumps(objective, sort_keys=True)}`",
        "Every setting is in `config.json`, beside the weights.",
    ]


def _metrics(measured: Measured | None) -> list[str]:
    if measured is None:
        return ["## Metrics", "None yet: `daep-ray evaluate` adds them."]
    head = [
        "| modality | split | estimate | metric | value | sd | over |",
        "|---|---|---|---|---|---|---|",
    ]
    body = [
        f"| {r['modality']} | {r['split']} | {r['estimate']} | {r['metric']} | "
        f"{_number(r['value'])} | {_number(r['sd'])} | {r['count']:,} |"
        for r in measured.rows
    ]
    where = f"Of `daep-ray evaluate`, on the data with manifest `{measured.data}`."
    return ["## Metrics", where, "\n".join([*head, *body])]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _limits(config: RunConfig, fitted: FittedRecipe) -> list[str]:
    lines = [line for m in config.modalities for line in _seen(fitted, fitted.modalities[m])]
    return [
        "## Limits",
        "The training split, after the recipe, held what follows; answers outside are "
        "extrapolations, which `flag` says.",
        "\n".join(lines),
    ]


def _seen(fitted: FittedRecipe, modality: Modality) -> list[str]:
    statistics = fitted.statistics[modality.name]
    seen = statistics.seen
    if seen is None:
        return [f"- {modality.name}: not known"]
    lines = [
        f"- {modality.name}: {statistics.num_sequences:,} sequences, {seen.lengths[0]:,} to "
        f"{seen.lengths[1]:,} measurements each"
    ]
    for axis, (low, high) in zip(
        modality.positions, ranges_in_units(fitted, modality.name), strict=True
    ):
        steps = fitted.recipe.modalities[modality.name].positions.get(axis.name, ())
        notes = [step.kind.replace("_", " ") for step in steps if step.kind != "log"]
        after = f" (after {', '.join(notes)})" if notes else ""
        lines.append(f"  - {axis.name}: {low:.6g} to {high:.6g} {axis.unit}".rstrip() + after)
    for category, counts in zip(modality.categories, seen.categories, strict=True):
        told = [f"{w} {n:,}" for w, n in zip(category.vocabulary, counts, strict=True) if n]
        lines.append(f"  - {category.name}: {', '.join(told)}")
    return lines


def _use(config: RunConfig) -> list[str]:
    code = [
        "from daep_ray.pretrained import Autoencoder",
        "",
        'model = Autoencoder.from_pretrained("this/folder")',
        "codes = model.embed(samples)",
        "rebuilt = model.reconstruct(samples, num_draws=16)",
    ]
    if len(config.modalities) > 1:
        first, second = config.modalities[:2]
        code[-1] = f'told = model.translate(samples, source="{first}", target="{second}")'
    return [
        "## How to load",
        "\n".join(["```python", *code, "```"]),
        "## How to cite",
        f"Cite the paper on diffusion autoencoders with Perceivers ({PAPER}), the survey whose "
        "data these are, and daep_ray with the manifest above.",
    ]
