"""A path's outline in few characters: relative places in whole multiples of a small unit.

Rounding is done on the absolute places, so that errors do not add up along a line. A line with
more places than a page can show is thinned: of the places in one half point of width the lowest
and the highest stay, so that its envelope is the same and its length bounded.
"""

import re
from collections.abc import Iterator

MOST = 400  # places of a line, above which it is thinned: two per point of a column's width
COLUMN = 0.5  # pt
WORD = re.compile(r"[A-Za-z]|-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?")
Place = tuple[int, int]
Step = tuple[str, list[Place]]  # M, L: one place; C, Q: controls, then the place; z: none


def outline(d: str, unit: int, shift: tuple[float, float] = (0.0, 0.0)) -> str:
    """The attribute `d`, whose commands are M L C Q z, moved by `shift`, in 1/`unit`."""
    text, last = "", ""
    here = start = (0, 0)
    for command, places in _thinned(list(_steps(d, unit, shift)), unit):
        if command == "z":
            text, here, last = text + "z", start, "z"
            continue
        name, numbers = _relative(command, here, places)
        if name in "hvl" and here == places[-1] and last not in ("m", "z"):
            continue  # a step of no length; a line's first one is its dot
        text += _said(numbers, unit, "" if name == last and name != "m" else name)
        here, last = places[-1], name
        start = here if name == "m" else start
    return text


def number(value: int, unit: int) -> str:
    """`value` / `unit`: `.5`, `-12`, `3.25`."""
    text = f"{value / unit:.{len(str(unit)) - 1}f}".rstrip("0").rstrip(".")
    return re.sub(r"^(-?)0\.", r"\1.", text)


def _steps(d: str, unit: int, shift: tuple[float, float]) -> Iterator[Step]:
    words = WORD.findall(d)
    at = 0
    while at < len(words):
        command = words[at]
        size = {"M": 2, "L": 2, "Q": 4, "C": 6, "z": 0, "Z": 0}[command]
        found = [float(w) for w in words[at + 1 : at + 1 + size]]
        pairs = zip(found[::2], found[1::2], strict=True)
        places = [(round((x + shift[0]) * unit), round((y + shift[1]) * unit)) for x, y in pairs]
        yield command.replace("Z", "z"), places
        at += 1 + size


def _relative(command: str, here: Place, places: list[Place]) -> tuple[str, list[int]]:
    """The shortest command's name and numbers."""
    moved = [(x - here[0], y - here[1]) for x, y in places]
    across, down = moved[-1]
    if command == "L" and down == 0:
        return "h", [across]
    if command == "L" and across == 0:
        return "v", [down]
    return command.lower(), [n for pair in moved for n in pair]


def _said(numbers: list[int], unit: int, name: str) -> str:
    """Numbers behind a command's name, a space only where nothing else parts them."""
    words = [number(n, unit) for n in numbers]
    first = words[0] if name or words[0].startswith("-") else f" {words[0]}"
    return name + first + "".join(w if w.startswith("-") else f" {w}" for w in words[1:])


def _thinned(steps: list[Step], unit: int) -> list[Step]:
    """Lines of more than `MOST` places, thinned."""
    if len(steps) <= MOST:
        return steps
    kept: list[Step] = []
    column: list[Step] = []
    for step in steps:
        if column and (step[0] != "L" or _column(step, unit) != _column(column[0], unit)):
            kept += _ends(column)
            column = []
        if step[0] == "L":
            column.append(step)
        else:
            kept.append(step)
    return kept + _ends(column)


def _column(step: Step, unit: int) -> int:
    return int(step[1][0][0] // (COLUMN * unit))


def _ends(column: list[Step]) -> list[Step]:
    """The lowest and the highest place, in their order."""
    heights = [places[0][1] for _, places in column]
    ends = {heights.index(f(heights)) for f in (min, max)} if column else set()
    return [column[i] for i in sorted(ends)]
