"""How surveys write their spectra as text: what the file itself does not say.

In: the name of a dialect. Out: its frame, its unit, where its errors, names and dates are. A new
survey of text files is one entry of `DIALECTS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Dialect:
    """What the files of one survey share.

    `error_column`: 0 = no errors, else the column's number, the wavelength being 1, the flux 2.
    `name_pattern`: a regular expression for a file's name without its suffix, with the groups
    `object` and, if the name tells it, `date` (yyyymmdd or yymmdd, with a fraction or without).
    `header_keys`: our name (redshift, phase, julian_date) -> the key in `# key: value`.
    """

    frame: str | None = None  # rest or observer; None: the user must say it
    flux_unit: str = "relative"
    error_column: int = 0
    name_pattern: str = "(?P<object>.+)"
    default_subtype: str = ""
    header_keys: Mapping[str, str] = field(default_factory=dict)
    has_bsnip_tables: bool = False


DIALECTS: Mapping[str, Dialect] = MappingProxyType({
    "plain": Dialect(),
    # Folatelli et al. 2013, ApJ 773, 53: SNe Ia. One file has a third column, which is another
    # wavelength: so there are no errors. The names of files are right where a header is not:
    # `SN06bd_060330_b01_DUP_WF.dat` says SN2006bh, with the redshift and maximum of 2006bd, and
    # `SN06fw_060917_b01_DUP_WF.dat` has a date of observation 1,000 days late
    "csp": Dialect(
        frame="rest",
        flux_unit="erg/s/cm2/Angstrom",
        name_pattern=r"(?P<object>[^_]+)_(?P<date>\d{6})_",
        default_subtype="Ia",
        header_keys={
            "redshift": "Redshift",
            "phase": "Epoch",
            "julian_date": "JDate_of_observation",
        },
    ),
    # Silverman et al. 2012, MNRAS 425, 1789: SNe Ia. A tenth of the files has a third column, and
    # in most of those it holds one to three constants: so errors are read only if they are asked
    # for. The scale of the flux is not stated
    "bsnip": Dialect(
        frame="observer",
        name_pattern=r"(?P<object>[^-]+)(?:-far)?-(?P<date>\d{8}(?:\.\d+)?)",
        default_subtype="Ia",
        has_bsnip_tables=True,
    ),
})  # fmt: skip
