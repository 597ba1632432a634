"""One finding of an audit, and how many of a kind are told one by one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

MOST_FINDINGS = 20  # of one kind; the rest is counted


@dataclass(frozen=True)
class Finding:
    """What is wrong, in one sentence; `check` is one of the names in `audit.py`.

    A note is nothing wrong, but good to know: what a recipe leaves out on purpose.
    """

    check: str
    what: str
    is_note: bool = False


def limited(check: str, sentences: Iterable[str], total: int) -> Iterator[Finding]:
    """The first `MOST_FINDINGS` of `total` sentences, and one that counts the others."""
    yield from (Finding(check, sentence) for sentence in islice(sentences, MOST_FINDINGS))
    if total > MOST_FINDINGS:
        yield Finding(check, f"and {total - MOST_FINDINGS:,} more like these")
