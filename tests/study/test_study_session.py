"""Resources that cannot hang, an address that is checked in time, a token of our own."""

import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daep_ray.errors import ConfigError
from daep_ray.study import session


@pytest.mark.parametrize("num_cores", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("num_workers", [0, 1, 2, 4])
@pytest.mark.parametrize("streams", [False, True])
def test_everything_that_runs_at_once_has_its_cpus(
    num_cores: int, num_threads: int, num_workers: int, streams: bool
) -> None:
    num_datasets = num_workers if streams else 0
    found = session.resources(
        num_cores, num_threads=num_threads, num_workers=num_workers, num_datasets=num_datasets
    )
    per_trial = found.trial_cpus
    if num_workers:
        # worker groups and one whole CPU per dataset come beside the trial (Ray issue 54305)
        per_trial += num_workers * num_threads + num_datasets
    assert found.num_concurrent * per_trial <= found.num_cpus
    threads = max(1, num_workers) * num_threads
    assert found.num_concurrent == 1 or found.num_concurrent * threads <= num_cores


def test_two_cores_train_two_models() -> None:
    found = session.resources(2, num_threads=1, num_workers=0, num_datasets=0)
    assert (found.num_concurrent, found.trial_cpus, found.num_cpus) == (2, 1.0, 2)


def test_a_cluster_without_room_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs 4.01 CPUs .* there are 2"):
        session.resources(2, num_threads=1, num_workers=2, num_datasets=2, may_declare=False)
    with pytest.raises(ConfigError, match="1 GPUs"):
        session.resources(2, num_threads=1, num_workers=0, num_datasets=0, gpus_per_trial=1)


def test_a_gpu_is_shared_by_as_many_trials_as_asked_for() -> None:
    found = session.resources(
        16, num_threads=1, num_workers=0, num_datasets=0, gpus_per_trial=0.25, num_gpus=1
    )
    assert found.num_concurrent == 4


@pytest.mark.parametrize(
    ("num_gpus", "gpus_per_trial", "expected"),
    [(1, 0.25, 4), (2, 0.6, 2), (2, 0.3, 6), (8, 1, 8), (8, 3, 2), (1, 0.1, 10), (0, 0.5, 0)],
)
def test_a_part_of_a_gpu_never_spans_two(
    num_gpus: int, gpus_per_trial: float, expected: int
) -> None:
    assert session.num_sharing(num_gpus, gpus_per_trial) == expected


def test_one_gpu_and_a_half_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--gpus-per-trial 1\.5"):
        session.check_share(1.5)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nonsense", "HOST:PORT"),
        ("host:port", "HOST:PORT"),
        (":6379", "HOST:PORT"),
        ("127.0.0.1:99999", "no Ray cluster answers"),
        ("no-such-host.invalid:6379", "no Ray cluster answers"),
    ],
)
def test_a_wrong_address_is_refused_within_seconds(address: str, message: str) -> None:
    started = time.monotonic()
    with pytest.raises(ConfigError, match=message) as caught:
        session.check_reachable(address)
    assert time.monotonic() - started < 8
    assert "\n" not in str(caught.value)


@contextmanager
def answering(words: bytes) -> Iterator[int]:
    """A port that answers whatever it is told with `words`."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(words)

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_a_port_that_is_not_rays_is_told_from_one_that_is() -> None:
    with answering(bytes([0, 0, 6, 4, 0, 0, 0, 0, 0])) as port:  # HTTP/2 settings, as gRPC sends
        session.check_reachable(f"127.0.0.1:{port}")
    refused = pytest.raises(ConfigError, match="no Ray cluster: give the port")
    with answering(b"HTTP/1.1 400 Bad Request") as port, refused:
        session.check_reachable(f"127.0.0.1:{port}")
    with pytest.raises(ConfigError, match="refused"):
        session.check_reachable(f"127.0.0.1:{port}")


def test_where_a_study_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert session.address_of_cluster(None) is None
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert session.address_of_cluster(None) == "auto"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert session.address_of_cluster(None) == "10.0.0.1:6379"
    assert session.address_of_cluster("10.0.0.2:6379") == "10.0.0.2:6379"


def run_python(code: str, tmp_path: Path) -> str:
    environment = {"PATH": "/usr/bin:/bin", "RAY_TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_token_is_ours_alone_and_goes_with_us(short_folder: Path) -> None:
    code = (
        "import os; from daep_ray.study.session import prepare_environment as p; p(None);"
        "f = os.environ['RAY_AUTH_TOKEN_PATH'];"
        "print(os.environ['RAY_AUTH_MODE'], oct(os.stat(f).st_mode), len(open(f).read()), f)"
    )
    mode, permissions, length, path = run_python(code, short_folder).split()
    assert (mode, length) == ("token", "64")
    assert stat.S_IMODE(int(permissions, 8)) == 0o600
    assert Path(path).is_relative_to(short_folder)
    assert not Path(path).exists()
    assert list(short_folder.iterdir()) == []  # nor is there a ~/.ray/auth_token


def test_a_killed_process_folder_goes_with_the_next(short_folder: Path) -> None:
    prepare = "from daep_ray.study.session import temporary_folder as t; t();"
    with pytest.raises(subprocess.CalledProcessError):
        run_python(prepare + "import os; os._exit(9)", short_folder)
    assert len(list(short_folder.glob("daep-*"))) == 1
    run_python(prepare, short_folder)
    assert list(short_folder.glob("daep-*")) == []


def test_a_users_own_token_is_left_alone(short_folder: Path) -> None:
    code = (
        "import os; os.environ['RAY_AUTH_MODE'] = 'disabled';"
        "from daep_ray.study.session import prepare_environment as p; p(None);"
        "print(os.environ['RAY_AUTH_MODE'], 'RAY_AUTH_TOKEN_PATH' in os.environ)"
    )
    assert run_python(code, short_folder) == "disabled False"
