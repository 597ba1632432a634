"""Timing on noisy machines: everything is held against the matmul rate measured beside it.

In: a function to time. Out: seconds and work per matmul GFLOP, medians over interleaved pairs.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

SIZE = 2048  # of the square float32 matrices


@dataclass(frozen=True)
class Row:
    """One measured figure; `bar` is what it must reach: at least, or at most."""

    part: str
    what: str
    value: float
    unit: str
    bar: float | None = None
    is_at_least: bool = True

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return ""
        passed = self.value >= self.bar if self.is_at_least else self.value <= self.bar
        sign = "at least" if self.is_at_least else "at most"
        return f"{sign} {self.bar:.3g}: {'yes' if passed else 'NO'}"


@dataclass(frozen=True)
class Timing:
    """Medians over the repeats."""

    seconds: float  # of one call
    gflop: float  # what the machine's matmul does in that time

    @property
    def matmul_rate(self) -> float:
        """GFLOP/s."""
        return self.gflop / self.seconds


def matmul_rate(num: int = 2) -> float:
    """GFLOP/s of a float32 2048^3 matrix product on the threads that torch has."""
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    started = time.perf_counter()
    for _ in range(num):
        a @ b
    return num * 2 * SIZE**3 / (time.perf_counter() - started) / 1e9


def timed(works: Sequence[Callable[[], object]], repeats: int) -> list[Timing]:
    """Time the functions in turn, a matmul before and after each; the first round warms up.

    The machine's rate during a call is the mean of the two beside it.
    """
    seconds: list[list[float]] = [[] for _ in works]
    gflop: list[list[float]] = [[] for _ in works]
    matmul_rate()
    for turn in range(repeats + 1):
        before = matmul_rate()
        for i, work in enumerate(works):
            started = time.perf_counter()
            work()
            took = time.perf_counter() - started
            after = matmul_rate()
            if turn > 0:
                seconds[i].append(took)
                gflop[i].append(took * (before + after) / 2)
            before = after
    medians = zip(map(statistics.median, seconds), map(statistics.median, gflop), strict=True)
    return [Timing(*pair) for pair in medians]
