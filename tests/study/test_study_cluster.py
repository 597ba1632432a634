"""A cluster's machines must see the store and the data: a token is written here and read there.

That a folder is here and nowhere else is made with a mount that only the asking thread has.
"""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import ray

from daep_ray.errors import ConfigError, StorageError
from daep_ray.shards.read import ShardFolder
from daep_ray.study import cluster
from daep_ray.study.cluster import check_visible
from daep_ray.study.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.usefixtures("ray_session")]
NEW_MOUNTS = 0x00020000  # CLONE_NEWNS of <sched.h>


def alone(folder: Path, work: Callable[[], None]) -> None:
    """Do the work in a thread that has a disk of its own at `folder`.

    The commands are children of that thread, so they see and change its mounts.
    """

    def run() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        commands = (
            ["mount", "--make-rprivate", "/"],
            ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)],
        )
        if libc.unshare(NEW_MOUNTS) or any(
            subprocess.run(c, capture_output=True, check=False).returncode for c in commands
        ):
            pytest.skip("a mount of a thread's own needs root's rights")
        work()

    folder.mkdir()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(run).result()


def test_folders_that_all_machines_see_pass_and_stay_as_they_were(
    synthetic_shards: Path, tmp_path: Path
) -> None:
    shards = ShardFolder.open(synthetic_shards)
    check_visible(Store(tmp_path / "store"), shards)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "store").mkdir()
    check_visible(Store(tmp_path / "store"), shards)
    assert list((tmp_path / "store").iterdir()) == []


def test_a_store_that_another_machine_does_not_see(synthetic_shards: Path, tmp_path: Path) -> None:
    shards = ShardFolder.open(synthetic_shards)

    def ask() -> None:
        said = r"the machine '.*' of the cluster does not see the store '.*/store' .*: give"
        with pytest.raises(ConfigError, match=said) as caught:
            check_visible(Store(tmp_path / "store"), shards)
        assert "\n" not in str(caught.value)

    alone(tmp_path / "store", ask)


def test_data_that_another_machine_does_not_see(synthetic_shards: Path, tmp_path: Path) -> None:
    def ask() -> None:
        data = shutil.copytree(synthetic_shards, tmp_path / "here" / "data")
        with pytest.raises(ConfigError, match=r"does not see the data in '.*/here/data'"):
            check_visible(Store(tmp_path / "store"), ShardFolder.open(data))

    alone(tmp_path / "here", ask)


def test_a_store_that_cannot_be_written(synthetic_shards: Path) -> None:
    with pytest.raises(StorageError, match="/proc/store"):
        check_visible(Store(Path("/proc/store")), ShardFolder.open(synthetic_shards))


def test_the_machines_of_a_cluster_are_those_that_take_trials() -> None:
    (machine,) = cluster._machines()
    assert machine.cpus == ray.cluster_resources()["CPU"]
    assert machine.gpus == ray.cluster_resources().get("GPU", 0.0)
    assert machine.memory is not None
    assert machine.memory > 2**28
