"""One spectrum as text: rows of numbers under `#` comments.

In: a file's bytes. Out: its columns as an array, and the `# key: value` lines of its comments.
A file that is no such text, or that is cut within a row, is `Malformed`.
"""

import math
import re

import numpy as np

_HEADER = re.compile(r"^#[ \t]*(\w[\w ]*?)[ \t]*:[ \t]*(\S.*?)\s*$", re.MULTILINE)


class Malformed(Exception):
    """Why a file is no spectrum, in words."""


def table(content: bytes) -> np.ndarray:
    """(N, columns) numbers, separated by blanks or commas; `NaN` where a file says so.

    A first line of column names is passed over. Bytes that are no ASCII may stand in comments.

    Raises:
        Malformed: binary, no rows, rows of unequal length, a word that is no number, or cut short.
    """
    lines = [line for line in _text(content).splitlines() if line.strip()]
    lines = [line for line in lines if not line.lstrip().startswith("#")]
    rows = [line.replace(",", " ").split() for line in lines]
    if rows and not any(map(_is_number, rows[0])):
        rows, lines = rows[1:], lines[1:]
    if not rows:
        raise Malformed("no rows of numbers")
    _check_lengths(rows, lines)
    try:
        return np.array(rows, np.float64)
    except ValueError:
        row, word = next((k, w) for k, r in enumerate(rows) for w in r if not _is_number(w))
        raise Malformed(f"row {row}: {word[:40]!r} is no number") from None


def header(content: bytes) -> dict[str, str]:
    """The comments of the form `# key: value`; the first of a key counts."""
    found: dict[str, str] = {}
    for match in _HEADER.finditer(_text(content)):
        found.setdefault(match[1], match[2])
    return found


def number(text: str | None) -> float | None:
    """The first word as a finite number, else None."""
    words = (text or "").split()
    if not words or not _is_number(words[0]):
        return None
    value = float(words[0])
    return value if math.isfinite(value) else None


def _text(content: bytes) -> str:
    if b"\0" in content:
        raise Malformed("a binary file (or UTF-16), not a text of numbers")
    return content.decode("latin1")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _check_lengths(rows: list[list[str]], lines: list[str]) -> None:
    num_columns = len(rows[0])
    if num_columns < 2:
        raise Malformed("one column only: a spectrum needs wavelength and flux")
    for k, row in enumerate(rows):
        if len(row) != num_columns:
            last = ": the file is cut short" if k == len(rows) - 1 else ""
            raise Malformed(f"row {k} has {len(row)} numbers instead of {num_columns}{last}")
    # columns of a fixed width: a last number that lost its last digits shows
    widths = {len(line.rstrip()) for line in lines[:-1]}
    if len(lines) > 2 and len(widths) == 1 and len(lines[-1].rstrip()) < widths.pop():
        raise Malformed("the last row is shorter than the others: the file is cut short")
