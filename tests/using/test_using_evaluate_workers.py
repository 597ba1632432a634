"""An evaluation on Ray Data workers: the same bytes for any number of them, and when one dies."""

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from daep_ray.errors import ConfigError
from daep_ray.evaluate.blocks import BlockJob, PartWriter, compute_here, start
from daep_ray.evaluate.gather import gather
from daep_ray.evaluate.run import evaluate
from daep_ray.evaluate.tables import Tables
from daep_ray.objectives.base import Code
from daep_ray.pretrained import load_trained
from daep_ray.shards.read import ShardFolder
from daep_ray.stream.batch import PackedBatch
from daep_ray.train.checkpoint import Trained

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


@pytest.fixture(scope="module")
def trained(run: Path) -> Trained:
    return load_trained(str(run))


def job_of(trained: Trained, out: Path) -> BlockJob:
    """24 samples, nearly each a batch, four batches a part."""
    settings = {"split": "train", "max_objects": 24, "num_draws": 3, "token_budget": 300}
    settings |= {"probe_label": None}
    evaluation = trained.config.evaluation.model_copy(update=settings)
    return BlockJob(out, evaluation, trained.config.objective, batches_per_part=4)


def complete(job: BlockJob, tables: Tables) -> Tables:
    return {**tables, "objects": pq.read_table(job.out / "objects.parquet")}


@pytest.fixture(scope="module")
def expected(
    trained: Trained, pairs: ShardFolder, tmp_path_factory: pytest.TempPathFactory
) -> Tables:
    """In this process."""
    job = job_of(trained, tmp_path_factory.mktemp("here"))
    started = start(trained, pairs, job)
    assert len(started.measured) > 4
    compute_here(started)
    found = complete(job, gather(started))
    whole = evaluate(trained, pairs, job.evaluation)
    assert not [name for name in whole if not found[name].equals(whole[name])]
    return found


def dying_once(mark: Path) -> Callable[[str], Trained]:
    """Loads a model that kills its process, with SIGKILL, in the middle of a part."""

    def load(place: str) -> Trained:
        loaded = load_trained(place)
        encode, calls = loaded.objective.encode, []

        def encode_or_die(batch: PackedBatch) -> Code:
            calls.append(batch)
            if len(calls) == 6 and not mark.exists():
                mark.write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
            return encode(batch)

        loaded.objective.encode = encode_or_die  # type: ignore[method-assign]
        return loaded

    return load


@pytest.mark.parametrize(("num_workers", "one_dies"), [(1, False), (2, True), (3, False)])
def test_the_same_numbers_for_any_number_of_workers_and_when_one_dies(
    run: Path,
    pairs: ShardFolder,
    trained: Trained,
    expected: Tables,
    tmp_path: Path,
    num_workers: int,
    one_dies: bool,
) -> None:
    from daep_ray.evaluate.jobs import compute_on_workers

    out, mark = tmp_path / "out", tmp_path / "died"
    started = start(trained, pairs, job_of(trained, out))
    load = dying_once(mark) if one_dies else load_trained
    about = (str(run), Path(pairs.path), started.job, started.prepared)
    make = functools.partial(PartWriter, load, *about)
    compute_on_workers(started.missing(), make, num_workers, 1)
    assert started.missing() == []
    assert mark.exists() == one_dies
    assert not one_dies or int(mark.read_text()) != os.getpid()
    found = complete(started.job, gather(started))
    assert not [name for name in expected if not found[name].equals(expected[name])]
    assert [p.name for p in out.iterdir()] == ["objects.parquet"]


def test_a_part_that_kills_every_worker_ends_the_job() -> None:
    from daep_ray.evaluate.jobs import compute_on_workers

    def make() -> Callable[[str], None]:
        return lambda item: os.kill(os.getpid(), signal.SIGKILL) if item == "3" else None

    with pytest.raises(ConfigError, match="workers died 2 times at the same part"):
        compute_on_workers(["1", "2", "3", "4"], make, 1, 1, most_deaths=2)
