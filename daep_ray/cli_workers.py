"""The Ray sessions of commands with `--workers N`, and the progress of a training. [ray]

In: a configuration and the training's folder. Ray's own chatter stays in its log files; progress is
told from the learning curve that the workers write.
"""

import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.data

from daep_ray import stopping
from daep_ray.config import RunConfig
from daep_ray.study import session
from daep_ray.train.progress import Line, read_curve


@contextmanager
def ray_workers(config: RunConfig, folder: Path, echo: Callable[[str], None]) -> Iterator[None]:
    """A quiet Ray session for a training with workers, whose progress is told from its curve."""
    if config.runtime.num_workers == 0:
        yield
        return
    # raised by Ray Train's own defaults: nothing that a user could change
    warnings.filterwarnings("ignore", message=".*exclude_resources.*")
    _start_ray(config)
    is_over = threading.Event()
    budget = config.optimisation.num_objects
    teller = threading.Thread(target=_tell, args=(folder, budget, is_over, echo), daemon=True)
    teller.start()
    try:
        yield
    finally:
        is_over.set()
        teller.join()
        with stopping.kept(), session.quiet_standard_error():
            ray.shutdown()


@contextmanager
def ray_jobs(num_workers: int, num_threads: int, asked: str | None) -> Iterator[None]:
    """A quiet Ray session for one Ray Data job, of our own or on the cluster `asked` for.

    Raises:
        ConfigError: nothing answers at that address.
    """
    address = session.address_of_cluster(asked)
    # what it would log as an error is raised as well
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    if address is not None:
        _connect(address)
    else:
        room = session.resources(
            session.num_cores(), num_threads=num_threads, num_workers=num_workers, num_datasets=1
        )
        _start(room.num_cpus)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        with stopping.kept(), session.quiet_standard_error():
            ray.shutdown()


def _start_ray(config: RunConfig) -> None:
    """Connect to the cluster of RAY_ADDRESS or of the job, or start a session of our own."""
    address = session.address_of_cluster(None)
    if address is not None:
        _connect(address)
        return
    runtime = config.runtime
    room = session.resources(
        session.num_cores(),
        num_threads=runtime.num_threads,
        num_workers=runtime.num_workers,
        num_datasets=runtime.num_workers,
    )
    _start(room.num_cpus)


_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


def _connect(address: str) -> None:
    session.check_reachable(address)
    with stopping.kept():
        ray.init(address=address, **_QUIET)


def _start(num_cpus: int) -> None:
    with stopping.kept():
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            _temp_dir=str(session.temporary_folder()),
            **_QUIET,
        )


def _tell(folder: Path, budget: int, is_over: threading.Event, echo: Callable[[str], None]) -> None:
    """A line for every new point of the training's curve."""
    path = folder / "metrics.jsonl"
    line = Line(echo, budget, 0.0)
    before = read_curve(path)
    told, line.last_objects = len(before), int(before[-1]["num_objects"]) if before else 0
    while not is_over.wait(1.0):
        points = read_curve(path)
        if len(points) > told:
            line.maybe(int(points[-1]["num_objects"]), points[-1]["train/loss"])
        told = len(points)
