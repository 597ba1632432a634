"""One table file -> Arrow tables of the columns that are wanted, a batch of rows at a time.

In: a file (its bytes, or its path where it is too large for memory), its layout and the columns.
Out: `pa.Table` batches in the file's order; every entry of text is still bytes. Rows of another
length than the header's are handed to `on_short_row` and left out. A file that is no such table is
`Malformed`, with a reason of one line.
"""

import codecs
import csv
import difflib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from daep_ray.surveys.fits import (
    FitsDefect,
    column,
    column_names,
    extension_names,
    header_text,
    open_fits,
)
from daep_ray.surveys.source import LargeFile, RawFile

_BATCH_BYTES = 2**20  # Arrow reads up to 32 of them ahead
_BATCH_ROWS = 2**17
_DAMAGE = (pa.ArrowException, OSError, ValueError)  # what Arrow raises for a file that is none

OnShortRow = Callable[[str, str], object]  # (its entry in the first column wanted, why)


class Malformed(Exception):
    """Why a file is no table of this layout, in one line."""


@dataclass(frozen=True)
class Layout:
    """How a file is written: `kind` as in the mapping, `header` the names of columns without."""

    kind: str
    delimiter: str = ","
    header: tuple[str, ...] = ()


def read_batches(
    file: RawFile | LargeFile, layout: Layout, columns: tuple[str, ...], on_short_row: OnShortRow
) -> Iterator[pa.Table]:
    """The file's rows, only `columns`, in batches of about a megabyte.

    Raises:
        Malformed: no such table, a column missing, or damage on the way.
    """
    try:
        if layout.kind == "parquet":
            yield from _parquet(file, columns)
        elif layout.kind == "fits":
            yield _fits(file, columns)
        else:
            yield from _text(file, layout, columns, on_short_row)
    except FitsDefect as error:
        raise Malformed(str(error)) from None
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the table
        raise Malformed(f"is no {layout.kind} table that can be read: {_words(error)}") from None


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def require(columns: tuple[str, ...], found: list[str]) -> None:
    """Every column is there, once.

    Raises:
        Malformed: one is not; the nearest that is there is named.
    """
    for name in columns:
        if found.count(name) == 1:
            continue
        if name in found:
            raise Malformed(f"has the column {name!r} twice")
        near = difflib.get_close_matches(name, found, n=1)
        hint = f"is it {near[0]!r}? " if near else ""
        shown = ", ".join(found[:12]) + (" ..." if len(found) > 12 else "")
        raise Malformed(f"has no column {name!r}: {hint}its columns are {shown}")


# ---------------------------------------------------------------- text


def _text(
    file: RawFile | LargeFile, layout: Layout, columns: tuple[str, ...], on_short_row: OnShortRow
) -> Iterator[pa.Table]:
    def short(row: pacsv.InvalidRow) -> str:
        entries = dict(zip(header, row.text.split(delimiter), strict=False))
        why = f"a row has {row.actual_columns} entries instead of {row.expected_columns}"
        on_short_row(entries.get(columns[0], "").strip(), why)
        return "skip"

    is_loose = layout.kind == "whitespace"
    delimiter = " " if is_loose else layout.delimiter
    if is_loose and isinstance(file, LargeFile):
        raise Malformed("is too large for text between blanks: write it as CSV or Parquet")
    if isinstance(file, RawFile):
        content = _valid_utf_8(_single_blanks(file.content) if is_loose else file.content)
        if not content.strip():
            raise Malformed("is empty")
        if b"\0" in content[:4096]:
            raise Malformed("is a binary file, no table of text")
        header = list(layout.header) or _header(content, layout)
        num_bytes = len(content)
        source: pa.NativeFile = pa.BufferReader(content)
    else:
        with file.path.open("rb") as head:
            header = list(layout.header) or _header(head.read(_BATCH_BYTES), layout)
        source, num_bytes = pa.PythonFile(_ValidUtf8(file.path), "r"), _BATCH_BYTES
    require(columns, header)
    reader = pacsv.open_csv(
        source,
        pacsv.ReadOptions(
            use_threads=False,
            block_size=max(min(_BATCH_BYTES, num_bytes), 1024),
            column_names=header if layout.header else None,
        ),
        pacsv.ParseOptions(delimiter=delimiter, invalid_row_handler=short),
        pacsv.ConvertOptions(
            include_columns=list(columns),
            column_types=dict.fromkeys(columns, pa.binary()),
            strings_can_be_null=False,
        ),
    )
    for batch in reader:
        yield pa.Table.from_batches([batch])


def _valid_utf_8(content: bytes) -> bytes:
    """Bytes that are no text become U+FFFD: Arrow cannot hand over a short row that holds some."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("utf-8", "replace").encode()
    return content


class _ValidUtf8(io.RawIOBase):
    """A file's bytes as `_valid_utf_8` makes them, read forwards."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ready = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, fewer only at the end: Arrow copies what it is given."""
        while size < 0 or len(self._ready) < size:
            content = self._file.read(_BATCH_BYTES)
            self._ready += self._decoder.decode(content, final=not content).encode()
            if not content:
                break
        end = len(self._ready) if size < 0 else size
        taken, self._ready = self._ready[:end], self._ready[end:]
        return taken

    def close(self) -> None:
        self._file.close()
        super().close()


def _header(content: bytes, layout: Layout) -> list[str]:
    """The names in the first line that is not empty."""
    content = content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    line = re.split(rb"[\r\n]", content, maxsplit=1)[0]
    delimiter = " " if layout.kind == "whitespace" else layout.delimiter
    try:
        return next(csv.reader([line.decode("utf-8", "replace")], delimiter=delimiter), [])
    except csv.Error as error:
        raise Malformed(f"its first line names no columns: {error}") from None


def _single_blanks(content: bytes) -> bytes:
    """One blank between the entries of a row, none around; comment lines are left out."""
    content = re.sub(rb"(?m)^[ \t]*#.*\n?", b"", content.replace(b"\r\n", b"\n"))
    content = re.sub(rb"[ \t]+", b" ", content)
    return re.sub(rb"(?m)^ | $", b"", content)


# ---------------------------------------------------------------- binary


def _parquet(file: RawFile | LargeFile, columns: tuple[str, ...]) -> Iterator[pa.Table]:
    source = pa.BufferReader(file.content) if isinstance(file, RawFile) else str(file.path)
    with pq.ParquetFile(source) as table:
        require(columns, table.schema_arrow.names)
        for name in columns:
            kind = table.schema_arrow.field(name).type
            if pa.types.is_nested(kind):
                raise Malformed(f"the column {name!r} holds {kind}, not one entry per row")
        for batch in table.iter_batches(_BATCH_ROWS, columns=list(columns), use_threads=False):
            yield pa.Table.from_batches([batch])


def _fits(file: RawFile | LargeFile, columns: tuple[str, ...]) -> pa.Table:
    """All tables of the file, one after another; a name that is no column is a header card."""
    if isinstance(file, LargeFile):
        raise Malformed("is too large for a FITS table: write it as Parquet")
    with open_fits(file.content) as hdus:
        for k, hdu in enumerate(hdus[1:], 1):
            hdu.name = f"TABLE{k}"  # tables without a name, or of one name, are told apart
        names = extension_names(hdus)
        if not names:
            raise Malformed("holds no FITS table")
        return pa.concat_tables([_fits_table(hdus, name, columns) for name in names])


def _fits_table(hdus: object, table: str, columns: tuple[str, ...]) -> pa.Table:
    names = column_names(hdus, table)
    hdu = hdus[table]  # type: ignore[index]
    cards = {c: header_text(hdu, c) for c in columns if c not in names}
    require(columns, [*names, *(c for c, text in cards.items() if text is not None)])
    arrays: dict[str, np.ndarray | list[str | None]] = {}
    num_rows = int(hdu.header.get("NAXIS2", 0))
    for name in columns:
        array = [cards[name]] * num_rows if name in cards else column(hdus, table, name)
        if isinstance(array, np.ndarray) and array.ndim != 1:
            raise Malformed(f"the column {name!r} holds {array.shape[1:]} entries per row")
        arrays[name] = array
    return pa.table(arrays)
