"""Peak memory of this process since `forget_peak`, or since it began: RAM, and its GPU's.

In: nothing. Out: bytes. RAM is the resident set, code and libraries included.
"""

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak() -> None:
    """Begin anew: a process that runs one training after the other has a peak of each."""
    with suppress(OSError):  # elsewhere than on Linux the peak is that of the whole process
        _FORGET.write_text("5")
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def peak_bytes() -> int:
    """The largest resident set."""
    with suppress(OSError, ValueError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_gpu_bytes() -> int:
    """The most that tensors took on the GPU; 0 where none is used."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else 0
