"""A Ray head of our own, as `cluster/README.md` says to start one, and what is submitted to it.

In: nothing. Out: a `Head` that takes jobs, ended by its pid; a second node that may be killed.
"""

import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RAY = Path(sys.executable).with_name("ray")
START_SECONDS, STOP_SECONDS, JOB_SECONDS = 240, 60, 900


@dataclass(frozen=True)
class Head:
    """A running head: where jobs are submitted, with which environment."""

    address: str  # takes jobs
    cluster: str  # HOST:PORT that drivers and nodes connect to
    environment: dict[str, str]

    def submit(self, *words: object, token: str | None = None) -> subprocess.CompletedProcess[str]:
        """`ray job submit` from the repository; `token` instead of the head's own."""
        environment = dict(self.environment)
        if token is not None:
            environment["RAY_AUTH_TOKEN_PATH"] = token
        return subprocess.run(
            self.command(*words),
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=JOB_SECONDS,
            check=False,
        )

    def command(self, *words: object) -> list[str]:
        """The command line that submits `words`; it ends when they do."""
        submit = (RAY, "job", "submit", "--address", self.address, "--working-dir", ".", "--")
        return [*map(str, submit), *map(str, words)]


def free_ports(num: int) -> list[int]:
    """Ports that nobody has now, nor gets unasked: Ray gives workers 10002 to 19999, Linux gives
    32768 and more."""
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 200):
        with socket.socket() as attempt, contextlib.suppress(OSError):
            attempt.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == num:
            return found
    raise AssertionError("no free ports")


def write_token(path: Path) -> Path:
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))
    return path


@contextlib.contextmanager
def running_head() -> Iterator[Head]:
    """A head in a folder with a short name; one CPU, so that one training runs at a time."""
    folder = Path(tempfile.mkdtemp(prefix="rj", dir="/tmp"))
    ours = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment = ours | {
        # a job's `python` is looked up on the PATH that the head was started with
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),  # no token of the user's is read, none is left behind
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_JOB_STOP_WAIT_TIME_S": "60",  # a slow machine is no failure
        "RAY_health_check_period_ms": "500",  # a node is dead when 5 looks in turn find nobody
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(write_token(folder / "token")),
    }
    port, dashboard, agent, client = free_ports(4)
    command = [
        *(str(RAY), "start", "--head", "--block", "--node-ip-address=127.0.0.1"),
        *(f"--port={port}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
        *(f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"),
        *("--num-cpus=1", f"--object-store-memory={200 * 2**20}", f"--temp-dir={folder}"),
        "--disable-usage-stats",
    ]
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for(process, folder / "head.log")
        yield Head(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{port}", environment)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def second_node(head: Head, folder: Path) -> Iterator[int]:
    """The pid of a node with one CPU that has joined the head; at the end it is killed."""
    (agent,) = free_ports(1)
    command = [
        *(str(RAY), "start", "--block", f"--address={head.cluster}"),
        *("--node-ip-address=127.0.0.1", f"--dashboard-agent-listen-port={agent}"),
        *("--num-cpus=1", f"--object-store-memory={100 * 2**20}", "--disable-usage-stats"),
    ]
    with (folder / "node.log").open("w") as log:
        process = subprocess.Popen(command, env=head.environment, stdout=log, stderr=log)
    try:
        wait_for(process, folder / "node.log")
        yield process.pid
    finally:
        kill_machine(process.pid)
        process.wait()


def kill_machine(pid: int) -> None:
    """SIGKILL a process and all that it started, none of which sees another one die."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for each in family(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)


def family(pid: int) -> set[int]:
    """A process, those that it started, and so on."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found, added = {pid}, {pid}
    while added:
        added = {child for child, parent in parents.items() if parent in added} - found
        found |= added
    return found


def wait_for(process: subprocess.Popen[bytes], log: Path) -> None:
    """Until `ray start` says that all its parts are up; the dashboard answers before that."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        if "will now block forever" in log.read_text():
            return
        time.sleep(0.2)
    raise AssertionError(f"no head after {START_SECONDS} s: {log.read_text()}")
