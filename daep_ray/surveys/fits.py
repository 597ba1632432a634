"""FITS files from bytes: open them whole, read images, columns and header cards, or say why not.

In: the bytes of one file. Out: arrays in the machine's byte order and plain Python values.
Whatever is wrong with a file (no FITS, cut short, another type of column) is a `FitsDefect`, one
sentence that a reader puts into quarantine.
"""

import io
import math
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from daep_ray.surveys.source import MAX_FILE_BYTES

# astropy meets a malformed file with nearly any of these; a file is no reason to stop
_DAMAGE = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError,
    EOFError, OverflowError, ArithmeticError, NotImplementedError, RuntimeError,
    MemoryError, zlib.error, fits.VerifyError,
)  # fmt: skip


class FitsDefect(Exception):
    """Why a file, or a part of it, cannot be read, in words."""


def open_fits(content: bytes) -> fits.HDUList:
    """All headers of the file; data are read when `image` or `column` asks for them.

    Raises:
        FitsDefect: no FITS file, a header that cannot be parsed, or a file cut short.
    """
    if not content.startswith(b"SIMPLE  ="):
        raise FitsDefect("is no FITS file: it does not begin with SIMPLE")
    try:
        with _quiet():
            hdus = fits.open(io.BytesIO(content), memmap=False, lazy_load_hdus=False)
            _check_whole(hdus, content)
            extension_names(hdus)  # parsed here, so that no later look at a name can fail
    except _DAMAGE as error:
        raise FitsDefect(f"is no FITS file that can be read: {_words(error)}") from None
    return hdus


def image(hdus: fits.HDUList, name: str) -> np.ndarray:
    """An image's numbers; `name` "" is the primary image.

    Raises:
        FitsDefect: no such image, or one that cannot be read.
    """
    hdu = extension(hdus, name) if name else hdus[0]
    what = f"the image {name}" if name else "the primary image"
    shape = getattr(hdu, "shape", None)
    if not hdu.is_image or not shape:
        raise FitsDefect(f"{what} is missing or empty")
    if math.prod(shape) * abs(hdu.header.get("BITPIX", 8)) // 8 > MAX_FILE_BYTES:
        raise FitsDefect(f"{what} unpacks to more than {MAX_FILE_BYTES // 2**20} MiB")
    return _native(_read(lambda: hdu.data, what), what)


def column(hdus: fits.HDUList, table: str, name: str) -> np.ndarray:
    """A table's column: numbers (rows,) or (rows, length), or text (rows,) without trailing blanks.

    Raises:
        FitsDefect: no such table or column, or one that cannot be read.
    """
    names = column_names(hdus, table)
    if name not in names:
        raise FitsDefect(f"the table {table} has no column {name}, only {_listed(names)}")
    hdu, what = extension(hdus, table), f"the column {table}.{name}"
    return _native(_read(lambda: hdu.data[name], what), what)


def numbers(array: np.ndarray, what: str) -> np.ndarray:
    """The array as float64.

    Raises:
        FitsDefect: it holds no numbers.
    """
    if array.dtype.kind not in "fiub":
        raise FitsDefect(f"{what} holds no numbers but {array.dtype.name}")
    return array.astype(np.float64)


def extension(hdus: fits.HDUList, name: str) -> Any:
    """The extension (table or image) of that name.

    Raises:
        FitsDefect: there is none; those that are there are named.
    """
    for hdu in hdus[1:]:
        if hdu.name == name:
            return hdu
    raise FitsDefect(f"has no extension {name}, only {_listed(extension_names(hdus)) or 'none'}")


def extension_names(hdus: fits.HDUList) -> list[str]:
    """The names of all extensions, in the file's order."""
    return [hdu.name for hdu in hdus[1:]]


def column_names(hdus: fits.HDUList, table: str) -> list[str]:
    """The names of a table's columns.

    Raises:
        FitsDefect: no such table, or its header cannot be parsed.
    """
    hdu = extension(hdus, table)
    if not isinstance(hdu, fits.BinTableHDU | fits.TableHDU):
        raise FitsDefect(f"the extension {table} is no table")
    # a column without a name is None
    return [str(name or "") for name in _read(lambda: hdu.columns.names, f"the table {table}")]


def header_text(hdu: Any, key: str) -> str | None:
    """A header card as text; None where it is absent, empty, or cannot be parsed."""
    value = _card(hdu, key)
    text = "" if value is None or isinstance(value, fits.card.Undefined) else str(value).strip()
    return text or None


def header_number(hdu: Any, key: str) -> float | None:
    """A header card as a finite number; None where it is absent or anything else."""
    value = _card(hdu, key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _card(hdu: Any, key: str) -> Any:
    try:
        with _quiet():
            return hdu.header.get(key)
    except _DAMAGE:
        return None


def _read(read: Callable[[], Any], what: str) -> Any:
    try:
        with _quiet():
            return read()
    except _DAMAGE as error:
        raise FitsDefect(f"{what} cannot be read: {_words(error)}") from None


def _native(array: Any, what: str) -> np.ndarray:
    """In the machine's byte order, a copy that does not keep the file alive."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiubUS":
        raise FitsDefect(f"{what} holds neither numbers nor text")
    if array.dtype.kind in "US":
        return np.array([str(word).rstrip() for word in array.ravel()], str).reshape(array.shape)
    return np.array(array, array.dtype.newbyteorder("="))


def _check_whole(hdus: fits.HDUList, content: bytes) -> None:
    """The last table or image ends where the file ends; the padding of its block may lack."""
    last = hdus[-1]
    place = last.fileinfo()
    # a compressed image's `size` is that of its pixels
    size = place["datSpan"] if isinstance(last, fits.CompImageHDU) else last.size
    if place["datLoc"] + size > len(content):
        raise FitsDefect(
            f"the file is cut short: it has {len(content):,} bytes and its headers speak of "
            f"{place['datLoc'] + size:,}"
        )
    if content[place["datLoc"] + place["datSpan"] :].strip(b"\0 "):
        # astropy leaves out a header without END, and all that follows it
        raise FitsDefect(f"the file is cut short or damaged after extension {len(hdus) - 1}")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:12]) + (" ..." if len(names) > 12 else "")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without astropy's warnings about malformed files: a `FitsDefect` says what matters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        yield


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
