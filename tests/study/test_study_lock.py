"""A lock has one holder at a time, and a dead holder's lock is taken over."""

import itertools
import json
import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from daep_ray.study import lock
from daep_ray.study.lock import Holder, held, read_holder

SPAWN = multiprocessing.get_context("fork")


def count_up(path: Path, counter: Path, times: int) -> None:
    for _ in range(times):
        with held(path, poll_seconds=0.001):
            number = int(counter.read_text())
            time.sleep(0.002)
            counter.write_text(str(number + 1))


def hold_for_ever(path: Path) -> None:
    with held(path):
        time.sleep(600)


def wait_for(path: Path) -> Holder:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if holder := read_holder(path):
            return holder
        time.sleep(0.01)
    raise AssertionError("nobody took the lock")


def test_processes_take_turns(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    workers = [
        SPAWN.Process(target=count_up, args=(tmp_path / "lock", counter, 10)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counter.read_text() == "40"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["counter"]


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    worker = SPAWN.Process(target=hold_for_ever, args=(path,))
    worker.start()
    assert wait_for(path).pid == worker.pid
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    waits: list[Holder] = []
    with held(path, on_wait=waits.append):
        assert read_holder(path) == Holder(
            socket.gethostname(), os.getpid(), lock._start_of(os.getpid()), lock.this_machine()
        )
    assert waits == []  # at once: nobody's heart is listened to
    assert not path.exists()


def test_a_living_holder_is_waited_for_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    def refuse(holder: Holder) -> None:
        raise RuntimeError(f"held by {holder.pid}")

    expected = pytest.raises(RuntimeError, match=str(os.getpid()))
    with held(path), expected, held(path, on_wait=refuse):
        pass
    assert not path.exists()


def test_a_number_that_another_process_has_now_is_no_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(
        json.dumps(vars(Holder(socket.gethostname(), os.getpid(), "12345", lock.this_machine())))
    )
    with held(path):
        pass


@pytest.mark.parametrize(
    "other",
    [
        Holder("elsewhere", 1, "1", "elsewhere boot"),
        Holder(socket.gethostname(), 1, "1", f"{socket.gethostname()} boot"),  # of the same name
        Holder(socket.gethostname(), 1, "1"),  # of a version that did not tell the machine
    ],
    ids=["other name", "same name", "unknown"],
)
def test_another_machines_lock_is_broken_when_its_heart_stops(
    other: Holder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count()  # a second passes from look to look
    monkeypatch.setattr(lock.time, "monotonic", lambda: float(next(clock)))
    path = tmp_path / "lock"
    path.write_text(json.dumps({name: value for name, value in vars(other).items() if value}))
    started = next(clock)
    waits: list[Holder] = []
    with held(path, poll_seconds=0.0, on_wait=waits.append):
        assert next(clock) - started > lock.SILENT_SECONDS
    assert waits == [other]


def test_another_hosts_lock_holds_while_its_heart_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(lock.time, "monotonic", lambda: clock[0])
    path = tmp_path / "lock"
    other = Holder(socket.gethostname(), 1, "1", f"{socket.gethostname()} boot")
    path.write_text(json.dumps(vars(other)))
    watch = lock._Watch()
    for i in range(8):
        os.utime(path, ns=(i, i))
        assert not watch.is_dead(path, other)
        clock[0] += 0.9 * lock.SILENT_SECONDS
    assert not watch.is_dead(path, other)
    clock[0] += 0.2 * lock.SILENT_SECONDS
    assert watch.is_dead(path, other)


def test_a_lock_without_a_name_was_left_by_a_dead_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "UNWRITTEN_SECONDS", 0.1)
    path = tmp_path / "lock"
    path.touch()
    with held(path):
        assert wait_for(path).pid == os.getpid()


def test_the_holder_keeps_its_heart_beating(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.05)
    path = tmp_path / "lock"
    with held(path):
        os.utime(path, ns=(0, 0))
        deadline = time.monotonic() + 60
        while path.stat().st_mtime_ns == 0:
            assert time.monotonic() < deadline, "no beat"
            time.sleep(0.01)
