"""An evaluation in parts against the one in one piece; shares of objects against all of them."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daep_ray.evaluate import blocks, gather
from daep_ray.evaluate.blocks import BlockJob, compute_here, start
from daep_ray.evaluate.over_objects import Kind, Moments
from daep_ray.evaluate.reconstruction import SortedErrors
from daep_ray.evaluate.run import evaluate
from daep_ray.evaluate.sample_table import from_tables, share_of, to_table
from daep_ray.evaluate.summary import Summary
from daep_ray.evaluate.tables import Tables
from daep_ray.shards.read import ShardFolder
from daep_ray.stream import plan
from daep_ray.stream.bins import Blocks, evaluation_batches
from daep_ray.stream.fitted import FittedRecipe
from daep_ray.train.checkpoint import Trained

from .conftest import Oracle, settings, trained


@pytest.fixture
def model(fitted: FittedRecipe) -> Trained:
    return trained(Oracle(0.3), fitted)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few row groups each."""
    monkeypatch.setattr(plan, "WINDOW_POINTS", 1000)


def job_of(out: Path, model: Trained, **changes: object) -> BlockJob:
    usual = {"split": "train", "token_budget": 120, "max_objects": 100, "probe_label": None}
    return BlockJob(out, settings(**usual | changes), model.config.objective, batches_per_part=5)


def in_parts(model: Trained, folder: ShardFolder, job: BlockJob) -> Tables:
    started = start(model, folder, job)
    compute_here(started)
    tables = gather.gather(started)
    return {**tables, "objects": pq.read_table(job.out / "objects.parquet")}


def unlike(a: Tables, b: Tables) -> list[str]:
    """Names of the tables that differ in any bit."""
    return [name for name in {**a, **b} if not a[name].equals(b[name])]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    "asked",
    [
        {"max_objects": 100_000, "token_budget": 480},
        {"split": "test", "max_objects": 37, "probe_label": "class", "num_probe_splits": 2},
    ],
)
def test_in_parts_every_table_is_that_of_one_piece(
    model: Trained, folder: ShardFolder, tmp_path: Path, asked: dict[str, object]
) -> None:
    job = job_of(tmp_path, model, **asked)
    assert len(start(model, folder, job).measured) > 3
    assert not unlike(in_parts(model, folder, job), evaluate(model, folder, job.evaluation))
    assert [p.name for p in tmp_path.iterdir()] == ["objects.parquet"]


@pytest.mark.usefixtures("small_blocks")
def test_shares_of_the_objects_differ_by_rounding_alone(
    model: Trained, folder: ShardFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tmp_path, model, probe_label="class", num_probe_splits=2)
    whole = evaluate(model, folder, job.evaluation)
    monkeypatch.setattr(gather, "SAMPLES_PER_SHARE", 40)
    shared = in_parts(model, folder, job)
    keys = ["modality", "object_id", "estimate", "metric"]
    a, b = (t["objects"].to_pandas().set_index(keys).sort_index() for t in (whole, shared))
    assert a.equals(b)  # an object's own number is the same bit by bit
    # which samples are shown is chosen from the first share
    exact = ("profiles", "confusion", "codes")
    assert not [name for name in exact if not whole[name].equals(shared[name])]
    for name in ("metrics", "calibration", "groups"):
        a, b = whole[name].to_pandas(), shared[name].to_pandas()
        numbers = ["value", "sd"]
        assert a.drop(columns=numbers).equals(b.drop(columns=numbers)), name
        for number in numbers:
            np.testing.assert_allclose(a[number], b[number], rtol=1e-12, err_msg=name)


def test_what_was_interrupted_goes_on_and_is_the_same(
    model: Trained, folder: ShardFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    plain = blocks.write_part

    def dying(started: blocks.Started, item: str) -> None:
        if len(done) == 5:
            raise KeyboardInterrupt
        plain(started, item)
        done.append(item)

    job = job_of(tmp_path / "cut", model, max_objects=60)
    begun = start(model, folder, job)
    with monkeypatch.context() as patch:
        patch.setattr(blocks, "write_part", dying)
        with pytest.raises(KeyboardInterrupt):
            compute_here(begun)
    again = start(model, folder, job)
    assert not set(again.missing()) & set(done)
    assert set(again.missing()) | set(done) == {*blocks.QUESTIONS, *again.measured}
    whole = job_of(tmp_path / "whole", model, max_objects=60)
    assert not unlike(in_parts(model, folder, job), in_parts(model, folder, whole))


def test_parts_of_other_settings_are_not_taken(
    model: Trained, folder: ShardFolder, tmp_path: Path
) -> None:
    compute_here(start(model, folder, job_of(tmp_path, model, max_objects=40, seed=1)))
    found = in_parts(model, folder, job_of(tmp_path, model, max_objects=40))
    alone = in_parts(model, folder, job_of(tmp_path / "b", model, max_objects=40))
    assert not unlike(found, alone)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_in_parts_are_the_batches_of_an_evaluation(
    folder: ShardFolder, fitted: FittedRecipe
) -> None:
    where = (folder, fitted, ("photometry",), "train", 120)
    whole = [batch.sample_ids for batch, _ in evaluation_batches(*where, max_samples=90)]
    cut = Blocks.of(*where, max_samples=90)
    found = [
        batch.sample_ids
        for number in range(len(cut))
        for first in range(0, cut.num_batches(number), 3)
        for batch, _ in cut.batches(number, slice(first, first + 3))
    ]
    assert found == whole
    assert sum(map(len, found)) == 90


@given(st.lists(st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), max_size=9), max_size=5))
def test_moments_of_parts_join_to_those_of_all(parts: list[list[float]]) -> None:
    found = Moments.of(np.zeros(0))
    for part in parts:
        found = found.joined(Moments.of(np.array(part)))
    values = np.array([x for part in parts for x in part if not np.isnan(x)])
    assert found.count == len(values)
    assert found.num_positive == (values > 0).sum()
    if len(values):
        assert found.mean == pytest.approx(values.mean(), rel=1e-9, abs=1e-6)
    if len(values) > 1:
        assert found.sd == pytest.approx(values.std(ddof=1), rel=1e-6, abs=1e-6)


def numbers(num: int, seed: int) -> SortedErrors:
    """Of samples of few objects, with gaps."""
    rng = np.random.default_rng(seed)
    ids = np.array(sorted(f"s{i:03d}" for i in range(num)), dtype=str)
    columns = {("draws", "crps"): rng.normal(size=num), ("new", "metric"): rng.normal(size=num)}
    columns["new", "metric"][rng.random(num) < 0.3] = np.nan
    about = {"class": rng.choice(["Ia", "", "II"], num), "phase": rng.normal(size=num)}
    objects = np.array([f"o{i}" for i in rng.integers(0, 5, num)], dtype=str)
    return SortedErrors(ids, objects, rng.integers(1, 9, num), rng.random(num), columns, about)


@given(st.integers(1, 40), st.integers(0, 10**6), st.integers(1, 4))
def test_numbers_of_any_kind_come_back_from_their_parts(num: int, seed: int, cuts: int) -> None:
    """A kind and metrics that nothing else knows of."""
    known: dict[Kind, SortedErrors] = {
        ("errors", "spectrum", ""): numbers(num, seed),
        ("of tomorrow", "photometry", "spectrum"): numbers(num, seed + 1),
    }
    place = np.random.default_rng(seed).integers(0, cuts, num)
    parts = [
        to_table({kind: errors.where(place == cut) for kind, errors in known.items()})
        for cut in range(cuts)
    ]
    found = from_tables(parts)
    assert found.keys() == known.keys()
    for kind, errors in known.items():
        for name in ("sample_ids", "object_ids", "lengths", "amplitudes"):
            np.testing.assert_array_equal(getattr(found[kind], name), getattr(errors, name))
        for own, read in ((errors.columns, found[kind].columns), (errors.about, found[kind].about)):
            assert list(read) == list(own) or set(read) == set(own)
            for name, values in own.items():
                np.testing.assert_array_equal(read[name], values)
    assert Summary.of(found).over.keys() == known.keys()


def test_all_samples_of_an_object_are_in_one_share() -> None:
    table = to_table({("errors", "m", ""): numbers(40, 0)})
    share = share_of(table, 3)
    of_object = dict(zip(table["object_id"].to_pylist(), share.tolist(), strict=True))
    assert share.tolist() == [of_object[o] for o in table["object_id"].to_pylist()]
    assert len(set(share.tolist())) > 1
