"""Where the trials of a study run: a Ray session of our own, or a cluster's; Tune's folder. [ray]

In: a study. Out: a session with room for its trials, gone at the end, and how many it holds.
"""

import logging
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow.fs
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import daep_ray
from daep_ray import stopping
from daep_ray.config import RunConfig
from daep_ray.errors import ConfigError, StorageError, require_writable, storage_error
from daep_ray.shards.read import ShardFolder
from daep_ray.study import session
from daep_ray.study.room import Machine, check_room, num_datasets, room_here
from daep_ray.study.shared_store import SharedStore
from daep_ray.study.state import Study
from daep_ray.study.store import Store


@contextmanager
def ray_session(study: Study) -> Iterator[session.Resources]:
    """Connect to the cluster, or start a session of our own on this machine.

    Raises:
        ConfigError: the cluster refuses us, has no room for one trial, or none for its files.
    """
    config, gpus = study.spec.base, study.gpus_per_trial
    session.prepare_environment(study.address)
    try:
        if study.address is None:
            found = room_here(config, study.shards, gpus)
            _start(found)
        else:
            _connect(study.address)
            found = _room(config, study.shards, study.store, gpus)
        yield found
    finally:
        with stopping.kept(), session.quiet_standard_error():
            ray.shutdown()
        session.remove(session.temporary_folder() / "ray")


def room_there(
    address: str, config: RunConfig, shards: ShardFolder, store: Store, gpus_per_trial: float
) -> session.Resources:
    """How many trials the cluster holds at once; connected to it only to ask.

    Raises:
        ConfigError: the cluster refuses us, has no room for one trial, or none for its files.
    """
    try:
        _connect(address)
        return _room(config, shards, store, gpus_per_trial)
    finally:
        with stopping.kept(), session.quiet_standard_error():
            ray.shutdown()


def _room(
    config: RunConfig, shards: ShardFolder, store: Store, gpus_per_trial: float
) -> session.Resources:
    """What a trial takes of the cluster, and how many run at once."""
    check_room(config, shards, gpus_per_trial, _machines())
    _check_nodes(config, store)
    check_visible(store, shards)
    total = ray.cluster_resources()
    return session.resources(
        int(total.get("CPU", 0)),
        num_threads=config.runtime.num_threads,
        num_workers=config.runtime.num_workers,
        num_datasets=num_datasets(config, shards),
        gpus_per_trial=gpus_per_trial,
        num_gpus=total.get("GPU", 0.0),
        may_declare=False,
    )


def _start(room: session.Resources) -> None:
    with stopping.kept():
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
        with session.quiet_standard_error(), stopping.kept():
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


def _check_nodes(config: RunConfig, store: Store) -> None:
    """The ranks of one training write and read one folder; a bucket's is of one machine alone."""
    num_nodes = sum(node["Alive"] for node in ray.nodes())
    num_workers = config.runtime.num_workers
    if isinstance(store, SharedStore) and num_workers and num_nodes > 1:
        raise ConfigError(
            f"--workers {num_workers} spreads a training over {num_nodes} machines, and the store "
            f"{store} is worked on in a folder of one: give --workers 0, or a --storage "
            "folder that all of them see"
        )


def _machines() -> list[Machine]:
    """Those of the cluster that take trials; a head may have no CPU for them."""
    offers = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [
        Machine(o["CPU"], o.get("GPU", 0.0), int(o["memory"]) if "memory" in o else None)
        for o in offers
        if o.get("CPU")
    ] or [Machine(0.0, 0.0)]


def check_visible(store: Store, shards: ShardFolder) -> None:
    """Every machine must see the data, and the store unless it is a bucket.

    Raises:
        ConfigError: one does not, with its name. StorageError: the store cannot be written here.
    """
    folder = None if isinstance(store, SharedStore) else store.root
    token, data = secrets.token_hex(8), shards.path.absolute()
    with _token(folder, token):
        looks = {
            node["NodeManagerHostname"]: _look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(folder, token, data)
            for node in ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU")
        }
        for name, look in looks.items():
            if unseen := ray.get(look):
                raise ConfigError(
                    f"the machine {name!r} of the cluster {unseen}: give --storage and --data "
                    "folders that all of its machines share, or a --storage in a bucket"
                )


@contextmanager
def _token(folder: Path | None, token: str) -> Iterator[None]:
    """Meanwhile there is a file of that name in the folder."""
    if folder is None:
        yield
        return
    was_there = folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f".{token}").touch()
    except OSError as error:
        raise storage_error(error, folder) from error
    try:
        yield
    finally:
        (folder / f".{token}").unlink(missing_ok=True)
        if not was_there:
            with suppress(OSError):
                folder.rmdir()


@ray.remote(num_cpus=0)
def _look(folder: Path | None, token: str, data: Path) -> str:
    """What this machine does not see of what the driver sees; empty: it sees all."""
    if not (data / "manifest.json").is_file():
        return f"does not see the data in {str(data)!r}"
    if folder is None:
        return ""
    if not (folder / f".{token}").is_file():
        return f"does not see the store {str(folder)!r} that is written here"
    try:
        require_writable(folder)
    except StorageError as error:
        return str(error).partition(";")[0]
    return ""


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
