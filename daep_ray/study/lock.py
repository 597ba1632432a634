"""A lock file that says who holds it, so that no fingerprint is trained twice at once.

`with held(path): ...` writes host, process and its start time into `path`. A lock whose process is
dead is broken: on this machine by looking at the process, for another one by watching whether its
heartbeat still moves (file clocks of two machines are never compared). Two machines, or containers,
may have one host name: a machine is told by its boot and by whose process numbers these are.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from daep_ray.errors import storage_error

HEARTBEAT_SECONDS = 10.0
SILENT_SECONDS = 60.0  # a holder elsewhere that did not move for so long is dead
UNWRITTEN_SECONDS = 5.0  # whoever made an empty lock file died before writing its name


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    host: str
    pid: int
    started: str  # the process' start: a number may be given to another process later
    machine: str = ""  # "": an earlier version's, which did not tell

    @property
    def is_here(self) -> bool:
        """Whether its process would be seen from this one."""
        return self.machine == this_machine()

    def is_dead_here(self) -> bool:
        """Whether a holder on this machine has ended."""
        return self.is_here and _start_of(self.pid) != self.started


def this_machine() -> str:
    """Host name, boot and process numbers: equal for processes that see each other."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # where there is no /proc the name must do
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


@contextmanager
def held(
    path: Path,
    *,
    poll_seconds: float = 0.5,
    on_wait: Callable[[Holder], None] | None = None,
) -> Iterator[None]:
    """Hold the lock `path`, waiting while a living process holds it.

    `on_wait` is called once with the holder before waiting; it may raise to refuse instead.

    Raises:
        StorageError: the lock cannot be written.
    """
    _acquire(path, poll_seconds, on_wait)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        with suppress(OSError):
            path.unlink()


def _acquire(path: Path, poll_seconds: float, on_wait: Callable[[Holder], None] | None) -> None:
    watched = _Watch()
    has_told = False
    while not create_lock(path):
        holder = read_holder(path)
        if watched.is_dead(path, holder):
            _break(path, holder)
        elif holder is None:  # released just now, or about to be written
            time.sleep(0.01)
        else:
            if on_wait and not has_told:
                on_wait(holder)
                has_told = True
            time.sleep(poll_seconds)


def create_lock(path: Path) -> bool:
    """Make the lock ours; False if it is there already."""
    number = os.getpid()
    me = Holder(socket.gethostname(), number, _start_of(number), this_machine())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # exclusive creation, not a hard link: mounted object stores have no links
        with path.open("x") as file:
            file.write(json.dumps(asdict(me)))
    except FileExistsError:
        return False
    except OSError as error:
        raise storage_error(error, path) from error
    return True


def read_holder(path: Path) -> Holder | None:
    """Who holds a lock; None if nobody does, or who does is about to write it."""
    try:
        return Holder(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _break(path: Path, holder: Holder | None) -> None:
    """Take a dead holder's lock away, unless somebody did so before and holds it now."""
    grave = path.with_name(f".{path.name}.broken.{os.getpid()}.{threading.get_ident()}")
    with suppress(OSError):
        path.rename(grave)
        if read_holder(grave) == holder:
            grave.unlink()
        else:  # it had a new, living holder: give it back
            grave.rename(path)


def _start_of(pid: int) -> str:
    """Start time of a living process in clock ticks since boot; "" if there is none."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _start_without_proc(pid)
    is_zombie = after_name[0] in "ZX"
    return "" if is_zombie else after_name[19]


def _start_without_proc(pid: int) -> str:
    """Where there is no /proc: whether the process lives, without its start time."""
    if Path("/proc/self").exists():
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "unknown"


class _Watch:
    """Tells a dead holder from a living one, over several looks and by our own clock."""

    def __init__(self) -> None:
        self.last: tuple[Holder | None, int] | None = None
        self.since = time.monotonic()

    def is_dead(self, path: Path, holder: Holder | None) -> bool:
        if holder is not None and holder.is_here:
            return holder.is_dead_here()
        try:
            now = (holder, path.stat().st_mtime_ns)
        except OSError:
            return False
        if now != self.last:
            self.last, self.since = now, time.monotonic()
        patience = SILENT_SECONDS if holder else UNWRITTEN_SECONDS
        return time.monotonic() - self.since > patience


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):
            os.utime(path)
