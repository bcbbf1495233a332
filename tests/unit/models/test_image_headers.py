"""What a file says of itself: size, orientation, completeness, and the sentences for what is no picture."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.errors import ImageUnreadable, InputTooLarge, InvalidInput
from models.image_headers import ImageHeader, ImageLimits, check_picture, read_header


def photo(width: int = 64, height: int = 48) -> Image.Image:
    """Noise: its scan is long, so that cutting it anywhere cuts into pixels."""
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def jpeg_segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segment(jpeg: bytes, segment: bytes) -> bytes:
    return jpeg[:2] + segment + jpeg[2:]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def jpeg_header(width: int, height: int, precision: int = 8) -> bytes:
    frame = struct.pack(">BHHB", precision, height, width, 3) + b"\x01\x11\x00\x02\x11\x00\x03\x11\x00"
    return b"\xff\xd8" + jpeg_segment(0xC0, frame)


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def webp_header(width: int, height: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + canvas


JPEG = encoded(photo(), "JPEG")
PROGRESSIVE = encoded(photo(), "JPEG", progressive=True)
PNG = encoded(photo(), "PNG")
WEBP = encoded(photo(), "WEBP")
WEBP_LOSSLESS = encoded(photo(), "WEBP", lossless=True)
WEBP_EXTENDED = encoded(photo(), "WEBP", exif=exif(1))
WHOLE = {
    "jpeg": JPEG,
    "progressive jpeg": PROGRESSIVE,
    "png": PNG,
    "webp": WEBP,
    "lossless webp": WEBP_LOSSLESS,
    "extended webp": WEBP_EXTENDED,
}
every_format = pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in WHOLE.items()])


class TestHeader:
    @every_format
    def test_tells_the_size(self, data: bytes) -> None:
        header = read_header(data)
        assert (header.width, header.height, header.orientation) == (64, 48, 1)
        assert check_picture(memoryview(data)) == header

    @pytest.mark.parametrize("size", [(1, 1), (1, 999), (16_383, 1)])
    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
    def test_tells_extreme_sizes(self, size: tuple[int, int], file_format: str) -> None:
        header = check_picture(encoded(Image.new("RGB", size), file_format))
        assert (header.width, header.height, header.format) == (*size, file_format.lower())

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
    def test_size_is_that_of_the_picture_as_displayed(self, orientation: int, file_format: str) -> None:
        header = read_header(encoded(photo(), file_format, exif=exif(orientation)))
        assert header.orientation == orientation
        assert (header.width, header.height) == ((48, 64) if orientation >= 5 else (64, 48))

    def test_orientation_behind_the_pixels_of_a_png(self) -> None:
        turned = png_chunk(b"eXIf", exif(6).tobytes())
        assert read_header(PNG[:-12] + turned + PNG[-12:]).orientation == 6

    @pytest.mark.parametrize(
        "block",
        [
            pytest.param(b"", id="empty"),
            pytest.param(b"II", id="cut off"),
            pytest.param(b"XX*\0\x08\0\0\0", id="neither II nor MM"),
            pytest.param(b"II*\0\xff\xff\xff\xff", id="directory beyond the end"),
            pytest.param(b"II*\0\x08\0\0\0\xff\xff", id="65535 entries that are not there"),
            pytest.param(b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x00\0\0\0", id="orientation 0"),
            pytest.param(b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0", id="orientation 9"),
            pytest.param(b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x01\0\0\0\xff\xff\0\0", id="orientation as text"),
            pytest.param(b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", id="cut off within the entry"),
        ],
    )
    def test_malformed_exif_counts_as_none(self, block: bytes) -> None:
        jpeg = with_segment(JPEG, jpeg_segment(0xE1, b"Exif\0\0" + block))
        assert check_picture(jpeg) == ImageHeader(64, 48, "jpeg", 1)

    @pytest.mark.parametrize(
        "block",
        [
            pytest.param(b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0", id="Intel"),
            pytest.param(b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0", id="Motorola"),
            pytest.param(b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x04\0\0\0\x01\0\0\0\x06", id="as a long number"),
            pytest.param(b"II*\0\x08\0\0\0\x01\0\x12\x01\x01\0\x01\0\0\0\x06\0\0\0", id="as a byte"),
        ],
    )
    def test_orientation_in_every_byte_order(self, block: bytes) -> None:
        assert read_header(with_segment(JPEG, jpeg_segment(0xE1, b"Exif\0\0" + block))).orientation == 6

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=80), st.sampled_from([b"", b"II*\0", b"MM\0*", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
    def test_no_exif_is_fatal(self, block: bytes, start: bytes) -> None:
        header = read_header(with_segment(JPEG, jpeg_segment(0xE1, b"Exif\0\0" + start + block)))
        assert {header.width, header.height} == {64, 48}

    def test_other_metadata_is_passed_over(self) -> None:
        jpeg = with_segment(JPEG, jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>") + jpeg_segment(0xFE, b"hi"))
        assert check_picture(jpeg).width == 64

    def test_stray_and_fill_bytes_between_segments_are_passed_over(self) -> None:
        assert check_picture(with_segment(JPEG, b"\xff\xff\xff" + jpeg_segment(0xFE, b"hi")[1:] + b"\0\0")).width == 64


class TestWhatIsNoPicture:
    @pytest.mark.parametrize(
        ("data", "says"),
        [
            pytest.param(b"", "empty (0 bytes)", id="0 bytes"),
            pytest.param(b"Dear robot,\nplease look at this.\n", "text", id="a text file"),
            pytest.param(b'{"image": "..."}', "text", id="JSON"),
            pytest.param(("ü" * 40).encode()[1:], "no picture", id="text that begins within a character"),
            pytest.param(b"x" + ("ü" * 40).encode(), "text", id="text whose 64th byte is half a character"),
            pytest.param(encoded(photo(), "GIF"), "a GIF", id="GIF"),
            pytest.param(encoded(photo(), "BMP"), "a BMP", id="BMP"),
            pytest.param(encoded(photo(), "TIFF"), "a TIFF", id="TIFF"),
            pytest.param(b"%PDF-1.7\n", "a PDF", id="PDF"),
            pytest.param(b"PK\x03\x04" + bytes(40), "a zip archive", id="zip"),
            pytest.param(b"\0\0\0\x18ftypheic" + bytes(40), "HEIC", id="HEIC from a phone"),
            pytest.param(b"RIFF\0\0\0\0AVI " + bytes(40), "video", id="AVI"),
            pytest.param(b"\x93NUMPY\x01\0", "numpy", id="numpy file"),
            pytest.param(b"\x00\x01\x02\x03", "begin with 00 01 02 03", id="some bytes"),
            pytest.param(b"\xff\xd8", "begin with ff d8", id="two bytes of a JPEG"),
        ],
    )
    def test_is_named_and_the_way_out_too(self, data: bytes, says: str) -> None:
        for ask in (read_header, check_picture):
            with pytest.raises(ImageUnreadable) as caught:
                ask(data)
            assert says in str(caught.value)
            assert str(caught.value).endswith("Send a JPEG, PNG or WebP picture.")

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(b"\xff\xd8\xff", id="JPEG signature alone"),
            pytest.param(b"\xff\xd8\xff\xe0\xff\xff", id="JPEG segment beyond the end"),
            pytest.param(b"\xff\xd8\xff\xe0\x00\x01" + JPEG, id="JPEG segment of length 1"),
            pytest.param(b"\xff\xd8\xff\xd9", id="JPEG without anything"),
            pytest.param(
                b"\xff\xd8" + jpeg_segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\xff\xd9", id="scan, no size"
            ),
            pytest.param(jpeg_header(0, 10), id="JPEG of width 0"),
            pytest.param(png_header(10, 0), id="PNG of height 0"),
            pytest.param(PNG[:8], id="PNG signature alone"),
            pytest.param(PNG[:30], id="PNG cut within its header"),
            pytest.param(PNG[:8] + PNG[33:], id="PNG without its header"),
            pytest.param(WEBP[:29], id="WebP cut within its header"),
            pytest.param(WEBP[:12] + b"ABCD" + WEBP[16:], id="WebP of no known kind"),
            pytest.param(WEBP[:23] + b"\0\0\0" + WEBP[26:], id="WebP without start code"),
        ],
    )
    def test_damaged_header(self, data: bytes) -> None:
        with pytest.raises(ImageUnreadable, match=r"is damaged: .* Send the file as it was written"):
            read_header(data)

    def test_twelve_bits_a_channel_are_told(self) -> None:
        with pytest.raises(ImageUnreadable, match="12 bits a channel; only 8"):
            read_header(jpeg_header(64, 48, precision=12))


class TestCutOff:
    @every_format
    @pytest.mark.parametrize("fraction", [0.5, 0.9, 0.99])
    def test_file_is_refused(self, data: bytes, fraction: float) -> None:
        cut = data[: int(len(data) * fraction)]
        with pytest.raises(ImageUnreadable, match=f"cut off: its end is missing after {len(cut)} bytes"):
            check_picture(cut)
        assert read_header(cut).width == 64

    @every_format
    def test_last_byte_missing(self, data: bytes) -> None:
        with pytest.raises(ImageUnreadable, match="cut off"):
            check_picture(data[:-1])

    @pytest.mark.parametrize("data", [JPEG, PROGRESSIVE, PNG], ids=["jpeg", "progressive jpeg", "png"])
    def test_a_file_that_ends_in_zeros_since_the_power_went(self, data: bytes) -> None:
        half = len(data) // 2
        with pytest.raises(ImageUnreadable):
            check_picture(data[:half] + bytes(len(data) - half))

    def test_the_end_of_the_thumbnail_is_not_the_end_of_the_picture(self) -> None:
        thumbnail = jpeg_segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0" + encoded(photo(8, 8), "JPEG"))
        jpeg = with_segment(JPEG, thumbnail)
        assert check_picture(jpeg).width == 64
        for end in (2 + len(thumbnail), len(jpeg) // 2 + len(thumbnail) // 2, len(jpeg) - 2):
            with pytest.raises(ImageUnreadable):
                check_picture(jpeg[:end])

    @pytest.mark.parametrize("data", [JPEG, PROGRESSIVE], ids=["baseline", "progressive"])
    @pytest.mark.parametrize(
        "rest",
        [
            pytest.param(bytes(3), id="zeros"),
            pytest.param(bytes(10_000), id="many zeros"),
            pytest.param(b"\r\n", id="line end"),
            pytest.param(b"maker's own trailer", id="a trailer"),
            pytest.param(JPEG[: len(JPEG) // 2], id="a second picture, cut"),
        ],
    )
    def test_what_follows_a_whole_jpeg_does_not_matter(self, data: bytes, rest: bytes) -> None:
        assert check_picture(data + rest).width == 64

    def test_a_comment_between_two_scans_is_not_the_end(self) -> None:
        second_scan = PROGRESSIVE.rindex(b"\xff\xda")
        comment = jpeg_segment(0xFE, b"\xff\xd9")
        assert check_picture(PROGRESSIVE[:second_scan] + comment + PROGRESSIVE[second_scan:] + b"trailer").width == 64
        with pytest.raises(ImageUnreadable, match="cut off"):
            check_picture(PROGRESSIVE[:second_scan] + comment + PROGRESSIVE[second_scan:-2] + b"trailer")

    def test_a_png_without_pixels(self) -> None:
        with pytest.raises(ImageUnreadable, match="cut off"):
            check_picture(PNG[:33] + PNG[-12:])


class TestTooLarge:
    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(jpeg_header(20_000, 20_000), id="jpeg"),
            pytest.param(png_header(20_000, 20_000), id="png"),
            pytest.param(webp_header(20_000, 20_000), id="webp"),
        ],
    )
    def test_decompression_bomb(self, data: bytes) -> None:
        for ask in (read_header, check_picture):
            with pytest.raises(
                InputTooLarge, match=r"20000 x 20000 pixels; .* up to 100 megapixels and 16384 pixels a side"
            ):
                ask(data)

    def test_a_long_side_alone_is_enough(self) -> None:
        with pytest.raises(InputTooLarge):
            read_header(png_header(20_000, 1))

    def test_too_many_bytes(self) -> None:
        with pytest.raises(InputTooLarge, match=r"2.0 MiB; this box accepts up to 1 MiB"):
            check_picture(bytes(2 * 2**20), ImageLimits(max_bytes=2**20))

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(b"\xff\xd8" + b"\xff\xe0\x00\x02" * 60_000, id="jpeg segments"),
            pytest.param(b"\xff\xd8\xff" + b"\xd8\xff" * 60_000, id="jpeg markers"),
            pytest.param(png_header(4, 4) + png_chunk(b"tEXt", b"") * 60_000, id="png chunks"),
        ],
    )
    def test_endless_empty_parts_are_not_walked_to_the_end(self, data: bytes) -> None:
        with pytest.raises(ImageUnreadable, match="more than 50000"):
            check_picture(data)

    def test_endless_empty_webp_chunks_are_not_searched_to_the_end(self) -> None:
        block = exif(6).tobytes()
        behind = b"EXIF" + struct.pack("<I", len(block)) + block
        endless = bytearray(webp_header(4, 4) + b"ABCD\0\0\0\0" * 60_000 + behind)
        endless[20] = 0x08  # promises EXIF
        assert read_header(bytes(endless[:30] + behind)).orientation == 6
        assert read_header(bytes(endless)).orientation == 1


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([b"", b"\xff\xd8\xff", PNG[:33], WEBP[:20], WEBP_LOSSLESS[:20], WEBP_EXTENDED[:20]]),
    st.binary(max_size=200),
)
def test_random_bytes_raise_nothing_but_our_errors(start: bytes, rest: bytes) -> None:
    for ask in (read_header, check_picture):
        try:
            header = ask(start + rest)
        except InvalidInput as error:
            assert str(error).endswith(".")
        else:
            assert header.width > 0
            assert header.height > 0
