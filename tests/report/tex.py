"""Reads a table's LaTeX as TeX would: enough of its rules to know that the file compiles.

In: the text of a .tex file. Out: the cells of its rows; an `Untypable` where TeX would stop.
"""

import re
from dataclasses import dataclass, field

# Everything that a file may use: of LaTeX itself, no package.
TEXT = {
    *("caption", "centering", "hline", "par", "smallskip", "medskip", "footnotesize", "textbf"),
    *("setlength", "tabcolsep"),
    *("textbackslash", "textasciitilde", "textasciicircum"),
    *(
        "AA",
        "aa",
        "AE",
        "ae",
        "O",
        "o",
        "L",
        "l",
        "ss",
        "OE",
        "oe",
        "i",
        "c",
        "v",
        "H",
        "u",
        "r",
        "k",
    ),
}
ACCENTS = set("'`^\"~=.")
GREEK = """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma
varsigma tau upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"""
MATHS = {"pm", "times", "cdot"} | set(re.findall(r"\w+", GREEK))
ENVIRONMENT = re.compile(r"\\(begin|end)\{(table\*?|tabular)\}(?:\{([lr]+)\})?")
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[^\\]", re.DOTALL)


class Untypable(Exception):
    """TeX would stop here, or print something else than was meant."""


@dataclass
class Reader:
    """Goes through the tokens once."""

    environments: list[str] = field(default_factory=list)
    depth: int = 0  # of braces
    is_maths: bool = False
    places: str = ""  # of the tabular that is open: l and r
    row: list[str] = field(default_factory=list)
    tables: list[list[list[str]]] = field(default_factory=list)  # of each tabular its rows

    def read(self, text: str) -> list[list[list[str]]]:
        if not text.isascii():
            raise Untypable("letters that pdflatex does not know")
        rest = re.sub(r"\\label\{[A-Za-z0-9:-]+\}", "", text)
        while rest:
            found = ENVIRONMENT.match(rest) or TOKEN.match(rest)
            if found is None:
                raise Untypable(f"a lone backslash: {rest[:9]!r}")
            rest = rest[found.end() :]
            self._environment(found) if found.re is ENVIRONMENT else self._take(found[0])
        if self.environments or self.depth or self.is_maths:
            raise Untypable(f"left open: {self.environments}, {self.depth} braces, or maths")
        return self.tables

    def _environment(self, found: re.Match[str]) -> None:
        what, name, self.places = found[1], found[2], found[3] or ""
        if (name == "tabular") != (what == "begin" and bool(self.places)) and what == "begin":
            raise Untypable(f"{name} with the columns {self.places!r}")
        if what == "begin":
            self.environments.append(name)
            self.row = [""]
            self.tables += [[]] if name == "tabular" else []
        elif not self.environments or self.environments.pop() != name:
            raise Untypable(f"{name} ends, and another one began last")
        elif name == "tabular" and self.row != [""]:
            raise Untypable(f"the last row has no end: {self.row}")

    def _take(self, token: str) -> None:
        if token == "$":
            self.is_maths = not self.is_maths
        elif token in "{}":
            self.depth += 1 if token == "{" else -1
            if self.depth < 0:
                raise Untypable("a brace too many")
        elif token in ("&", r"\\"):
            self._end_of_cell(token)
        elif token in "#%_~" or (token == "^" and not self.is_maths):
            raise Untypable(f"a bare {token}")
        elif token[0] == "\\":
            known = MATHS if self.is_maths else TEXT | set("&%$#_{},") | ACCENTS
            if token[1:] not in known:
                raise Untypable(f"{token!r} in {'maths' if self.is_maths else 'words'}")
        elif self.places:
            self._letter(token)

    def _letter(self, token: str) -> None:
        if token in "[*" and self.row == [""] and not self.depth:
            raise Untypable(f"a row begins with {token}: an option of the end of the last")
        if not token.isspace() or self.row[-1]:
            self.row[-1] += token

    def _end_of_cell(self, token: str) -> None:
        if not self.places or self.depth or self.is_maths:
            raise Untypable(f"{token} outside a row, or within a group")
        if token == "&":
            self.row.append("")
            return
        if len(self.row) != len(self.places):
            raise Untypable(f"{len(self.row)} cells in {len(self.places)} columns: {self.row}")
        self.tables[-1].append([cell.strip() for cell in self.row])
        self.row = [""]


def tables_of(text: str) -> list[list[list[str]]]:
    """The rows of every tabular of a file, their cells without commands and braces.

    Raises:
        Untypable: it would not compile as it is.
    """
    return Reader().read(text)


def rows_of(text: str) -> list[list[str]]:
    """The rows of all its tabulars together; see `tables_of`."""
    return [row for table in tables_of(text) for row in table]


def joined(panels: list[list[list[str]]]) -> list[list[str]]:
    """The rows of a table that was set in panels, whose first columns are the same."""
    first, *others = panels
    same = 0
    while others and all(a[same] == b[same] for p in others for a, b in zip(first, p, strict=True)):
        same += 1
    return [
        [*row, *(cell for panel in others for cell in panel[i][same:])]
        for i, row in enumerate(first)
    ]
