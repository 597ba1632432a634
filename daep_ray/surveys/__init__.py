"""Raw survey files -> an iterator of samples. A format is one file here and one line in READERS.

In: a format's name, a source and options (plain JSON). Out: a `Survey`.
"""

import difflib
from pathlib import Path
from typing import Any

from daep_ray.errors import ConfigError
from daep_ray.settings import override
from daep_ray.surveys import (
    ascii_spectra,
    desi,
    lamost,
    snana,
    snana_fits,
    snid,
    surface,
    synthetic,
    table,
)
from daep_ray.surveys.survey import Reader, Survey

__all__ = ["READERS", "Reader", "Survey", "open_survey"]

READERS: dict[str, Reader] = {
    "synthetic": synthetic.READER,  # built in, with known truth
    "snid": snid.READER,  # SNID templates, .lnw
    "snana": snana.READER,  # SNANA text: light curves and spectra
    "lamost": lamost.READER,  # LAMOST stellar spectra, FITS in four layouts
    "desi": desi.READER,  # DESI coadds and spectra, FITS, three arms
    "ascii": ascii_spectra.READER,  # text spectra: CSP, BSNIP, one's own
    "snana_fits": snana_fits.READER,  # SNANA FITS: light curves in pairs HEAD, PHOT
    "table": table.READER,  # long tables, one row per measurement, by a mapping
    "surface": surface.READER,  # simulated from a SALT model's surface and filters
}


def open_survey(format: str, source: Path | None, options: dict[str, Any]) -> Survey:
    """Open a source; its modalities and vocabularies are known when this returns.

    An option may be a dotted path: `{"place.kind": "redshift", "place.high": 0.1}`.

    Raises:
        ConfigError: no such format, a wrong option, a source missing or not wanted.
        DataError: nothing to read at the source.
    """
    if format not in READERS:
        near = difflib.get_close_matches(format, READERS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"unknown survey format {format!r}: {hint}known: {', '.join(READERS)}")
    reader = READERS[format]
    if reader.needs_source and source is None:
        raise ConfigError(f"the format {format!r} needs a folder or an archive to read")
    if source is not None and not reader.needs_source:
        raise ConfigError(
            f"the format {format!r} makes its own data: leave out the source {str(source)!r}"
        )
    plain = {path: value for path, value in options.items() if "." not in path}
    dotted = {path: value for path, value in options.items() if "." in path}
    settings = reader.settings.parse(plain)
    return reader.open(source, override(settings, dotted) if dotted else settings)
