"""FITS from bytes: whole files are read, everything else is one sentence."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from hypothesis import given, settings
from hypothesis import strategies as st

from daep_ray.surveys.fits import (
    FitsDefect,
    column,
    column_names,
    extension_names,
    header_number,
    header_text,
    image,
    numbers,
    open_fits,
)

PIXELS = np.arange(12.0).reshape(3, 4)


def packed(*hdus: object) -> bytes:
    file = io.BytesIO()
    astropy_fits.HDUList(list(hdus)).writeto(file)
    return file.getvalue()


@pytest.fixture(scope="module")
def example() -> bytes:
    table = astropy_fits.BinTableHDU.from_columns(
        [
            astropy_fits.Column("NAME", "6A", array=np.array(["ab", "c  "])),
            astropy_fits.Column("TIME", "D", array=np.array([1.5, 2.5])),
            astropy_fits.Column("VECTOR", "3E", array=np.arange(6.0).reshape(2, 3)),
            astropy_fits.Column("RAGGED", "PD()", array=np.array([[1.0], [2.0, 3.0]], object)),
        ],
        name="TABLE",
    )
    header = astropy_fits.Header({"A": 1.5, "B": "text", "C": True, "D": " "})
    return packed(
        astropy_fits.PrimaryHDU(PIXELS.astype(np.float32), header),
        table,
        astropy_fits.CompImageHDU((100 * PIXELS).astype(np.int32), name="PACKED"),
    )


def test_arrays_come_native_and_whole(example: bytes) -> None:
    hdus = open_fits(example)
    assert extension_names(hdus) == ["TABLE", "PACKED"]
    assert column_names(hdus, "TABLE") == ["NAME", "TIME", "VECTOR", "RAGGED"]
    np.testing.assert_array_equal(image(hdus, ""), PIXELS)
    np.testing.assert_array_equal(image(hdus, "PACKED"), 100 * PIXELS)
    np.testing.assert_array_equal(column(hdus, "TABLE", "TIME"), [1.5, 2.5])
    assert column(hdus, "TABLE", "VECTOR").shape == (2, 3)
    assert column(hdus, "TABLE", "NAME").tolist() == ["ab", "c"]
    for array in (image(hdus, ""), column(hdus, "TABLE", "TIME"), column(hdus, "TABLE", "VECTOR")):
        assert array.dtype.isnative
        assert array.flags.owndata


def test_header_cards(example: bytes) -> None:
    primary = open_fits(example)[0]
    assert (header_number(primary, "A"), header_text(primary, "B")) == (1.5, "text")
    for key in ("B", "C", "D", "NONE"):
        assert header_number(primary, key) is None
    assert header_text(primary, "D") is header_text(primary, "NONE") is None


def test_what_is_not_there_is_named(example: bytes) -> None:
    hdus = open_fits(example)
    for read, words in (
        (lambda: image(hdus, "FLUX"), "no extension FLUX, only TABLE, PACKED"),
        (lambda: image(hdus, "TABLE"), "TABLE is missing or empty"),
        (lambda: column(hdus, "COADD", "FLUX"), "no extension COADD"),
        (lambda: column(hdus, "PACKED", "FLUX"), "PACKED is no table"),
        (lambda: column(hdus, "TABLE", "FLUX"), "no column FLUX, only NAME, TIME"),
        (lambda: column(hdus, "TABLE", "RAGGED"), "neither numbers nor text"),
        (lambda: numbers(column(hdus, "TABLE", "NAME"), "the column NAME"), "holds no numbers"),
    ):
        with pytest.raises(FitsDefect, match=words):
            read()


@pytest.mark.parametrize("content", [b"", b"no FITS", b"\0" * 2880, b"SIMPLE  = ", b"\x1f\x8b"])
def test_other_bytes_are_no_fits(content: bytes) -> None:
    with pytest.raises(FitsDefect, match="is no FITS file"):
        open_fits(content)


def test_every_cut_in_the_data_is_found(example: bytes, lamost_file: Callable[..., bytes]) -> None:
    """A cut at a block's end leaves a whole file with fewer extensions; no other passes."""
    for content in (example, lamost_file("dr1"), lamost_file("dr9")):
        whole = open_fits(content)
        ends = [hdu.fileinfo()["datLoc"] + hdu.fileinfo()["datSpan"] for hdu in whole]
        for length in range(0, len(content) - 2880, 97):
            try:
                found = open_fits(content[:length])
            except FitsDefect:
                continue
            # the padding after the last number may lack; what is there is whole
            assert found[-1].fileinfo()["datLoc"] + found[-1].size <= length
            assert len(found) < len(whole)
        assert ends[-1] == len(content)


@pytest.mark.parametrize("num_pixels", [10**6, 10**10])
def test_a_compressed_bomb_is_refused(num_pixels: int) -> None:
    packed_image = astropy_fits.CompImageHDU(np.zeros((2, 2), np.int32), name="BOMB")
    content = packed(astropy_fits.PrimaryHDU(), packed_image)
    card = b"ZNAXIS1 =                    2"
    assert content.count(card) == 1
    content = content.replace(card, b"ZNAXIS1 =" + f"{num_pixels:>21}".encode())
    with pytest.raises(FitsDefect, match=r"unpacks to more than|cannot be read"):
        image(open_fits(content), "BOMB")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_damage_raises_anything_else(example: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(example) - 1))
    put = data.draw(st.binary(min_size=1, max_size=12))
    content = example[:start] + put + example[start + len(put) :]
    reason = ""
    try:
        hdus = open_fits(content)
        for name in extension_names(hdus):
            if name == "TABLE":
                for wanted in column_names(hdus, name):
                    column(hdus, name, wanted)
            else:
                image(hdus, name)
    except FitsDefect as defect:
        reason = str(defect)
    assert "\n" not in reason
