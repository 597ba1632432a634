"""The box at the head of a page: the answer and a few sentences that qualify it."""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_SENTENCES = 6  # below the answer's own


@dataclass(frozen=True)
class Answer:
    """`kind`: winner, tie, mixed, untrained, none; `more` qualifies the sentence.

    What is more than a box can hold (`rest`) is told below the figure.
    """

    kind: str
    sentence: str
    more: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()

    @classmethod
    def short(cls, kind: str, sentence: str, more: Sequence[str]) -> "Answer":
        return cls(kind, sentence, tuple(more[:MOST_SENTENCES]), tuple(more[MOST_SENTENCES:]))
