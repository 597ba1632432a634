"""Are generated objects like real ones, and do they help where a class is rare?

Design: a latent prior on a daep and on a VAE, trained on the training split. (1) One object is
drawn at the places of every test object; Frechet distance to real test objects in the features of a
small supervised classifier, trained on the training split alone and frozen (its weights' hash
stands in the table), beside the distance between two real sets of the same size, and what the code,
the decoder and the prior each are to blame for (daep_ray/evaluate/generation.py). (2) The rarest
class is cut down to a few training objects; parents and class-conditional priors are trained anew
on what is left; a classifier is trained without and with generated objects of that class, with the
few repeated, and with all real ones (daep_ray/evaluate/augmentation.py). Balanced accuracy, recall
and precision of the rare class on the test split; every seed draws its own few, its own generators
and its own classifiers, and differences are taken within a seed.
Expected: the prior is near what codes of real objects give, both above the null, for a code that
short loses what the classifier sees. Generated objects beat the few objects alone in recall; over
repeating them they gain little, for the prior knows no more of the class than they say.
Answer (laptop): near, and of no help where a class is rare; numbers in studies/README.md.
Cost: smoke 15 seconds; laptop about 25 minutes of one core. A second run goes on where the
first one stopped: trained generators are kept in OUT/trainings.

    python studies/generation.py --preset laptop --out runs/generation
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from daep_ray.cli import run_app
from daep_ray.config import RunConfig, configure, resolve, training_fingerprint
from daep_ray.errors import ConfigError
from daep_ray.evaluate import augmentation
from daep_ray.evaluate.classifier import ClassifierConfig, train_classifier
from daep_ray.evaluate.frechet import check_size
from daep_ray.evaluate.generation import Generator, judged
from daep_ray.evaluate.labelled import labelled
from daep_ray.settings import canonical_hash, override, parse_assignment
from daep_ray.shards.ingest import ingest
from daep_ray.shards.read import ShardFolder
from daep_ray.shards.write import write_shards
from daep_ray.stream.pack import layouts
from daep_ray.stream.statistics import fit_recipe
from daep_ray.study.generation import Rows, distance_rows, gain_rows, write
from daep_ray.study.session import prepare_environment, require_kept
from daep_ray.train.checkpoint import load_model

PARENTS: dict[str, dict[str, Any]] = {
    "daep": {"objective.kind": "daep"},
    "vae": {"objective.kind": "vae", "objective.beta": 0.001},  # as in bottleneck_sweep.py
}
# few large steps: 64,000 objects in half the time of 16,000 at a parent's 1,024 measurements
PRIOR = {
    "objective.kind": "prior",
    "objective.label": "class",
    "objective.width": 64,
    "optimisation.token_budget": 4096,
}


@dataclass(frozen=True)
class Size:
    """How much of everything a preset takes."""

    base: str  # preset of the models
    num_objects: int  # of the built-in survey
    parent_objects: int  # seen in training
    prior_objects: int
    parents: tuple[str, ...]
    classifier: ClassifierConfig
    num_kept: int  # training objects of the rare class
    seeds: int  # of the rare class' few, their generators and classifiers
    distance_seeds: int  # of the generators whose distance is measured


SIZES = {
    "smoke": Size(
        "smoke", 700, 700, 1_500, ("daep",), ClassifierConfig(num_features=8, num_objects=1_500),
        10, 1, 1,
    ),
    "laptop": Size(
        "smoke", 10_000, 32_000, 64_000, ("daep", "vae"), ClassifierConfig(num_objects=30_000),
        40, 5, 2,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """One run's settings; everything it makes lies in `out`."""

    size: Size
    modality: str | None
    recipe: str | None
    settings: dict[str, Any]  # of the parents
    threads: int
    out: Path

    def config(self, shards: ShardFolder, kind: str, seed: int) -> RunConfig:
        runtime = {"num_threads": self.threads, "validation_objects": 0}
        settings = {
            **PARENTS[kind],
            "optimisation.num_objects": self.size.parent_objects,
            **{f"runtime.{name}": value for name, value in runtime.items()},
            **self.settings,
            "seed": seed,
        }
        found = configure(shards.manifest, self.size.base, self.modality, settings, self.recipe)
        if len(found.modalities) > 1:
            raise ConfigError(
                f"objects are compared in one modality, and {', '.join(found.modalities)} are "
                "asked for: name one with --modality"
            )
        return found

    def trained(self, config: RunConfig, shards: ShardFolder, what: str) -> Path:
        """The folder of the finished training, done before or now."""
        from daep_ray.train.ray_worker import fit

        config = resolve(config, shards.manifest)
        folder = self.out / "trainings" / training_fingerprint(config, shards.manifest.hash)
        result = fit(config, shards.path, folder)
        _echo(f"{what}: {result.num_objects:,} objects seen in {result.seconds:.0f} s")
        return folder

    def generator(self, shards: ShardFolder, kind: str, seed: int, what: str) -> Generator:
        config = self.config(shards, kind, seed)
        parent = self.trained(config, shards, f"{kind}, seed {seed}, {what}")
        settings = {
            **PRIOR,
            "objective.parent": str(parent),
            "optimisation.num_objects": self.size.prior_objects,
        }
        prior = self.trained(
            override(config, settings), shards, f"prior of {kind}, seed {seed}, {what}"
        )
        return Generator.of(load_model(prior), seed)

    def thinned(self, shards: ShardFolder, rare: str, seed: int) -> ShardFolder:
        """The data with a few objects of the rare class, written once."""
        kept = augmentation.kept_objects(shards, rare, self.size.num_kept, seed)
        name = canonical_hash([shards.manifest.hash, rare, sorted(kept)], 8)
        folder = self.out / f"few-{name}"
        if not (folder / "manifest.json").is_file():
            write_shards(augmentation.thinned(shards, rare, kept), folder)
        return ShardFolder.open(folder)


def distances(study: Study, shards: ShardFolder) -> Iterator[dict[str, Any]]:
    """Rows of the table of distances: one frozen encoder for all generators."""
    config = study.config(shards, study.size.parents[0], 0)
    (modality,), recipe = config.modalities, config.recipe
    assert recipe is not None
    fitted = fit_recipe(shards, recipe)
    training, places = (labelled(shards, fitted, modality, s) for s in ("train", "test"))
    check_size(len(places), study.size.classifier.num_features)  # before generators are trained
    layout = layouts(fitted, (modality,))[modality]
    classifier = train_classifier(training, layout, study.size.classifier)
    _echo(f"frozen encoder {classifier.fingerprint}")
    for kind in study.size.parents:
        for seed in range(study.size.distance_seeds):
            generator = study.generator(shards, kind, seed, "all objects")
            yield from distance_rows(kind, seed, judged(classifier, generator, training, places))


def gains(study: Study, shards: ShardFolder, rare: str, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of the table of gains, of one seed."""
    size = study.size
    thinned = study.thinned(shards, rare, seed)
    what = f"{size.num_kept} {rare}"
    generators = {kind: study.generator(thinned, kind, seed, what) for kind in size.parents}
    config = study.config(thinned, size.parents[0], seed)
    (modality,), recipe = config.modalities, config.recipe
    assert recipe is not None
    fitted = fit_recipe(thinned, recipe)
    everything, held_out = (labelled(shards, fitted, modality, s) for s in ("train", "test"))
    few = labelled(thinned, fitted, modality, "train")
    left_out = everything.take(~np.isin(everything.sample_ids, few.sample_ids))
    layout = layouts(fitted, (modality,))[modality]
    classifier = size.classifier.model_copy(update={"seed": seed})
    found = augmentation.gains(few, left_out, held_out, generators, layout, classifier)
    yield from gain_rows(seed, rare, found)


def command(
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of `daep-ray ingest`; default: built in."),
    ] = None,
    modality: Annotated[str | None, typer.Option(help="Default: photometry, or the first.")] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of `daep-ray recipes`.")
    ] = None,
    rare: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Default: the one with fewest objects.")
    ] = None,
    preset: Annotated[str, typer.Option(help=f"{', '.join(SIZES)}.")] = "smoke",
    seeds: Annotated[int | None, typer.Option(min=1, help="Of the rare class' study.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Of the parents; repeatable."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Tables and trainings.")] = Path(
        "runs/generation"
    ),
) -> None:
    """Distance of generated objects from real ones, and what they are worth for a rare class."""
    if preset not in SIZES:
        raise ConfigError(f"unknown preset {preset!r}: choose one of {', '.join(SIZES)}")
    size = SIZES[preset]
    require_kept("--out", out)
    prepare_environment(None)
    torch.set_num_threads(threads)
    if data is None:
        modality = modality or "photometry"
        data = out / f"data-{size.num_objects}"
        if not (data / "manifest.json").is_file():
            ingest("synthetic", None, data, {"num_objects": size.num_objects})
    shards = ShardFolder.open(data)
    chosen = dict(parse_assignment(text) for text in settings or ())
    study = Study(size, modality, recipe, chosen, threads, out)
    counts = shards.manifest.counts["train"].classes or {}
    rare = rare or min(sorted(counts), key=lambda name: counts[name], default="")
    augmentation.kept_objects(shards, rare, size.num_kept, 0)  # a wrong class is told at once
    tables: dict[str, Rows] = {"distances": list(distances(study, shards)), "gains": []}
    text = ""
    for seed in range(seeds or size.seeds):
        tables["gains"] += gains(study, shards, rare, seed)
        text = write(out, tables)
    print(f"\n{text}")


def _echo(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(command)
    raise SystemExit(run_app(app, None))
