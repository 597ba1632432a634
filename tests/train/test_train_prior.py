"""A model built on another: its fingerprint, what it takes over, what it needs later."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from daep_ray.config import RunConfig, resolve, training_fingerprint
from daep_ray.diffusion.samplers import UniPCConfig
from daep_ray.errors import ConfigError
from daep_ray.objectives.prior import Prior, PriorConfig
from daep_ray.pretrained import Autoencoder
from daep_ray.settings import override
from daep_ray.shards.manifest import Manifest
from daep_ray.stream.bins import Position, evaluation_batches
from daep_ray.train import checkpoint, validation
from daep_ray.train.loop import Context, train
from daep_ray.train.parent import beginning, class_codes
from daep_ray.train.prepare import local_stream, prepare, validation_batches
from daep_ray.train.progress import read_curve
from daep_ray.train.ray_worker import fit

SMALL = {
    "model.width": 16,
    "model.num_heads": 2,
    "model.encoder.num_layers": 1,
    "model.decoder.kind": "single_stage",
    "model.decoder.num_layers": 1,
    "optimisation.num_objects": 200,
    "optimisation.token_budget": 512,
    "runtime.validation_objects": 4,
}


def parent_config(**settings: object) -> RunConfig:
    return override(RunConfig(modalities=("photometry",)), {**SMALL, **settings})


def prior_config(parent: Path, **settings: object) -> RunConfig:
    """Of its own it says nothing about modalities, recipe or model: they are the parent's."""
    dotted = {k.replace("__", "."): v for k, v in settings.items()}
    return override(
        RunConfig(),
        {
            "objective.kind": "prior",
            "objective.parent": str(parent),
            "objective.width": 16,
            "objective.num_heads": 2,
            "objective.num_layers": 1,
            "objective.label": "class",
            "optimisation.num_objects": 300,
            "optimisation.token_budget": 512,
            **dotted,
        },
    )


@dataclass(frozen=True)
class Trainings:
    data: Path
    parent: Path
    other: Path  # a parent of another seed
    prior: Path


@pytest.fixture(scope="module")
def trainings(synthetic_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    folder = tmp_path_factory.mktemp("trainings")
    found = Trainings(synthetic_shards, folder / "parent", folder / "other", folder / "prior")
    fit(parent_config(), synthetic_shards, found.parent)
    fit(parent_config(seed=1), synthetic_shards, found.other)
    fit(prior_config(found.parent), synthetic_shards, found.prior)
    return found


def fingerprint(config: RunConfig, data: Path) -> str:
    manifest = Manifest.read(data)
    return training_fingerprint(resolve(config, manifest), manifest.hash)


def test_the_fingerprint_knows_the_parent_and_not_its_place(
    trainings: Trainings, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(trainings.parent, moved)
    here, there, other = (
        fingerprint(prior_config(p), trainings.data)
        for p in (trainings.parent, moved, trainings.other)
    )
    assert (
        here == there == json.loads((trainings.prior / "training.json").read_text())["fingerprint"]
    )
    assert other != here
    wider = fingerprint(prior_config(trainings.parent, objective__width=32), trainings.data)
    assert wider != here


def test_the_parent_is_taken_over_and_never_changed(trainings: Trainings) -> None:
    parent = checkpoint.load_model(trainings.parent)
    trained = checkpoint.load_model(trainings.prior)
    assert isinstance(trained.objective, Prior)
    taken = trained.objective.parent.state_dict()
    for name, tensor in parent.objective.state_dict().items():
        assert torch.equal(taken[name], tensor), name
    for part in ("model", "modalities", "recipe"):
        assert getattr(trained.config, part) == getattr(parent.config, part)
    assert trained.fitted.to_json() == parent.fitted.to_json()


def test_codes_are_standardised_with_training_statistics(trainings: Trainings) -> None:
    """Every sample of the training split, one by one, in another order and packing."""
    prepared = prepare(prior_config(trainings.parent), trainings.data)
    assert prepared.parent is not None
    batches = evaluation_batches(
        prepared.shards, prepared.fitted, ("photometry",), "train", token_budget=64
    )
    with torch.no_grad():
        codes = torch.cat([prepared.parent.objective.encode(b).point for b, _ in batches]).double()
    assert len(codes) >= 95  # of 98, less what has no photometry
    prior = checkpoint.load_model(trainings.prior).objective
    assert isinstance(prior, Prior)
    torch.testing.assert_close(prior.mean.double(), codes.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(prior.scale.double(), codes.std(0, correction=0), rtol=1e-4, atol=0)


def test_a_checkpoint_is_enough_to_draw(trainings: Trainings, tmp_path: Path) -> None:
    """Elsewhere, without the parent's folder: the same draws, finite, in units, of any cadence."""
    alone = tmp_path / "alone"
    shutil.copytree(trainings.prior / "checkpoint", alone)
    config = json.loads((alone / "config.json").read_text())
    config["objective"]["parent"] = "/nowhere"
    (alone / "config.json").write_text(json.dumps(config))
    places = {"time": np.linspace(-10, 40, 9), "band": ["r"] * 9}
    found, expected = (
        Autoencoder.from_pretrained(folder).sample(places, 5, UniPCConfig(num_steps=4))
        for folder in (alone, trainings.prior)
    )
    draws = found["photometry"].draws
    assert draws.shape == (5, 9)
    assert np.isfinite(draws).all()
    assert draws.std(0).min() > 0
    np.testing.assert_array_equal(draws, expected["photometry"].draws)


def test_encoding_and_decoding_are_the_parents(trainings: Trainings) -> None:
    parent = checkpoint.load_model(trainings.parent)
    prior = checkpoint.load_model(trainings.prior)
    shards = prepare(parent.config, trainings.data).shards
    batch, _ = next(evaluation_batches(shards, parent.fitted, ("photometry",), "test", 256))
    with torch.no_grad():
        codes = [t.objective.encode(batch).point for t in (parent, prior)]
    assert torch.equal(*codes)


def validation_losses(folder: Path) -> list[float]:
    return [p["validation/loss"] for p in read_curve(folder / "metrics.jsonl")]


def test_a_prior_has_a_validation_curve(trainings: Trainings) -> None:
    """Of held-out samples, their classes told, on the same noise at every point."""
    points = read_curve(trainings.prior / "metrics.jsonl")
    assert not any(name.startswith("validation/absolute") for p in points for name in p)
    found = validation_losses(trainings.prior)
    assert len(found) == len(points) > 3
    prepared = prepare(prior_config(trainings.parent), trainings.data)
    labels, ends = class_codes(prepared), checkpoint.load_model(trainings.prior)
    assert labels is not None
    batches = [replace(b, label=labels(b.sample_ids)) for b in validation_batches(prepared, "cpu")]
    assert validation.loss(ends.objective, batches) == pytest.approx(found[-1], rel=1e-6)
    # packed otherwise
    parts = [
        replace(b, label=labels(b.sample_ids))
        for b, _ in evaluation_batches(
            prepared.shards,
            prepared.fitted,
            ("photometry",),
            "validation",
            token_budget=1,
            max_samples=prepared.config.runtime.validation_objects,
        )
    ]
    assert len(parts) > len(batches)
    assert validation.loss(ends.objective, parts) == pytest.approx(found[-1], rel=1e-5)
    untold = [replace(b, label=None) for b in batches]
    assert validation.loss(ends.objective, untold) != found[-1]


def test_a_prior_of_noise_has_the_loss_of_knowing_nothing(trainings: Trainings) -> None:
    """A denoiser that says 0 misses v = a epsilon - s x0, whose mean square is 1 for codes of
    mean 0 and spread 1: an independent figure that the curve begins near."""
    prepared = prepare(prior_config(trainings.parent), trainings.data)
    objective = checkpoint.load_model(trainings.prior).objective
    assert isinstance(objective, Prior)
    for p in objective.denoiser.parameters():
        p.data.zero_()
    batches = [
        b
        for b, _ in evaluation_batches(
            prepared.shards, prepared.fitted, ("photometry",), "train", token_budget=4096
        )
    ]
    # 95 samples x 8 noises x 16 entries: 0.013 is a standard error
    assert validation.loss(objective, batches) == pytest.approx(1.0, abs=0.05)


class Killed(Exception):
    """Stands for SIGKILL."""


def test_resume_is_bit_equal_to_never_stopped(trainings: Trainings, tmp_path: Path) -> None:
    config = prior_config(trainings.parent, runtime__checkpoint_seconds=0.0)
    prepared = prepare(config, trainings.data)
    stream = local_stream(prepared, 0, 1)

    def context(steps: int | None) -> Context:
        def bins(start: Position):
            for number, item in enumerate(stream(start)):
                if number == steps:
                    raise Killed
                yield item

        begin, labels = beginning(prepared, "cpu"), class_codes(prepared)
        return Context(tmp_path / "cut", bins, [], begin=begin, labels=labels)

    for steps in (3, 5):
        with pytest.raises(Killed):
            train(prepared.config, prepared.fitted, context(steps))
    train(prepared.config, prepared.fitted, context(None))
    whole = checkpoint.load_state(trainings.prior / "checkpoint")
    resumed = checkpoint.load_state(tmp_path / "cut" / "checkpoint")
    for name, tensor in whole.weights.items():
        assert torch.equal(tensor, resumed.weights[name]), name


def test_classes_are_those_of_the_shards(trainings: Trainings) -> None:
    prepared = prepare(prior_config(trainings.parent), trainings.data)
    labels, objective = class_codes(prepared), prepared.config.objective
    assert labels is not None
    assert isinstance(objective, PriorConfig)
    rows = prepared.shards.labels()
    ids, names = tuple(rows["sample_id"].to_pylist()), rows["label.class"].to_pylist()
    told = [("", *objective.classes)[code] for code in labels((*ids, "nobody")).tolist()]
    assert told == [*names, ""]


@pytest.mark.parametrize("what", ["", "nowhere", "prior"])
def test_a_parent_that_cannot_be_is_one_sentence(trainings: Trainings, what: str) -> None:
    parent = {"": "", "nowhere": "nowhere", "prior": str(trainings.prior)}[what]
    config = override(prior_config(trainings.parent), {"objective.parent": parent})
    with pytest.raises(ConfigError, match=r"objective\.parent"):
        prepare(config, trainings.data)


def test_guidance_that_the_parent_never_learnt_is_refused_before_training(
    trainings: Trainings,
) -> None:
    guided = prior_config(trainings.parent, evaluation__sampler__guidance=2.0)
    with pytest.raises(ConfigError, match="parent never went without a code"):
        prepare(guided, trainings.data)
