"""Laws of training: resume is exact, workers are not science, bad losses stop."""

import json
import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from daep_ray.config import RunConfig
from daep_ray.errors import CheckpointError, ConfigError, UserError
from daep_ray.objectives.contrastive import Contrastive
from daep_ray.settings import override
from daep_ray.stream.bins import Position
from daep_ray.train import checkpoint
from daep_ray.train.loop import Context, NonFiniteLossError, train
from daep_ray.train.prepare import (
    Prepared,
    local_stream,
    prepare,
    training_samples,
    validation_batches,
)
from daep_ray.train.progress import read_curve
from daep_ray.train.ray_worker import fit

TINY = {
    "model.width": 16,
    "model.num_heads": 2,
    "model.encoder.num_layers": 1,
    "model.decoder.num_layers": 1,
    "model.decoder.num_latents": 4,
    "model.mixer.num_layers": 1,
    "model.mixer.num_tokens": 2,
    "optimisation.num_objects": 400,
    "optimisation.token_budget": 512,
    "runtime.num_curve_points": 4,
    "runtime.validation_objects": 4,
}


OF_PAIRS = " of pairs"  # two modalities
PAIRS = "daep" + OF_PAIRS  # with a drop pattern per step
EXPERTS = "mmvae" + OF_PAIRS
SEARCH = "contrastive" + OF_PAIRS  # compares the samples of all workers, keeps a gallery


def config(kind: str = "daep", **overrides: object) -> RunConfig:
    """A training of seconds; double underscores stand for the dots of a path."""
    dotted = {k.replace("__", "."): v for k, v in overrides.items()}
    base = RunConfig(modalities=("photometry",))
    several = {"modalities": ("photometry", "spectrum")} if kind.endswith(OF_PAIRS) else {}
    kind = kind.removesuffix(OF_PAIRS)
    return override(base, {"objective.kind": kind, **TINY, **several, **dotted})


class Killed(Exception):
    """Stands for SIGKILL: nothing of ours catches it."""


@pytest.mark.parametrize(
    ("kind", "optimizer"),
    [
        ("daep", "muon"),
        ("vae", "muon"),
        ("daep", "adamw"),
        ("vae", "adamw"),
        (PAIRS, "muon"),
        (EXPERTS, "muon"),
        pytest.param(SEARCH, "muon", marks=pytest.mark.slow),
    ],
)
def test_resume_is_bit_equal_to_never_stopped(
    kind: str, optimizer: str, synthetic_shards: Path, tmp_path: Path
) -> None:
    c = config(
        kind,
        optimisation__optimizer__kind=optimizer,
        optimisation__token_budget=1536 if kind.endswith(OF_PAIRS) else 512,
        runtime__checkpoint_seconds=0.0,
    )
    fit(c, synthetic_shards, tmp_path / "whole")

    prepared = prepare(c, synthetic_shards)
    whole_stream = local_stream(prepared, 0, 1)

    def dies_after(steps: int):
        def bins(start: Position):
            for number, item in enumerate(whole_stream(start)):
                if number == steps:
                    raise Killed
                yield item

        return bins

    for steps in (3, 7, 11):  # three deaths, in different epochs
        with pytest.raises(Killed):
            train(
                prepared.config,
                prepared.fitted,
                context(prepared, tmp_path, dies_after(steps)),
            )
    train(prepared.config, prepared.fitted, context(prepared, tmp_path, whole_stream))

    whole = checkpoint.load_state(tmp_path / "whole" / "checkpoint")
    resumed = checkpoint.load_state(tmp_path / "cut" / "checkpoint")
    for name, tensor in whole.weights.items():
        assert torch.equal(tensor, resumed.weights[name]), name
    for name, tensor in whole.ema.items():
        assert torch.equal(tensor, resumed.ema[name]), name
    assert curve_of(tmp_path / "whole") == curve_of(tmp_path / "cut")


def context(prepared: Prepared, tmp_path: Path, bins) -> Context:
    return Context(
        folder=tmp_path / "cut",
        bins=bins,
        validation=validation_batches(prepared, "cpu"),
        samples=training_samples(prepared, "cpu"),
    )


def curve_of(folder: Path) -> list[dict[str, float]]:
    points = read_curve(folder / "metrics.jsonl")
    return [{k: v for k, v in p.items() if k != "seconds"} for p in points]


KINDS = ("daep", "vae", PAIRS, EXPERTS, SEARCH)


def train_as_rank(rank: int, world: int, data: str, out: str) -> None:
    """Train a few steps of every objective as one of `world` ranks; rank 0 leaves the weights."""
    torch.set_num_threads(1)
    if world > 1:
        meeting = f"file://{out}/meeting{world}"  # a port could be somebody's by now
        dist.init_process_group("gloo", meeting, rank=rank, world_size=world)
    for kind in KINDS:
        # AdamW keeps the averaged gradient as its first moment, which the test reads
        c = config(kind, optimisation__num_objects=100, optimisation__optimizer__kind="adamw")
        prepared = prepare(c, Path(data))
        bins = local_stream(prepared, rank, world)
        folder = Path(out) / f"{kind}{world}"
        train(prepared.config, prepared.fitted, Context(folder, bins, [], rank=rank, world=world))
    if world > 1:
        dist.destroy_process_group()


@pytest.mark.slow
def test_workers_are_not_science(synthetic_shards: Path, tmp_path: Path) -> None:
    """Law 6: one, two and three workers learn the same from the same steps."""
    train_as_rank(0, 1, str(synthetic_shards), str(tmp_path))
    for world in (2, 3):
        arguments = (world, str(synthetic_shards), str(tmp_path))
        mp.spawn(train_as_rank, args=arguments, nprocs=world)
    for kind in KINDS:
        one = checkpoint.load_state(tmp_path / f"{kind}1" / "checkpoint")
        for world in (2, 3):
            folder = tmp_path / f"{kind}{world}"
            several = checkpoint.load_state(folder / "checkpoint")
            assert several.progress["num_objects"] == one.progress["num_objects"]
            points = zip(curve_of(tmp_path / f"{kind}1"), curve_of(folder), strict=True)
            for ours, theirs in points:
                assert ours["train/loss"] == pytest.approx(theirs["train/loss"], rel=1e-4)
            for ours, theirs in zip(moments(one), moments(several), strict=True):
                assert (ours - theirs).abs().max() <= 2e-3 * ours.abs().max() + 1e-9


def moments(state: checkpoint.State) -> list[torch.Tensor]:
    """The averaged gradient of every parameter."""
    return [entry["exp_avg"] for entry in state.optimizer["parts"][0]["state"].values()]


def test_a_finished_training_returns_at_once(synthetic_shards: Path, tmp_path: Path) -> None:
    c = config()
    first = fit(c, synthetic_shards, tmp_path / "run")
    written = (tmp_path / "run" / "checkpoint" / "ema.safetensors").stat().st_mtime_ns
    assert fit(c, synthetic_shards, tmp_path / "run") == first
    assert (tmp_path / "run" / "checkpoint" / "ema.safetensors").stat().st_mtime_ns == written


def test_two_identical_runs_leave_identical_bytes(synthetic_shards: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        fit(config(), synthetic_shards, tmp_path / name)
    weights = [(tmp_path / n / "checkpoint" / "ema.safetensors").read_bytes() for n in ("a", "b")]
    assert weights[0] == weights[1]
    assert curve_of(tmp_path / "a") == curve_of(tmp_path / "b")
    fit(config(seed=1), synthetic_shards, tmp_path / "c")
    assert (tmp_path / "c" / "checkpoint" / "ema.safetensors").read_bytes() != weights[0]


def test_a_survey_that_does_not_fit_is_read_in_windows_with_the_same_result(
    synthetic_shards: Path, tmp_path: Path
) -> None:
    fit(config(), synthetic_shards, tmp_path / "memory")
    fit(config(runtime__memory_bytes=0), synthetic_shards, tmp_path / "windows")
    names = ("memory", "windows")
    weights = [(tmp_path / n / "checkpoint" / "ema.safetensors").read_bytes() for n in names]
    assert weights[0] == weights[1]


def test_another_training_in_the_folder_is_refused(synthetic_shards: Path, tmp_path: Path) -> None:
    fit(config(), synthetic_shards, tmp_path / "run")
    with pytest.raises(ConfigError, match="another training"):
        fit(config(seed=5), synthetic_shards, tmp_path / "run")


def test_learning_lowers_the_validation_error(synthetic_shards: Path, tmp_path: Path) -> None:
    c = config(optimisation__num_objects=4000, runtime__validation_objects=20)
    fit(c, synthetic_shards, tmp_path / "run")
    errors = [p["validation/absolute_error"] for p in read_curve(tmp_path / "run/metrics.jsonl")]
    assert errors[-1] < 0.9 * errors[0]


def test_a_loss_that_is_not_finite_stops_and_names_samples(
    synthetic_shards: Path, tmp_path: Path
) -> None:
    prepared = prepare(config(), synthetic_shards)

    def poisoned(start: Position):
        for number, item in enumerate(local_stream(prepared, 0, 1)(start)):
            if number == 2:
                item.batch.sequences["photometry"].value[0] = math.nan
            yield item

    folder = tmp_path / "run"
    with pytest.raises(NonFiniteLossError, match="epoch 0, step 2") as caught:
        train(prepared.config, prepared.fitted, Context(folder, poisoned, []))
    assert "samples" in str(caught.value)
    assert not (folder / "result.json").exists()


@pytest.mark.parametrize("name", checkpoint.FILES)
def test_a_checkpoint_with_a_file_missing_is_one_sentence(
    name: str, synthetic_shards: Path, tmp_path: Path
) -> None:
    fit(config(optimisation__num_objects=20), synthetic_shards, tmp_path / "run")
    (tmp_path / "run" / "checkpoint" / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load_model(tmp_path / "run")


def test_a_checkpoint_cut_short_is_one_sentence(synthetic_shards: Path, tmp_path: Path) -> None:
    fit(config(optimisation__num_objects=20), synthetic_shards, tmp_path / "run")
    for name in ("ema.safetensors", "modalities.json"):
        path = tmp_path / "run" / "checkpoint" / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError) as caught:
            checkpoint.load_model(tmp_path / "run")
        assert "\n" not in str(caught.value)
        path.write_bytes(whole)


def test_a_writer_that_died_leaves_a_loadable_checkpoint(
    synthetic_shards: Path, tmp_path: Path
) -> None:
    fit(config(optimisation__num_objects=20), synthetic_shards, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoint"
    folder.rename(tmp_path / "run" / ".checkpoint.1.old")  # died between the two renames
    (tmp_path / "run" / ".checkpoint.1.partial").mkdir()
    assert checkpoint.latest(folder) == folder
    assert checkpoint.load_model(folder).progress["num_objects"] >= 20
    assert not list((tmp_path / "run").glob(".checkpoint*"))


def test_a_search_finds_training_samples_after_loading(
    synthetic_shards: Path, tmp_path: Path
) -> None:
    """The gallery is that of the checkpoint's own weights, and all of the training split."""
    c = config(SEARCH, optimisation__num_objects=60)
    fit(c, synthetic_shards, tmp_path / "run")
    objective = checkpoint.load_model(tmp_path / "run").objective
    assert isinstance(objective, Contrastive)
    prepared = prepare(c, synthetic_shards)
    lengths = prepared.fitted.lengths(prepared.shards).to_pylist()
    for m in ("photometry", "spectrum"):
        kept = [r for r in lengths if r["split"] == "train" and r[f"{m}.length"]]
        assert len(objective.gallery(m)) == len(kept)
    kept_ema = {n: x.clone() for n, x in objective.state_dict().items() if "galleries" in n}
    with torch.no_grad():
        objective.remember(training_samples(prepared, "cpu")(objective.asks_for_samples()))
    again = objective.state_dict()
    for name, tensor in kept_ema.items():
        torch.testing.assert_close(again[name], tensor, equal_nan=True)
    errors = [p["validation/absolute_error/spectrum"] for p in curve_of(tmp_path / "run")]
    assert all(map(math.isfinite, errors))


def test_saved_and_loaded_models_agree(synthetic_shards: Path, tmp_path: Path) -> None:
    """Law 9, through the whole folder: the model that was trained is the model that is loaded."""
    c = config()
    fit(c, synthetic_shards, tmp_path / "run")
    trained = checkpoint.load_model(tmp_path / "run")
    again = checkpoint.load_model(tmp_path / "run" / "checkpoint")
    (batch, *_) = validation_batches(prepare(c, synthetic_shards), "cpu")
    with torch.inference_mode():
        code = trained.objective.encode(batch).point
        assert torch.equal(code, again.objective.encode(batch).point)
    assert json.loads((tmp_path / "run/checkpoint/config.json").read_text())["seed"] == c.seed
    assert code.std() > 0
