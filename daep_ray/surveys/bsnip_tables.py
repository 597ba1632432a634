"""The tables beside BSNIP's spectra (Silverman et al. 2012, MNRAS 425, 1789): type, date, phase.

In: the bytes of `obj_info_table.txt` and `spec_info_table.txt`, fixed width, without headers:

    SN 1989A  Ia-norm  NGC 3687                        Sbc     2506 ...      name, type, host, cz
    SN 1989A   1989  4 27.000 47643.000  83.80  1  3450  9000 ...            name, date, MJD, phase

Out: what is known of a supernova, and of its spectrum of one night. cz is in km/s, the phase in
rest-frame days from maximum light; either may be blank.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from daep_ray.surveys.ascii_text import number
from daep_ray.surveys.names import canon

OBJECT_TABLE, SPECTRUM_TABLE = "obj_info_table.txt", "spec_info_table.txt"
_NAME, _TYPE, _VELOCITY = slice(0, 10), slice(10, 18), slice(57, 63)
_MJD, _PHASE = slice(25, 35), slice(35, 42)
_LIGHT_SPEED = 299792.458  # km/s


@dataclass(frozen=True)
class Supernova:
    subtype: str | None
    redshift: float | None


@dataclass(frozen=True)
class Night:
    mjd: float
    phase: float | None


@dataclass
class Tables:
    """Both tables, by `canon(name)`; empty where a source has none."""

    supernovae: dict[str, Supernova] = field(default_factory=dict)
    nights: dict[str, list[Night]] = field(default_factory=dict)

    def add(self, file_name: str, content: bytes) -> None:
        """Read one of the two tables; a row that says nothing is passed over."""
        read = self._add_supernova if file_name == OBJECT_TABLE else self._add_night
        for name, line in _rows(content):
            read(name, line)

    def night(self, name: str, mjd: float | None) -> Night | None:
        """The row of that supernova and that UT day, the nearest one of several."""
        if mjd is None:
            return None
        of_day = [n for n in self.nights.get(name, []) if int(n.mjd) == int(mjd)]
        return min(of_day, key=lambda night: abs(night.mjd - mjd), default=None)

    def _add_supernova(self, name: str, line: str) -> None:
        words = line[_TYPE].split()
        velocity = number(line[_VELOCITY])
        redshift = None if velocity is None else velocity / _LIGHT_SPEED
        self.supernovae.setdefault(name, Supernova(words[0] if words else None, redshift))

    def _add_night(self, name: str, line: str) -> None:
        mjd = number(line[_MJD])
        if mjd is not None:
            self.nights.setdefault(name, []).append(Night(mjd, number(line[_PHASE])))


def _rows(content: bytes) -> Iterator[tuple[str, str]]:
    for line in content.decode("latin1").splitlines():
        if name := line[_NAME].strip():
            yield canon(name), line
