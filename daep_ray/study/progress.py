"""What a study tells while it runs: one calm line per trial that ends, and a sign of life between.

In: what happens to trials. Out: lines for people, and the seconds that Ray took per trial.
"""

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from daep_ray.train.progress import duration

SIGN_OF_LIFE_SECONDS = 30.0


@dataclass
class Progress:
    """Counts trials and the slots that they run in.

    Ray's part of a trial is its slot's time that is neither training nor evaluation: starting an
    actor, importing, waiting for the driver.
    """

    num_trials: int
    num_slots: int
    echo: Callable[[str], None]
    num_ended: int = 0
    free_since: list[float] = field(default_factory=list)  # a heap
    begun: dict[str, float] = field(default_factory=dict)  # trial -> since when its slot was free
    running: dict[str, tuple[str, float]] = field(default_factory=dict)  # label, share done
    started: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.free_since = [self.started] * self.num_slots

    def begin(self, key: str, label: str) -> None:
        """A trial got an actor; on a second attempt nothing new begins."""
        if key not in self.begun:
            now = time.monotonic()
            self.begun[key] = heapq.heappop(self.free_since) if self.free_since else now
        self.running[key] = (label, 0.0)

    def advance(self, key: str, share: float) -> None:
        """A trial has done this share of its work."""
        self.running[key] = (self.running[key][0], min(1.0, share))

    def end(self, key: str, seconds_of_use: float, what: str) -> float:
        """A trial ended, with `what` to tell; returns the seconds that Ray took of it."""
        now = time.monotonic()
        wall = now - self.begun.get(key, now)
        heapq.heappush(self.free_since, now)
        label, _ = self.running.pop(key, (key, 0.0))
        self.num_ended += 1
        width = len(str(self.num_trials))
        self._tell(
            f"[{self.num_ended:>{width}}/{self.num_trials}] {label:<22} {what:<12} "
            f"{wall:7.1f} s   {self._left()}"
        )
        return max(0.0, wall - seconds_of_use)

    def sign_of_life(self) -> None:
        """After half a minute without news: what runs, how far it is."""
        if time.monotonic() - self.told < SIGN_OF_LIFE_SECONDS or not self.running:
            return
        shown = ", ".join(f"{label} {share:.0%}" for label, share in self.running.values())
        self._tell(f"running: {shown}   {self._left()}")

    def _left(self) -> str:
        done = self.num_ended + sum(share for _, share in self.running.values())
        if self.num_ended >= self.num_trials or done <= 0:
            return ""
        elapsed = time.monotonic() - self.started
        return f"about {duration(elapsed * (self.num_trials - done) / done)} left"

    def _tell(self, line: str) -> None:
        self.echo(line.rstrip())
        self.told = time.monotonic()
