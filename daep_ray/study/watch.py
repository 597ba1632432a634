"""What is done when a trial begins, goes on, ends, fails, is stopped. Ray Tune's callback calls it.

Out: lines for people, notes in the store, and for a search the journal.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from daep_ray.errors import StorageError
from daep_ray.study.journal import Journal
from daep_ray.study.progress import Progress
from daep_ray.study.state import Study
from daep_ray.study.summary import headline
from daep_ray.study.track import Tracking
from daep_ray.study.trial import Trial

Plan = Callable[[Mapping[str, Any]], list[Trial]]  # what Tune suggests -> trainings


class Watch:
    """`key` is Tune's name of a trial, `suggestion` what it was asked to do."""

    def __init__(
        self,
        study: Study,
        plan: Plan,
        progress: Progress,
        journal: Journal | None,
        tracking: Tracking,
    ):
        self.study = study
        self.tracking = tracking
        self.plan = plan
        self.progress = progress
        self.journal = journal
        self.failed: set[str] = set()  # trainings that failed for good, here and now

    def go_on(self) -> None:
        """Called many times a second: tells, now and then, people and other tools how far it is."""
        self.progress.sign_of_life()
        self.tracking.maybe()

    def begin(self, key: str, suggestion: Mapping[str, Any]) -> None:
        if self.journal and key not in self.progress.begun:
            self.journal.begin(suggestion)
        self.progress.begin(key, self._label(suggestion))

    def advance(self, key: str, result: Mapping[str, Any]) -> None:
        self.progress.advance(key, result.get("share", 0.0))

    def stop(
        self,
        key: str,
        suggestion: Mapping[str, Any],
        where: str,
        reason: str,
        judged: tuple[int, float],
    ) -> None:
        """A scheduler took it off: no result, no failure, never trained on by this study."""
        self.progress.end(key, 0.0, where)
        assert self.journal, "only a search stops trials"
        self.journal.end(suggestion, None, stopped=reason, judged=judged)

    def complete(self, key: str, suggestion: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        todo = self._looked_at(suggestion)
        known = [e for e in map(self._error, todo) if e is not None]
        shown = f"error {sum(known) / len(known):.3f}" if known else "done"
        seconds = self.progress.end(key, result.get("seconds", 0.0), shown)
        if not result.get("is_reused"):
            for trial in todo:
                share = round(seconds / len(todo), 3)
                gpus = self.study.gpus_per_trial
                self.study.store.note_trial(trial.training, share, gpus)
        if self.journal:
            values = result["values"]
            self.journal.end(suggestion, values if all(map(math.isfinite, values)) else None)

    def fail(self, key: str, suggestion: Mapping[str, Any]) -> None:
        store, todo = self.study.store, self._looked_at(suggestion)
        self.failed |= {trial.training for trial in todo if self.study.lacks(trial)}
        killed = _killed(self.study.num_retries)
        for trial in todo:
            if self.study.lacks(trial) and store.failure(trial.training) is None:
                store.note_failure(trial.training, killed, "")
        reasons = [store.failure(trial.training) for trial in todo]
        self.progress.end(key, 0.0, f"failed: {next((r for r in reasons if r), killed)}")
        if self.journal:
            self.journal.end(suggestion, None)

    def _looked_at(self, suggestion: Mapping[str, Any]) -> list[Trial]:
        """A trial's trainings, with what their machine has put into the store."""
        todo = self.plan(suggestion)
        with suppress(StorageError):  # the study's end looks again, and says so
            self.study.store.look([cell for trial in todo for cell in trial.cells])
        return todo

    def _label(self, suggestion: Mapping[str, Any]) -> str:
        todo = self.plan(suggestion)
        return todo[0].label + (f" and {len(todo) - 1} more" if len(todo) > 1 else "")

    def _error(self, trial: Trial) -> float | None:
        results = dict(self.study.store.results(trial.cells[0]))
        return headline(results["metrics"]) if "metrics" in results else None


def _killed(num_retries: int) -> str:
    times = {0: "", 1: " twice"}.get(num_retries, f" {num_retries + 1} times")
    return f"its worker process or machine died{times} (killed, out of memory, or lost)"
