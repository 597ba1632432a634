"""Whether a trial fits the machines that a study may use, told before anything is trained.

In: a configuration, the shards, what the command line asks for, the machines. Out: nothing, or a
refusal in one sentence. The machines are this one, or those of a cluster (`cluster.py`).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from daep_ray.config import RunConfig
from daep_ray.errors import ConfigError
from daep_ray.shards.read import ShardFolder
from daep_ray.study.session import Resources, num_cores, resources
from daep_ray.train.prepare import is_streamed

_PROCESS_BYTES = 400 * 2**20  # of an interpreter with torch, Ray and a small model


@dataclass(frozen=True)
class Machine:
    """What one machine has; `memory` in bytes, None: not known."""

    cpus: float
    gpus: float
    memory: int | None = None


def this_machine() -> Machine:
    """The one that this process runs on."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        memory = None
    return Machine(num_cores(), torch.cuda.device_count(), memory)


def room_here(config: RunConfig, shards: ShardFolder, gpus_per_trial: float) -> Resources:
    """What a trial takes of this machine, and how many run at once.

    Raises:
        ConfigError: not even one fits.
    """
    machine = this_machine()
    check_room(config, shards, gpus_per_trial, [machine])
    _check_workers(config, machine)
    return resources(
        num_cores(),
        num_threads=config.runtime.num_threads,
        num_workers=config.runtime.num_workers,
        num_datasets=num_datasets(config, shards),
        gpus_per_trial=gpus_per_trial,
        num_gpus=machine.gpus,
    )


def _check_workers(config: RunConfig, machine: Machine) -> None:
    """Our own session could declare any number of CPUs; more threads than there are only wait."""
    num_workers, num_threads = config.runtime.num_workers, config.runtime.num_threads
    if num_workers * num_threads > machine.cpus:
        each = f" of {num_threads} threads each" if num_threads > 1 else ""
        raise ConfigError(
            f"--workers {num_workers}{each} asks for {num_workers * num_threads} CPUs, and this "
            f"machine has {machine.cpus:g}: lower --workers"
        )


def num_datasets(config: RunConfig, shards: ShardFolder) -> int:
    """Ray Data pipelines of a trial: one per rank, none where the survey is held in memory."""
    return config.runtime.num_workers if is_streamed(config, shards) else 0


def check_room(
    config: RunConfig, shards: ShardFolder, gpus_per_trial: float, machines: Sequence[Machine]
) -> None:
    """Refuse a trial that no machine has room for.

    Raises:
        ConfigError: in one sentence.
    """
    where = "this machine has" if len(machines) == 1 else "no machine of the cluster has more than"
    _check_gpus(config, gpus_per_trial, machines, where)
    runtime, most = config.runtime, max(machine.cpus for machine in machines)
    if runtime.num_threads > most:
        raise ConfigError(
            f"runtime.num_threads {runtime.num_threads} needs as many CPUs at one place, and "
            f"{where} {most:g}: lower it"
        )
    _check_memory(config, shards, machines, where)


def _check_gpus(
    config: RunConfig, gpus_per_trial: float, machines: Sequence[Machine], where: str
) -> None:
    runtime, most = config.runtime, max(machine.gpus for machine in machines)
    asked = f"--gpus-per-trial {gpus_per_trial:g}" if gpus_per_trial else ""
    asked = asked or ("runtime.device 'cuda'" if runtime.device == "cuda" else "")
    if asked and not most:
        none = "this machine has" if len(machines) == 1 else "no machine of the cluster has"
        lacks = f"{none} {'no' if len(machines) == 1 else 'a'} GPU"
        raise ConfigError(
            f"{asked} asks for a GPU, and {lacks}: leave it out, or run where there is one"
        )
    if gpus_per_trial > most:
        raise ConfigError(
            f"{asked} asks for as many GPUs at one place, and {where} {most:g}: lower it"
        )
    if runtime.device == "cuda" and not gpus_per_trial and not runtime.num_workers:
        raise ConfigError(
            "runtime.device is 'cuda', but trials are given no GPU: add --gpus-per-trial 1, or "
            "0.25 for four of them on one"
        )
    total = sum(machine.gpus for machine in machines)
    if total and runtime.device != "cpu" and runtime.num_workers > total:
        raise ConfigError(
            f"{runtime.num_workers} workers need a GPU each, and there are {total:g}: lower "
            "--workers, or --set runtime.device=cpu"
        )


def _check_memory(
    config: RunConfig, shards: ShardFolder, machines: Sequence[Machine], where: str
) -> None:
    """Of a survey that every process holds, as far as the machines' memory is known."""
    known = [machine.memory for machine in machines if machine.memory is not None]
    if is_streamed(config, shards) or len(known) < len(machines):
        return
    needed = shards.num_bytes + _PROCESS_BYTES
    if needed > max(known):
        raise ConfigError(
            f"a process that holds this survey needs {gigabytes(needed)}, and {where} "
            f"{gigabytes(max(known))}: --set runtime.stream=ray reads it window by window"
        )


def gigabytes(num_bytes: float) -> str:
    """`12.3 GB`."""
    return f"{num_bytes / 1e9:.1f} GB"
