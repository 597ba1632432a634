"""Where the trials of a study run: a Ray session of our own, or a cluster's; Tune's folder. [ray]

In: a study. Out: a session with room for its trials, gone at the end, and how many it holds.
"""

import functools
import logging
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow.fs
import ray
import torch

import daep_ray
from daep_ray.config import RunConfig
from daep_ray.errors import ConfigError
from daep_ray.shards.read import ShardFolder
from daep_ray.study import session
from daep_ray.study.shared_store import SharedStore
from daep_ray.study.state import Study
from daep_ray.train.prepare import is_streamed


@contextmanager
def ray_session(study: Study) -> Iterator[session.Resources]:
    """Connect to the cluster, or start a session of our own on this machine.

    Raises:
        ConfigError: the cluster refuses us, has no room for one trial, or none for its files.
    """
    config = study.spec.base
    room = functools.partial(
        session.resources,
        num_threads=config.runtime.num_threads,
        num_workers=config.runtime.num_workers,
        num_datasets=_num_datasets(config, study.shards),
        gpus_per_trial=study.gpus_per_trial,
    )
    session.prepare_environment(study.address)
    try:
        if study.address is None:
            found = room(session.num_cores(), num_gpus=torch.cuda.device_count())
            _start(found)
        else:
            _connect(study.address)
            _check_nodes(study)
            total = ray.cluster_resources()
            cpus, gpus = int(total.get("CPU", 0)), total.get("GPU", 0.0)
            found = room(cpus, num_gpus=gpus, may_declare=False)
        yield found
    finally:
        ray.shutdown()
        session.remove(session.temporary_folder() / "ray")


def _start(room: session.Resources) -> None:
    ray.init(
        address="local",
        num_cpus=room.num_cpus,
        include_dashboard=False,
        object_store_memory=room.object_store_bytes,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(session.temporary_folder() / "ray"),
    )


def _connect(address: str) -> None:
    # a job's workers get its working directory; others get this package as the driver has it
    package = str(Path(daep_ray.__path__[0]))
    runtime_env = {} if session.is_job() else {"py_modules": [package]}
    try:
        with session.quiet_standard_error():
            ray.init(
                address=address,
                runtime_env=runtime_env,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
    except (ConnectionError, ray.exceptions.RaySystemError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"the Ray cluster at {address} does not take us ({first}): check the address and, "
            "where the cluster asks for a token, RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH"
        ) from None


def _check_nodes(study: Study) -> None:
    """The ranks of one training write and read one folder; a bucket's is of one machine alone."""
    num_nodes = sum(node["Alive"] for node in ray.nodes())
    num_workers = study.spec.base.runtime.num_workers
    if isinstance(study.store, SharedStore) and num_workers and num_nodes > 1:
        raise ConfigError(
            f"--workers {num_workers} spreads a training over {num_nodes} machines, and the store "
            f"{study.store} is worked on in a folder of one: give --workers 0, or a --storage "
            "folder that all of them see"
        )


def _num_datasets(config: RunConfig, shards: ShardFolder) -> int:
    """Ray Data pipelines of a trial: one per rank, none where the survey is held in memory."""
    return config.runtime.num_workers if is_streamed(config, shards) else 0


@dataclass(frozen=True)
class Scratch:
    """Tune's own folder: it is needed while it runs, never afterwards."""

    path: str
    filesystem: pyarrow.fs.FileSystem | None


@contextmanager
def scratch(study: Study) -> Iterator[Scratch]:
    """On a cluster every node must see Tune's folder: it lies in the store."""
    if study.address is not None and isinstance(study.store, SharedStore):
        mirror, name = study.store.mirror, f".tune/{secrets.token_hex(8)}"
        try:
            yield Scratch(mirror.path(name), mirror.filesystem)
        finally:
            mirror.delete(name)
        return
    root = session.temporary_folder() if study.address is None else study.store.root
    try:
        yield Scratch(str(root / ".tune"), None)
    finally:
        shutil.rmtree(root / ".tune", ignore_errors=True)
