"""OUT/trials.jsonl: what a search tried. It, not the memory of Optuna or Tune, survives a kill.

In: suggestions that begin, and how they end. Out: those that ended, those that had begun. The next
suggestion of a search hangs on this and on the design alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Suggestion = Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a suggestion ended: with a value per target, stopped early, or else failed."""

    suggestion: dict[str, Any]
    values: tuple[float, ...] | None
    stopped: str | None = None  # where and why, in words
    judged: tuple[int, float] | None = None  # when it was stopped: objects seen, the curve there


@dataclass(frozen=True)
class Journal:
    """One line when a suggestion begins, one when it ends."""

    path: Path

    def begin(self, suggestion: Suggestion) -> None:
        self._append({"begun": dict(suggestion)})

    def end(
        self,
        suggestion: Suggestion,
        values: Sequence[float] | None,
        stopped: str | None = None,
        judged: tuple[int, float] | None = None,
    ) -> None:
        """`values` are what the search looks for; None: the trial failed or was stopped."""
        line = {"ended": dict(suggestion), "values": None if values is None else list(values)}
        more = {"stopped": stopped, "judged": judged}
        self._append(line | {name: value for name, value in more.items() if value is not None})

    def ended(self) -> list[Ended]:
        """In the order in which they ended."""
        return [_ended(line) for line in self._lines() if "ended" in line]

    def suggested(self) -> list[dict[str, Any]]:
        """Every suggestion, once, in the order in which they began."""
        lines = [line.get("begun", line.get("ended")) for line in self._lines()]
        return [s for i, s in enumerate(lines) if s is not None and s not in lines[:i]]

    def unfinished(self) -> list[dict[str, Any]]:
        """Suggestions that had begun when the study was killed."""
        ended = [end.suggestion for end in self.ended()]
        begun = [line["begun"] for line in self._lines() if "begun" in line]
        return [s for i, s in enumerate(begun) if s not in ended and s not in begun[:i]]

    def _append(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a") as file:
            # begins with a newline: the line before may have been cut by a kill
            file.write("\n" + json.dumps(line, sort_keys=True))

    def _lines(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        lines = []
        for text in self.path.read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                continue  # cut by a kill
        return lines


def _ended(line: Mapping[str, Any]) -> Ended:
    values = line.get("values")
    if line.get("value") is not None:  # of a search with one target, before there were several
        values = [line["value"]]
    judged = line.get("judged")
    return Ended(
        line["ended"],
        None if values is None else tuple(values),
        line.get("stopped"),
        None if judged is None else (judged[0], judged[1]),
    )
