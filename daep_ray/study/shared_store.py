"""A store of trainings in a bucket, worked on in a local folder of each machine.

    <prefix>/<training>/training/LATEST.json                  curve, checkpoint, result (a bundle)
    <prefix>/<training>/evaluations/<evaluation>/LATEST.json  a cell's tables (a bundle)
    <prefix>/<training>/{failure,trial}.json

The bucket is the truth: a cell is done when the bucket has it. Whoever wants a training first
looks what the bucket has of it, then brings its state here, trains, and shares the state again
and again; what could not be shared stays in the local folder and is shared by the next attempt.
The lock is local: studies on two machines may compute one training twice, the last one wins.
"""

import json
import os
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from daep_ray.errors import StorageError, storage_error
from daep_ray.settings import canonical_hash
from daep_ray.study.address import is_address
from daep_ray.study.lock import this_machine
from daep_ray.study.mirror import Index, Mirror
from daep_ray.study.spec import Cell
from daep_ray.study.store import Facts, Store, Used, write_json
from daep_ray.train.checkpoint import FILES
from daep_ray.train.progress import read_curve

_BESIDE = ("metrics.jsonl", "training.json", "MODEL.md")  # a checkpoint
_NOTES = ("failure.json", "trial.json")
_LOOKERS = 8  # trainings that are looked up at a time
_POLL_SECONDS = 0.2
_RETRY_SECONDS = 20.0  # after a failure
_REST = 9.0  # sharing takes at most a tenth of the time: rest so many times what it took

State = tuple[bool, int]  # is it finished, objects seen: the larger one is the newer one
NOTHING: State = (False, -1)


class SharedStore(Store):
    """`root` is the local folder on the machine that made the store; others take a temporary."""

    def __init__(self, root: Path, mirror: Mirror):
        super().__init__(root)
        self.mirror = mirror
        self._machine = this_machine()
        self._known: set[tuple[str, str]] = set()  # (training, evaluation) in the bucket

    def __str__(self) -> str:
        return str(self.mirror)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if this_machine() != self._machine:
            name = f"daep-store-{os.getuid()}-{canonical_hash(str(self.mirror), 8)}"
            self.root = Path(tempfile.gettempdir()) / name

    @contextmanager
    def lock(self, fingerprint: str) -> Iterator[None]:
        """Held on this machine; a machine that lends us a temporary folder gets its disk back."""
        with super().lock(fingerprint):
            yield
            if this_machine() != self._machine:
                shutil.rmtree(self.training(fingerprint) / "checkpoint", ignore_errors=True)

    # ---- what the bucket has

    def has(self, cell: Cell) -> bool:
        """Whether the bucket had a cell's results when we looked last."""
        return (cell.training, cell.evaluation) in self._known

    def is_trained(self, fingerprint: str) -> bool:
        """Whether a training is finished, here or in the bucket."""
        index = self.mirror.index(_training(fingerprint))
        return super().is_trained(fingerprint) or (index is not None and _remote(index)[0])

    def look(self, cells: Sequence[Cell], fetches: bool = True) -> None:
        """See what the bucket has of these cells, share what only this machine has of them.

        With `fetches` their results come here; without, nothing is written anywhere.

        Raises:
            StorageError: the store does not answer.
        """
        groups: dict[str, list[Cell]] = {}
        for cell in cells:
            groups.setdefault(cell.training, []).append(cell)
        with ThreadPoolExecutor(_LOOKERS) as pool:
            for _ in pool.map(lambda group: self._look(group, fetches), groups.values()):
                pass

    def _look(self, cells: Sequence[Cell], fetches: bool) -> None:
        training = cells[0].training
        for cell in {cell.evaluation: cell for cell in cells}.values():
            key, index = (training, cell.evaluation), self.mirror.index(_evaluation(cell))
            if index is None:
                self._known.discard(key)
                if fetches and super().has(cell):
                    self.share(training)
                    self._share_evaluation(cell)
                continue
            if fetches and not super().has(cell):
                self._bring_evaluation(cell)
            self._known.add(key)
        if fetches:
            self._look_at_notes(training)

    def _look_at_notes(self, training: str) -> None:
        for name in _NOTES:
            content = self.mirror.get(f"{training}/{name}")
            if content is not None:
                with suppress(OSError):
                    self.training(training).mkdir(parents=True, exist_ok=True)
                    write_json(self.training(training) / name, content)
        index = self.mirror.index(_training(training))
        if index is not None and _remote(index) > self._local(training):
            seen = self._seen(training)
            self.mirror.fetch(_training(training), seen, lambda file: file == "metrics.jsonl")

    def curve(self, fingerprint: str) -> list[dict[str, float]]:
        """The learning curve, ours or the bucket's: the longer one."""
        curves = (super().curve(fingerprint), read_curve(self._seen(fingerprint) / "metrics.jsonl"))
        return max(curves, key=lambda points: points[-1]["num_objects"] if points else 0)

    # ---- a training's state

    def bring(self, fingerprint: str) -> None:
        """Put the bucket's state of a training here, checkpoint included, unless ours is newer.

        Raises:
            StorageError: the store does not answer, or what it has is damaged.
        """
        folder, index = self.training(fingerprint), self.mirror.index(_training(fingerprint))
        if index is None or _remote(index) <= self._local(fingerprint):
            return
        with self._fetched(_training(fingerprint), folder) as staged:
            checkpoint = folder / "checkpoint"
            shutil.rmtree(checkpoint, ignore_errors=True)
            (folder / "result.json").unlink(missing_ok=True)
            for name in (*_BESIDE, "checkpoint", "result.json"):
                if (staged / name).exists():
                    (staged / name).replace(folder / name)

    @contextmanager
    def following(self, fingerprint: str) -> Iterator[None]:
        """Meanwhile share every new checkpoint, in a thread; one warning if that fails."""
        stop = threading.Event()
        arguments = (fingerprint, self._local(fingerprint), stop)
        thread = threading.Thread(target=self._follow, args=arguments, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def share(self, fingerprint: str) -> None:
        """Share a training's state, unless the bucket's is as new.

        Raises:
            StorageError: the store cannot be written; nothing is lost here.
        """
        index = self.mirror.index(_training(fingerprint))
        if self._local(fingerprint) > (NOTHING if index is None else _remote(index)):
            self._share_state(fingerprint)

    def _follow(self, fingerprint: str, shared: State, stop: threading.Event) -> None:
        rest, has_warned = _POLL_SECONDS, False
        while not stop.wait(rest):
            rest = _POLL_SECONDS
            local = self._local(fingerprint)
            if local[0] or local <= shared:  # its end is shared by `share`
                continue
            started = time.monotonic()
            try:
                shared = self._share_state(fingerprint)
                rest = max(_POLL_SECONDS, _REST * (time.monotonic() - started))
            except StorageError as error:
                rest = _RETRY_SECONDS
                if not has_warned:
                    warnings.warn(f"{error}; the training goes on", stacklevel=2)
                has_warned = True

    def _share_state(self, fingerprint: str) -> State:
        """Upload the files as they are now; a checkpoint that is replaced meanwhile stays open."""
        folder = self.training(fingerprint)
        with ExitStack() as stack:
            files = _opened(folder, stack)
            if "checkpoint/progress.json" not in files:
                return NOTHING
            progress = json.load(files["checkpoint/progress.json"])
            files["checkpoint/progress.json"].seek(0)
            state = ("result.json" in files, int(progress["num_objects"]))
            about = {"is_finished": state[0], "num_objects": state[1]}
            label = f"checkpoint-{state[1]}"
            self.mirror.publish(_training(fingerprint), files, about, label)
        return state

    def _local(self, fingerprint: str) -> State:
        folder = self.training(fingerprint)
        try:
            progress = json.loads((folder / "checkpoint" / "progress.json").read_text())
        except (OSError, ValueError):
            return NOTHING
        return (folder / "result.json").is_file(), int(progress["num_objects"])

    def _seen(self, fingerprint: str) -> Path:
        """The bucket's curve of a training that we have not brought here."""
        return self.training(fingerprint) / ".seen"

    # ---- a cell's results

    def write(
        self,
        cell: Cell,
        results: Mapping[str, pa.Table],
        facts: Facts,
        used: Used | None = None,
    ) -> None:
        """Keep a cell's results here, then share them.

        Raises:
            StorageError: the local folder or the store cannot be written.
        """
        super().write(cell, results, facts, used)
        self._share_evaluation(cell)

    def _share_evaluation(self, cell: Cell) -> None:
        with ExitStack() as stack:
            paths = sorted(self.evaluation(cell).iterdir())
            files: dict[str, BinaryIO] = {p.name: stack.enter_context(p.open("rb")) for p in paths}
            self.mirror.publish(_evaluation(cell), files, {})
        self._known.add((cell.training, cell.evaluation))

    def _bring_evaluation(self, cell: Cell) -> None:
        folder = self.evaluation(cell)
        with self._fetched(_evaluation(cell), folder.parent) as staged:
            shutil.rmtree(folder, ignore_errors=True)
            staged.replace(folder)

    @contextmanager
    def _fetched(self, name: str, beside: Path) -> Iterator[Path]:
        """A bundle's files in a folder of ours on the same disk as `beside`."""
        try:
            beside.mkdir(parents=True, exist_ok=True)
            room = Path(tempfile.mkdtemp(prefix=".fetched-", dir=beside))
        except OSError as error:
            raise storage_error(error, beside) from error
        try:
            if self.mirror.fetch(name, room / "files") is None:
                raise StorageError(f"{self}/{name} was deleted while it was read: start again")
            yield room / "files"
        except OSError as error:
            raise storage_error(error, beside) from error
        finally:
            shutil.rmtree(room, ignore_errors=True)

    # ---- notes

    def note_failure(self, fingerprint: str, reason: str, traceback: str) -> None:
        super().note_failure(fingerprint, reason, traceback)
        self._share_note(fingerprint, "failure.json", {"reason": reason, "traceback": traceback})

    def forget_failure(self, fingerprint: str) -> None:
        if self.failure(fingerprint) is not None:
            self.mirror.delete(f"{fingerprint}/failure.json")
        super().forget_failure(fingerprint)

    def note_trial(self, fingerprint: str, seconds_ray: float, num_gpus: float = 0.0) -> None:
        super().note_trial(fingerprint, seconds_ray, num_gpus)
        content = {"seconds_ray": seconds_ray, "num_gpus": num_gpus}
        self._share_note(fingerprint, "trial.json", content)

    def _share_note(self, fingerprint: str, name: str, content: Mapping[str, Any]) -> None:
        with suppress(StorageError, FileNotFoundError):
            self.mirror.put(f"{fingerprint}/{name}", content)


def open_store(place: Path | str | None, out: Path, writes: bool = True) -> Store:
    """The store at a folder or an address; the default, and an address' local folder, beside OUT.

    Raises:
        ConfigError: no such kind of address. StorageError: the bucket cannot be used.
    """
    beside = Path(out).absolute().parent / "trainings"
    if place is None or not is_address(str(place)):
        return Store(Path(place or beside))
    mirror = Mirror.open(str(place))
    mirror.check(writes)
    return SharedStore(beside, mirror)


def _training(fingerprint: str) -> str:
    return f"{fingerprint}/training"


def _evaluation(cell: Cell) -> str:
    return f"{cell.training}/evaluations/{cell.evaluation}"


def _remote(index: Index) -> State:
    return bool(index.about.get("is_finished")), int(index.about.get("num_objects", -1))


def _opened(folder: Path, stack: ExitStack) -> dict[str, BinaryIO]:
    """A training's files, open, its checkpoint's all of one checkpoint; none if it just changed.

    The result first: where it is, the checkpoint is the last one. The curve last: it may be longer
    than the checkpoint needs, never shorter.
    """
    files: dict[str, BinaryIO] = {}
    try:
        _open(folder, "result.json", files, stack)
        inside = os.open(folder / "checkpoint", os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, inside)
        for name in FILES:
            number = os.open(name, os.O_RDONLY, dir_fd=inside)
            files[f"checkpoint/{name}"] = stack.enter_context(os.fdopen(number, "rb"))
    except OSError:
        return {}
    for name in _BESIDE:
        _open(folder, name, files, stack)
    return files


def _open(folder: Path, name: str, files: dict[str, BinaryIO], stack: ExitStack) -> None:
    with suppress(FileNotFoundError):
        files[name] = stack.enter_context((folder / name).open("rb"))
