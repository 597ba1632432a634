"""Where a study runs, settled before Ray is imported: address, environment, token, CPU rule.

Ray reads its environment while it is imported, so `prepare_environment` comes first.
"""

import atexit
import functools
import math
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daep_ray.errors import ConfigError, require_writable, storage_error
from daep_ray.study.lock import create_lock, read_holder

OBJECT_STORE_BYTES = 200 * 2**20  # small tables only: workers read the shards themselves
STREAM_BYTES = 2**30  # more for each streamed dataset: windows of about 130 MB wait in the store
_CONNECT_SECONDS = 5.0
_SETTINGS_FRAME = b"\x04"  # the type of both sides' first frame (RFC 9113, section 3.4)
_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_PREFIX = "daep-"
_LONGEST_TEMP = 40  # Ray adds about 60 characters, a socket's path may have 107

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a worker group then ends in 1 s, not in 5
    "RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S": "120",  # a starved stream fails, not hangs
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a scheduler judges some reports, not all
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the study; what is done stays done
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_NUM_REDIS_GET_RETRIES": "3",  # a cluster that refuses our token is asked for 3 s, not 20
}


def prepare_environment(address: str | None) -> None:
    """Quiet settings, unless the user chose others, and a token for a session of our own."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if address is None and not _has_own_token_settings():
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(_token_file())


def _has_own_token_settings() -> bool:
    return any(
        name in os.environ for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    )


@functools.cache
def temporary_folder() -> Path:
    """A short folder of this process alone, gone when it ends; those of killed ones go too.

    Raises:
        StorageError: the folder for temporary files cannot be written.
    """
    wanted = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    parent = Path(wanted if len(wanted) <= _LONGEST_TEMP else "/tmp")
    for owner in parent.glob(f"{_PREFIX}*/owner"):
        holder = read_holder(owner)
        if holder and holder.is_dead_here():
            remove(owner.parent)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    except OSError as error:
        raise storage_error(error, parent) from error
    create_lock(folder / "owner")
    atexit.register(remove, folder)
    return folder


def remove(folder: Path) -> None:
    """Remove a folder that Ray's last processes may still be writing to."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


@functools.cache
def _token_file() -> Path:
    # Ray would write one into the home folder, which then changes later `ray start`s
    path = temporary_folder() / "token"
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))
    return path


def is_job() -> bool:
    """Whether this process is the entrypoint of a Ray job."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def require_kept(option: str, folder: Path) -> None:
    """Refuse a folder for results that cannot be written, or that a job throws away.

    Raises:
        UserError: in one sentence.
    """
    if is_job() and not folder.is_absolute():
        raise ConfigError(
            f"{option} {str(folder)!r} is relative, and a Ray job runs in a temporary copy of the "
            "folder that is thrown away: give an absolute path"
        )
    require_writable(folder)


def address_of_cluster(asked: str | None) -> str | None:
    """The cluster to connect to: the one asked for, the job's, `RAY_ADDRESS`; None: our own."""
    return asked or os.environ.get("RAY_ADDRESS") or ("auto" if is_job() else None)


def check_reachable(address: str) -> None:
    """Refuse within seconds an address where nothing listens.

    Raises:
        ConfigError: in one sentence.
    """
    if address == "auto":
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not host or not port.isdigit():
        raise ConfigError(f"--address {address!r} is no HOST:PORT: write 10.0.0.1:6379, or auto")
    try:
        is_grpc = _speaks_grpc(host.strip("[]"), int(port))
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"no Ray cluster answers at --address {address} ({_reason(error)}): start one with "
            "`ray start --head`, or leave --address out"
        ) from None
    if not is_grpc:
        raise ConfigError(
            f"what answers at --address {address} is no Ray cluster: give the port that "
            "`ray start --head` printed (6379), not the dashboard's (8265)"
        )


def _speaks_grpc(host: str, port: int) -> bool:
    """Whether an HTTP/2 greeting is answered by one; Ray itself would try for minutes.

    Raises:
        OSError: nothing listens there.
    """
    with socket.create_connection((host, port), _CONNECT_SECONDS) as connection:
        connection.sendall(_HTTP2_GREETING)
        try:
            return connection.recv(9)[3:4] == _SETTINGS_FRAME
        except (TimeoutError, ConnectionResetError):
            return False


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()


@contextmanager
def quiet_standard_error() -> Iterator[None]:
    """Keep what C++ code writes there to itself: the exception that follows says it once."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


@dataclass(frozen=True)
class Resources:
    """What a trial takes and how many run at once."""

    num_cpus: int  # logical CPUs of the session
    num_concurrent: int  # trials
    trial_cpus: float
    trial_gpus: float
    object_store_bytes: int = OBJECT_STORE_BYTES  # of a session of our own


def resources(
    num_cores: int,
    *,
    num_threads: int,
    num_workers: int,
    num_datasets: int,
    gpus_per_trial: float = 0.0,
    num_gpus: float = 0.0,
    may_declare: bool = True,
) -> Resources:
    """Share cores among trials: never more threads than cores over everything that runs at once.

    A trial with workers takes next to nothing itself; its workers and one whole CPU for each of
    Ray Data's datasets come on top, and a session without room for all of them hangs. On our own
    session (`may_declare`) logical CPUs are declared to make that room.

    Raises:
        ConfigError: not even one trial fits.
    """
    trial_cpus = 0.01 if num_workers else float(num_threads)
    threads = max(1, num_workers) * num_threads
    whole = trial_cpus + (num_workers * num_threads + num_datasets if num_workers else 0)
    num_concurrent = max(1, num_cores // threads) if may_declare else int(num_cores / whole)
    if gpus_per_trial:
        num_concurrent = min(num_concurrent, num_sharing(num_gpus, gpus_per_trial))
    if num_concurrent < 1:
        raise ConfigError(
            f"one trial needs {whole:g} CPUs and {gpus_per_trial:g} GPUs, and there are "
            f"{num_cores:g} and {num_gpus:g}: lower --workers, --gpus-per-trial or "
            "--set runtime.num_threads"
        )
    num_cpus = max(num_cores, math.ceil(num_concurrent * whole)) if may_declare else num_cores
    assert num_concurrent * whole <= num_cpus + 1e-9, "this session could hang"
    store_bytes = OBJECT_STORE_BYTES + num_concurrent * num_datasets * STREAM_BYTES
    return Resources(num_cpus, num_concurrent, trial_cpus, gpus_per_trial, store_bytes)


def num_sharing(num_gpus: float, gpus_per_trial: float) -> int:
    """Trials that have their part of the GPUs at once: a part of one GPU never spans two."""
    if gpus_per_trial > 1:
        return int(num_gpus / gpus_per_trial)
    return int(num_gpus) * int(1 / gpus_per_trial + 1e-9)


def check_share(gpus_per_trial: float) -> None:
    """Refuse one and a half GPUs, say, which Ray does not give.

    Raises:
        ConfigError: in one sentence.
    """
    if gpus_per_trial > 1 and gpus_per_trial != int(gpus_per_trial):
        raise ConfigError(
            f"--gpus-per-trial {gpus_per_trial:g} is neither a part of one GPU nor a whole number: "
            "give 0.5, 1 or 2, say"
        )


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
