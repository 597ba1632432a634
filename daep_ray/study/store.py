"""The store of trainings, which studies share: what is in it is never computed again.

    <store>/<training fingerprint>/               written by `fit`: checkpoint, curve, result
    <store>/<training>/evaluations/<evaluation>/  its tables, cell.json and cost.json
    <store>/<training>/failure.json               why the last attempt failed; gone when it succeeds
    <store>/<training>/trial.json                 Ray's seconds beside it, and the trial's GPUs
    <store>/.locks/<training>                     who trains it now

An evaluation's folder appears in one step, so that whoever sees it sees all of it.
A store in a bucket (`shared_store.py`) works on such a folder, and shares what is in it.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from daep_ray.errors import storage_error
from daep_ray.study import tables
from daep_ray.study.lock import held
from daep_ray.study.spec import Cell
from daep_ray.train.progress import read_curve


@dataclass(frozen=True)
class Facts:
    """What one evaluated cell was and cost; None where a reference has no such thing."""

    num_objects: int | None
    num_steps: int | None
    num_parameters: int | None
    seconds_training: float
    seconds_data: float
    seconds_evaluation: float


@dataclass(frozen=True)
class Used:
    """What an evaluated cell and its training took of a machine; None: an older store has not
    noted it. It is beside `Facts` because no number of a table hangs on it."""

    device_training: str | None = None  # cpu, cuda
    device_evaluation: str | None = None
    num_workers: int | None = None  # of the training; 0: none beside the trial
    memory_training: int | None = None  # bytes, the most at a time
    memory_evaluation: int | None = None
    memory_gpu_training: int | None = None
    memory_gpu_evaluation: int | None = None


class Store:
    """The folder of trainings, which every machine that takes part must see."""

    def __init__(self, root: Path):
        self.root = Path(root).absolute()

    def __str__(self) -> str:
        return str(self.root)

    def look(self, cells: Sequence[Cell], fetches: bool = True) -> None:
        """See what other machines have done of these cells; in a folder, we see it already."""

    def bring(self, fingerprint: str) -> None:
        """Make a training's checkpoint readable here."""

    def following(self, fingerprint: str) -> AbstractContextManager[None]:
        """Meanwhile make a training's checkpoints readable for others."""
        return nullcontext()

    def share(self, fingerprint: str) -> None:
        """Make a training's last checkpoint readable for others."""

    def training(self, fingerprint: str) -> Path:
        """Folder of a training, whether or not it is there."""
        return self.root / fingerprint

    def evaluation(self, cell: Cell) -> Path:
        """Folder of a cell's results, whether or not they are there."""
        return self.training(cell.training) / "evaluations" / cell.evaluation

    def has(self, cell: Cell) -> bool:
        """Whether a cell's results are complete."""
        return (self.evaluation(cell) / "cell.json").is_file()

    def is_trained(self, fingerprint: str) -> bool:
        """Whether a training is finished, evaluated or not."""
        return (self.training(fingerprint) / "result.json").is_file()

    def lock(self, fingerprint: str) -> AbstractContextManager[None]:
        """Held while a training runs; another process that wants it waits for its result."""
        return held(self.root / ".locks" / fingerprint)

    def write(
        self,
        cell: Cell,
        results: Mapping[str, pa.Table],
        facts: Facts,
        used: Used | None = None,
    ) -> None:
        """Put a cell's results into the store in one step.

        Raises:
            StorageError: the folder cannot be written, or the disk is full.
        """
        folder = self.evaluation(cell)
        staged = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
        try:
            shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir(parents=True)
            for name in tables.EVALUATED:
                if name in results:
                    pq.write_table(results[name], staged / f"{name}.parquet", compression="zstd")
            (staged / "cost.json").write_text(json.dumps(asdict(used or Used()), indent=1))
            (staged / "cell.json").write_text(json.dumps(asdict(facts), indent=1))
            shutil.rmtree(folder, ignore_errors=True)
            staged.rename(folder)
        except OSError as error:
            raise storage_error(error, folder) from error
        self.forget_failure(cell.training)

    def facts(self, cell: Cell) -> Facts:
        return Facts(**json.loads((self.evaluation(cell) / "cell.json").read_text()))

    def used(self, cell: Cell) -> Used:
        """What a cell took of its machine, as far as it was noted."""
        content = _read(self.evaluation(cell) / "cost.json")
        return Used(**{f.name: content[f.name] for f in fields(Used) if f.name in content})

    def results(self, cell: Cell) -> Iterator[tuple[str, pa.Table]]:
        """The tables of an evaluated cell by name."""
        for name in tables.EVALUATED:
            path = self.evaluation(cell) / f"{name}.parquet"
            if path.is_file():
                yield name, pq.read_table(path)

    def curve(self, fingerprint: str) -> list[dict[str, float]]:
        """The points of a training's learning curve so far."""
        return read_curve(self.training(fingerprint) / "metrics.jsonl")

    def note_failure(self, fingerprint: str, reason: str, traceback: str) -> None:
        """Remember why a training or its evaluation failed, if the disk still lets us."""
        with suppress(OSError):
            self.training(fingerprint).mkdir(parents=True, exist_ok=True)
            content = {"reason": reason, "traceback": traceback}
            write_json(self.training(fingerprint) / "failure.json", content)

    def forget_failure(self, fingerprint: str) -> None:
        with suppress(OSError):
            (self.training(fingerprint) / "failure.json").unlink()

    def failure(self, fingerprint: str) -> str | None:
        """Why the last attempt failed, in one sentence; None if it did not or was killed."""
        reason = _read(self.training(fingerprint) / "failure.json").get("reason")
        return None if reason is None else str(reason)

    def note_trial(self, fingerprint: str, seconds_ray: float, num_gpus: float = 0.0) -> None:
        """Remember what Ray took beside training and evaluation, and the GPUs that it gave."""
        content = {"seconds_ray": seconds_ray, "num_gpus": num_gpus}
        with suppress(OSError):
            write_json(self.training(fingerprint) / "trial.json", content)

    def seconds_ray(self, fingerprint: str) -> float | None:
        return _read(self.training(fingerprint) / "trial.json").get("seconds_ray")

    def num_gpus(self, fingerprint: str) -> float | None:
        """GPUs of the trial, a share of one perhaps; None where it was not noted."""
        return _read(self.training(fingerprint) / "trial.json").get("num_gpus")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file in one step."""
    staged = path.with_name(f".{path.name}.{os.getpid()}.partial")
    staged.write_text(json.dumps(content, indent=1, sort_keys=True))
    staged.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}
