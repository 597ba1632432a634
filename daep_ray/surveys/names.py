"""Names: one id per supernova however a file spells it, and one class per spectroscopic type.

In: the text that files hold (`sn00cn_bsnip`, `SN 2000cn`, `Ia-norm`). Out: the id by which splits
and statistics go (`sn2000cn`), and the class (`Ia`, `Ib`, `Ic`, `II`).
"""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

_SUFFIX = re.compile(r"\.(lnw|dat|txt|DAT|flm)$")
_COPY = re.compile(r" \(\d+\)$")  # `sn2004dk (2)`: a browser's second download
_SUPERNOVA = re.compile(
    r"^(?:sn)?[_ ]?(?:(?P<year>(?:18|19|20)\d{2})(?P<letters>[a-z]{1,5})"
    r"|(?P<short_year>\d{2})(?P<short_letters>[a-z]{1,3}))$",
    re.IGNORECASE,
)
_FIRST_SHORT_YEAR = 50  # two-digit years 50-99 are 19xx


def canon(name: str) -> str:
    """One name per object: sn00cn_bsnip, sn2000cn, SN 2000cn, 2000cn -> sn2000cn.

    Designations with one letter end in a capital (`sn1993J`), longer ones in small letters
    (`sn1999aa`), as the IAU writes them. A name that is no supernova designation is put in small
    letters, without a leading `sn`.
    """
    name = _COPY.sub("", _SUFFIX.sub("", name.strip())).removesuffix("_bsnip")
    match = _SUPERNOVA.match(name)
    if match is None:
        return re.sub(r"^(sn|SN)(?=[A-Za-z])", "", name).lower()
    year, letters = match["year"], match["letters"]
    if year is None:
        century = "19" if int(match["short_year"]) >= _FIRST_SHORT_YEAR else "20"
        year, letters = century + match["short_year"], match["short_letters"]
    return f"sn{year}{letters.upper() if len(letters) == 1 else letters.lower()}"


def object_id(name: str, survey: str = "") -> str:
    """`canon(name)`; a bare number says nothing outside its survey and gets the survey's name."""
    canonical = canon(name)
    if canonical.isdigit() and survey.strip():
        return f"{survey.strip().lower()}-{canonical}"
    return canonical


def supernova_class(subtype: str) -> str | None:
    """The class of a spectroscopic type, grouped as SNID does (Blondin & Tonry 2007, table 4).

    Ia: every Ia-x · Ib: Ib-x, IIb, Ibn · Ic: Ic-x (Ic-broad, Ic-BL) · II: II, IIP, IIL, IIn ·
    Ibc where a source does not tell Ib from Ic · NotSN for galaxies, stars and AGN. None for text
    that names no type.
    """
    text = re.sub(r"^(?:type\s+|sn\s*)+", "", subtype.strip(), flags=re.IGNORECASE)
    folded = text.lower().replace("/", "").replace(" ", "")
    if folded in _NOT_SUPERNOVAE:
        return "NotSN"
    for prefix, name in _CLASS_BY_PREFIX:
        if folded.startswith(prefix):
            return name
    return None


# the first prefix that fits decides: `iib` before `ii`, `ibc` before `ib`
_CLASS_BY_PREFIX = (
    ("ibc", "Ibc"), ("iib", "Ib"), ("ia", "Ia"), ("ib", "Ib"), ("ic", "Ic"), ("ii", "II"),
)  # fmt: skip
_NOT_SUPERNOVAE = frozenset({"notsn", "agn", "gal", "lbv", "m-star", "c-star", "qso", "star"})


class SampleNames:
    """Gives each file of one pass a name of its own, the stem where that is free.

    Two folders may hold a file of one name; the later one is called by its path.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, file: str) -> str:
        """The name under which the file's samples go, e.g. `sn1999aa` for `lnw/sn1999aa.lnw`."""
        path = PurePosixPath(file)
        name = self._first_free((path.stem, str(path.with_suffix("")), file))
        self._taken.add(name)
        return name

    def _first_free(self, candidates: Iterable[str]) -> str:
        return next(c for c in candidates if c not in self._taken)
