"""Numbers as people read them: three significant digits, one number of decimals per column.

Values in, strings out. Within one column every number has the same decimals, so that right-aligned
numbers stand with their points below each other.
"""

import math
from collections.abc import Iterable

MINUS = "\u2212"
NARROW = "\u202f"  # narrow no-break space: between thousands, before %
DIGITS = 3
UNSURE = 2  # significant digits of a half width that hides its value
RAISED = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"


def is_number(value: float | None) -> bool:
    """Whether there is a finite number to print."""
    return value is not None and math.isfinite(value)


def decimals(values: Iterable[float | None], digits: int = DIGITS) -> int:
    """Decimals that give the column's middle value `digits` significant digits."""
    sizes = sorted(abs(v) for v in values if v is not None and math.isfinite(v) and v != 0)
    if not sizes:
        return digits
    middle = sizes[len(sizes) // 2]
    return max(0, min(9, digits - 1 - math.floor(math.log10(middle))))


def size(value: float, half_width: float, digits: int = DIGITS) -> float:
    """What the decimals of a value with an interval are chosen for (`decimals`): itself; where it
    is smaller than its half width, what leaves that two digits: 0.00001 \u00b1 0.00040."""
    if math.isfinite(half_width) and half_width > abs(value):
        return half_width * 10.0 ** max(digits - UNSURE, 0)
    return abs(value)


def fixed(value: float, num_decimals: int, sign: bool = False) -> str:
    """`−0.0231`, `96 000`; a rounded zero has no sign."""
    text = f"{abs(value):,.{num_decimals}f}".replace(",", NARROW)
    if not any(c in text for c in "123456789"):
        return text
    return (MINUS if value < 0 else "+" if sign else "") + text


def significant(value: float, digits: int = DIGITS) -> str:
    """One number on its own: `0.187`, `12.4`, `96 000`, `1.2e−7`."""
    if value != 0 and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    return fixed(value, decimals([value], digits))


def power_of(size: float, least: float) -> int:
    """The power of ten, a multiple of three, that numbers up to `size` leave to their unit."""
    if size == 0 or least <= size < 1e7:
        return 0
    return 3 * math.floor(math.log10(size) / 3)


def ten_to(power: int) -> str:
    """`10\u00b9\u2078`."""
    digits = "".join(RAISED[int(d)] for d in str(abs(power)))
    return "10" + ("\u207b" if power < 0 else "") + digits


def whole(value: float) -> str:
    """A count: `96 000`."""
    return fixed(round(value), 0)


def percent(fraction: float, sign: bool = False) -> str:
    """`12 %`; below ten per cent one decimal: `4.2 %`."""
    size = abs(fraction) * 100
    return fixed(100 * fraction, 0 if size >= 9.95 or size == 0 else 1, sign) + NARROW + "%"


def percent_range(low: float, high: float) -> str:
    """`9 to 15 %`, both ends with the decimals that the larger one needs."""
    size = max(abs(low), abs(high)) * 100
    num_decimals = 0 if size >= 9.95 else 1
    ends = (fixed(100 * v, num_decimals) for v in (low, high))
    return " to ".join(ends) + NARROW + "%"


def p_value(p: float) -> str:
    """`0.012`, `< 0.001`."""
    return f"<{NARROW}0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def duration(seconds: float) -> str:
    """`42 s`, `12 min 5 s`, `3 h 7 min`."""
    total = round(seconds)
    if total < 1:
        return f"{seconds:.2g}{NARROW}s"
    hours, rest = divmod(total, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}{NARROW}h {minutes}{NARROW}min"
    return f"{minutes}{NARROW}min {left}{NARROW}s" if minutes else f"{left}{NARROW}s"


def listing(words: list[str]) -> str:
    """`4`, `4 and 16`, `4, 16 and 64`; names with commas of their own are parted by semicolons."""
    if not words:
        return ""
    comma, last = ("; ", "; and ") if any("," in word for word in words) else (", ", " and ")
    return last.join(filter(None, [comma.join(words[:-1]), words[-1]]))
