"""From a file or an array to the pixels that a model sees: right colours, right way up, right place."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.errors import ImageUnreadable, InputTooLarge, InvalidInput
from models.geometry import Placement
from models.images import (
    LETTERBOX_GREY,
    ImageLimits,
    array_from_raw,
    check_picture,
    encode_jpeg,
    prepare,
    prepare_array,
    reduction_for,
)

Pixels = NDArray[np.uint8]

RED, GREEN, BLUE, YELLOW = (220, 30, 40), (20, 170, 60), (30, 60, 210), (230, 220, 40)


def quarters(width: int = 96, height: int = 64) -> Image.Image:
    """Red top left, green top right, blue bottom left, yellow bottom right: no two ways of turning it look alike."""
    picture = np.empty((height, width, 3), dtype=np.uint8)
    picture[: height // 2, : width // 2], picture[: height // 2, width // 2 :] = RED, GREEN
    picture[height // 2 :, : width // 2], picture[height // 2 :, width // 2 :] = BLUE, YELLOW
    return Image.fromarray(picture)


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes, *, before: bytes = b"") -> bytes:
    """A PNG that Pillow cannot write. `rows`: each with its filter byte; `before`: chunks between header and pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def assert_quarters(pixels: Pixels, expected: Any = (RED, GREEN, BLUE, YELLOW), tolerance: int = 12) -> None:
    """The middle of each quarter has its colour (top left, top right, bottom left, bottom right)."""
    height, width = pixels.shape[:2]
    for number, colour in enumerate(expected):
        y, x = height * (1 + 2 * (number // 2)) // 4, width * (1 + 2 * (number % 2)) // 4
        np.testing.assert_allclose(pixels[y, x].astype(int), colour, atol=tolerance, err_msg=f"quarter {number}")


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize(
        ("file_format", "options"),
        [
            pytest.param("JPEG", {"quality": 95}, id="jpeg"),
            pytest.param("PNG", {}, id="png"),
            pytest.param("WEBP", {"lossless": True}, id="webp"),
        ],
    )
    @pytest.mark.parametrize("resize", ["stretch", "letterbox"])
    def test_is_as_pillow_displays_it(self, orientation: int, file_format: str, options: Any, resize: Any) -> None:
        data = encoded(quarters(192, 128), file_format, exif=exif(orientation), **options)
        with Image.open(io.BytesIO(data)) as stored:
            displayed = ImageOps.exif_transpose(stored).convert("RGB")
        ours = prepare(data, 60, 60, resize)
        plain = prepare(encoded(displayed, "PNG"), 60, 60, resize)
        assert (ours.source_width, ours.source_height) == displayed.size
        assert ours.placement == plain.placement
        difference = np.abs(ours.pixels.astype(int) - plain.pixels.astype(int))
        assert difference.mean() < 3

    def test_of_a_cmyk_jpeg(self) -> None:
        data = encoded(quarters(192, 128).convert("CMYK"), "JPEG", exif=exif(6), quality=95)
        assert_quarters(prepare(data, 40, 60).pixels, (BLUE, RED, YELLOW, GREEN))

    def test_malformed_exif_does_not_matter(self) -> None:
        data = encoded(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
        cmyk = encoded(quarters().convert("CMYK"), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x1a\x01\x05\0")
        assert_quarters(prepare(data, 40, 40).pixels)
        assert_quarters(prepare(cmyk, 40, 40).pixels)


GREYS = tuple((grey,) * 3 for grey in (87, 113, 67, 203))  # what ITU-R 601 makes of the four colours


class TestEveryKindOfPicture:
    @pytest.mark.parametrize(
        ("mode", "file_format", "options", "expected"),
        [
            pytest.param("RGB", "JPEG", {}, None, id="jpeg"),
            pytest.param("RGB", "JPEG", {"progressive": True}, None, id="progressive jpeg"),
            pytest.param("RGB", "JPEG", {"subsampling": 0}, None, id="jpeg 4:4:4"),
            pytest.param("RGB", "JPEG", {"keep_rgb": True}, None, id="jpeg that stores RGB"),
            pytest.param("L", "JPEG", {}, GREYS, id="grey jpeg"),
            pytest.param("CMYK", "JPEG", {}, None, id="cmyk jpeg"),
            pytest.param("RGB", "PNG", {}, None, id="png"),
            pytest.param("RGBA", "PNG", {}, None, id="png with alpha"),
            pytest.param("P", "PNG", {}, None, id="palette png"),
            pytest.param("P", "PNG", {"bits": 2}, None, id="palette png of 2 bits"),
            pytest.param("L", "PNG", {}, GREYS, id="grey png"),
            pytest.param("LA", "PNG", {}, GREYS, id="grey png with alpha"),
            pytest.param("RGB", "WEBP", {}, None, id="webp"),
            pytest.param("RGB", "WEBP", {"lossless": True}, None, id="lossless webp"),
            pytest.param("RGBA", "WEBP", {"exact": True}, None, id="webp with alpha"),
            pytest.param("RGBA", "WEBP", {"lossless": True}, None, id="lossless webp with alpha"),
        ],
    )
    @pytest.mark.parametrize("size", [(96, 64), (97, 63), (960, 640), (8, 8)])
    def test_has_its_colours(self, mode: str, file_format: str, options: Any, expected: Any, size: Any) -> None:
        picture = quarters(*size)
        picture = picture.quantize(4) if mode == "P" else picture.convert(mode)
        prepared = prepare(encoded(picture, file_format, **options), 50, 40)
        assert prepared.pixels.shape == (40, 50, 3)
        assert prepared.pixels.dtype == np.uint8
        assert prepared.pixels.flags.c_contiguous
        assert (prepared.source_width, prepared.source_height) == size
        assert_quarters(prepared.pixels, expected or (RED, GREEN, BLUE, YELLOW), tolerance=16)

    @pytest.mark.parametrize(
        ("written", "instead"),
        [
            pytest.param(b"Adobe\0\x64\0\0\0\0\x00", b"Adobe\0\x64\0\0\0\0\x02", id="ycck"),
            pytest.param(b"\xff\xee\0\x0eAdobe", b"\xff\xed\0\x0eAdobe", id="without adobe marker"),
        ],
    )
    def test_odd_cmyk_jpegs_are_read_as_pillow_does(self, written: bytes, instead: bytes) -> None:
        data = encoded(quarters().convert("CMYK"), "JPEG", quality=95)
        assert written in data
        data = data.replace(written, instead)
        with Image.open(io.BytesIO(data)) as picture:
            expected = np.asarray(picture.convert("RGB"))
        assert np.abs(prepare(data, 96, 64).pixels.astype(int) - expected).max() <= 3

    def test_sixteen_bit_grey_is_scaled_not_clipped(self) -> None:
        deep = np.array([[0, 300, 0x4000], [0x8000, 0xC000, 0xFFFF]], dtype=np.uint16)
        prepared = prepare(encoded(Image.fromarray(deep), "PNG"), 3, 2)
        assert prepared.pixels[..., 0].tolist() == [[0, 1, 64], [128, 191, 255]]

    def test_sixteen_bit_colour_and_alpha(self) -> None:
        colour = b"\0" + struct.pack(">3H", 0x8000, 0xFFFF, 0x0100)
        assert prepare(png(1, 1, 16, 2, colour), 1, 1).pixels.tolist() == [[[128, 255, 1]]]
        half_black = b"\0" + struct.pack(">2H", 0, 0x8000)
        assert prepare(png(1, 1, 16, 4, half_black), 1, 1).pixels.tolist() == [[[127, 127, 127]]]

    def test_one_bit_drawing(self) -> None:
        drawing = quarters().convert("L").point(lambda grey: 255 * (grey > 100)).convert("1")
        black, white = (0, 0, 0), (255, 255, 255)
        assert_quarters(prepare(encoded(drawing, "PNG"), 30, 30).pixels, (black, white, black, white))

    @pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
    def test_transparency_lies_over_white(self, file_format: str) -> None:
        sheet = quarters().convert("RGBA")
        alpha = np.zeros((64, 96), dtype=np.uint8)
        alpha[:32] = 255
        sheet.putalpha(Image.fromarray(alpha))
        white = (255, 255, 255)
        for options in ({}, {"lossless": True}):
            assert_quarters(
                prepare(encoded(sheet, file_format, **options), 48, 32).pixels, (RED, GREEN, white, white), tolerance=16
            )

    def test_half_transparent_is_half_white(self) -> None:
        sheet = Image.new("RGBA", (40, 40), (0, 0, 0, 128))
        for size in (40, 10):
            assert np.abs(prepare(encoded(sheet, "PNG"), size, size).pixels.astype(int) - 127).max() <= 1

    def test_transparent_palette_colour_lies_over_white(self) -> None:
        palette = quarters().quantize(4)
        first = palette.getpixel((0, 0))
        data = encoded(palette, "PNG", transparency=first)
        assert_quarters(prepare(data, 48, 32).pixels, ((255, 255, 255), GREEN, BLUE, YELLOW), tolerance=16)

    def test_hidden_colours_do_not_bleed_when_shrunk(self) -> None:
        sheet = np.zeros((64, 64, 4), dtype=np.uint8)
        sheet[::2] = (255, 0, 0, 0)  # every second row a red that nobody sees
        pixels = prepare(encoded(Image.fromarray(sheet), "PNG"), 16, 16).pixels
        assert pixels[..., 0].max() == pixels[..., 1].max() == 255

    def test_animation_shows_its_first_frame(self) -> None:
        frames = [quarters(), Image.new("RGB", (96, 64))]
        for file_format in ("WEBP", "PNG"):
            data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:])
            assert_quarters(prepare(data, 40, 40).pixels, tolerance=16)

    def test_two_pictures_in_one_jpeg_show_the_first(self) -> None:
        data = encoded(quarters(), "MPO", save_all=True, append_images=[Image.new("RGB", (96, 64))])
        assert_quarters(prepare(data, 40, 40).pixels)

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
    @pytest.mark.parametrize("resize", ["stretch", "letterbox"])
    def test_one_pixel(self, file_format: str, resize: Any) -> None:
        for size in (300, 1):
            prepared = prepare(encoded(Image.new("RGB", (1, 1), RED), file_format), size, size, resize)
            assert np.abs(prepared.pixels.astype(int) - RED).max() <= 16

    def test_a_slice_of_shared_memory_will_do(self) -> None:
        data = encoded(quarters(), "JPEG")
        shared = memoryview(bytearray(b"header" + data + b"rest"))
        np.testing.assert_array_equal(prepare(shared[6:-4], 30, 30).pixels, prepare(data, 30, 30).pixels)

    def test_png_with_metadata_that_pillow_would_warn_of(self) -> None:
        broken_animation = struct.pack(">I", 0) + b"acTL" + struct.pack(">I", zlib.crc32(b"acTL"))
        bomb = b"Comment\0\0" + zlib.compress(bytes(64 * 2**20))
        bomb_chunk = struct.pack(">I", len(bomb)) + b"zTXt" + bomb + struct.pack(">I", zlib.crc32(b"zTXt" + bomb))
        data = png(1, 1, 8, 2, b"\0" + bytes(RED), before=broken_animation + bomb_chunk)
        assert prepare(data, 1, 1).pixels.tolist() == [[list(RED)]]

    def test_a_size_that_pillow_takes_for_a_bomb_is_read_where_the_limits_allow_it(self) -> None:
        data = encoded(Image.new("1", (9500, 9500), 1), "PNG")
        assert prepare(data, 100, 100).pixels.min() == 255  # and no warning, which would be an error here

    def test_several_threads_at_once(self) -> None:
        files = [encoded(quarters(), "JPEG"), encoded(quarters(), "PNG"), encoded(quarters().convert("CMYK"), "JPEG")]
        expected = [prepare(data, 30, 30).pixels for data in files]
        with ThreadPoolExecutor(4) as pool:
            for number, prepared in enumerate(pool.map(lambda n: prepare(files[n % 3], 30, 30), range(60))):
                np.testing.assert_array_equal(prepared.pixels, expected[number % 3])


class TestSize:
    @pytest.mark.parametrize(
        ("source", "target", "factor"),
        [
            pytest.param((1920, 1080), (300, 300), 4, id="1080p for a 300-pixel model: 480 x 270"),
            pytest.param((1079, 1079), (300, 300), 2, id="just below 0.9 of the target"),
            pytest.param((1920, 1080), (320, 320), 2, id="1080p for 320"),
            pytest.param((1280, 720), (300, 300), 2, id="720p for 300"),
            pytest.param((640, 480), (300, 300), 1, id="VGA for 300"),
            pytest.param((3840, 2160), (300, 300), 8, id="4K for 300"),
            pytest.param((1920, 1080), (640, 360), 2, id="1080p letterboxed for 640"),
            pytest.param((3840, 2160), (640, 360), 4, id="4K letterboxed for 640"),
            pytest.param((100, 100), (300, 300), 1, id="smaller than the model's input"),
            pytest.param((10_000, 200), (300, 300), 1, id="a panorama, as low as the input"),
            pytest.param((1, 1), (1, 1), 1, id="nothing left to halve"),
        ],
    )
    def test_reduction(self, source: tuple[int, int], target: tuple[int, int], factor: int) -> None:
        assert reduction_for(*source, *target) == factor
        assert reduction_for(*source[::-1], *target[::-1]) == factor

    def test_1080p_jpeg_costs_the_scaled_decode_and_one_small_resize(self) -> None:
        data = encoded(quarters(1920, 1080), "JPEG")
        scaled = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_REDUCED_COLOR_4)
        assert scaled is not None
        assert scaled.shape == (270, 480, 3)
        small = cv2.resize(scaled, (300, 300), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_array_equal(prepare(data, 300, 300).pixels, small[..., ::-1])

    @pytest.mark.parametrize(
        "file",
        [
            pytest.param(("JPEG", {"quality": 95}), id="jpeg"),
            pytest.param(("PNG", {}), id="png"),
            pytest.param(("WEBP", {"quality": 95}), id="webp"),
        ],
    )
    @pytest.mark.parametrize("size", [(1920, 1080), (1283, 1301), (333, 250), (150, 100)])
    def test_reduced_looks_like_a_careful_resize(self, file: Any, size: tuple[int, int]) -> None:
        y, x = np.mgrid[: size[1], : size[0]]
        waves = [127 + 100 * np.sin(x * 9 / size[0] + k) * np.cos(y * 7 / size[1]) for k in range(3)]
        picture = Image.fromarray(np.stack(waves, axis=2).astype(np.uint8))
        careful = np.asarray(picture.resize((300, 300), Image.Resampling.BOX if size[0] > 300 else None))
        ours = prepare(encoded(picture, file[0], **file[1]), 300, 300).pixels
        assert np.abs(ours.astype(int) - careful).mean() < 2.5

    @pytest.mark.parametrize("size", [(1920, 1080), (1200, 300), (300, 1200), (2400, 100), (611, 611)])
    def test_fine_stripes_become_grey_not_moire(self, size: tuple[int, int]) -> None:
        width, height = size
        stripes = np.zeros((height, width, 3), dtype=np.uint8)
        stripes[(slice(None), slice(0, None, 2)) if width >= height else slice(0, None, 2)] = 255
        pixels = prepare_array(stripes, 300, 300).pixels
        assert abs(pixels.mean() - 127.5) < 2
        assert pixels.std() < 40

    @pytest.mark.parametrize(
        "file", [None, ("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 98})], ids=str
    )
    def test_thin_lines_are_not_lost_between_the_pixels(self, file: Any) -> None:
        lines = np.zeros((1080, 1920, 3), dtype=np.uint8)
        lines[:, ::4] = 255
        if file is None:
            prepared = prepare_array(lines, 300, 300)
        else:
            prepared = prepare(encoded(Image.fromarray(lines), file[0], **file[1]), 300, 300)
        assert abs(prepared.pixels.mean() - 63.75) < 3
        assert prepared.pixels.std() < 5

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
    def test_a_large_png_is_not_held_in_memory_twice(self, mode: str) -> None:
        data = encoded(Image.new(mode, (3000, 3000)), "PNG")
        prepare(data, 300, 300)
        tracemalloc.start()
        prepare(data, 300, 300)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 5 * 2**20  # numpy's copy of all its pixels alone would take 9 MiB or more

    def test_letterbox_has_grey_bars_and_the_picture_between(self) -> None:
        prepared = prepare(encoded(quarters(192, 96), "JPEG"), 64, 64, "letterbox")
        assert prepared.placement == Placement.letterbox(192, 96, 64, 64)
        assert (prepared.pixels[:16] == LETTERBOX_GREY).all()
        assert (prepared.pixels[48:] == LETTERBOX_GREY).all()
        assert_quarters(prepared.pixels[16:48])

    @pytest.mark.parametrize("resize", ["stretch", "letterbox"])
    @pytest.mark.parametrize("orientation", [1, 3, 6])
    @pytest.mark.parametrize("size", [(1920, 1080), (1003, 755), (200, 160)])
    def test_a_mark_is_found_where_it_is_in_the_picture(self, resize: Any, orientation: int, size: Any) -> None:
        width, height = size
        picture = np.zeros((height, width, 3), dtype=np.uint8)
        left, top, right, bottom = width // 5, height // 4, width // 2, height * 3 // 5
        picture[top:bottom, left:right] = 255
        displayed = Image.fromarray(picture)
        undo = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
        stored = displayed.transpose(undo) if undo is not None else displayed
        prepared = prepare(encoded(stored, "JPEG", exif=exif(orientation), quality=95), 300, 260, resize)
        ys, xs = np.nonzero(prepared.pixels.min(axis=2) > 160)
        box = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]])
        one_input_pixel = max(1 / prepared.placement.scale_x, 1 / prepared.placement.scale_y)
        found = prepared.placement.to_source(box)[0]
        np.testing.assert_allclose(found, (left, top, right, bottom), atol=1.5 * one_input_pixel)

    @settings(max_examples=80, deadline=None)
    @given(
        st.tuples(st.integers(1, 400), st.integers(1, 400)),
        st.tuples(st.integers(1, 120), st.integers(1, 120)),
        st.sampled_from(["stretch", "letterbox"]),
    )
    def test_always_comes_out_at_the_size_asked_for(self, size: Any, wanted: Any, resize: Any) -> None:
        width, height = wanted
        prepared = prepare_array(np.full((size[1], size[0], 3), 200, dtype=np.uint8), width, height, resize)
        assert prepared.pixels.shape == (height, width, 3)
        assert prepared.pixels.flags.c_contiguous
        assert set(np.unique(prepared.pixels)) <= {200, LETTERBOX_GREY}


EMPTY_SCAN = b"\xff\xda\0\x0c\x03\x01\0\x02\x11\x03\x11\0\x3f\0\xff\xd9"


class TestRefused:
    @pytest.mark.parametrize(
        ("data", "says"),
        [
            pytest.param(b"", "empty", id="0 bytes"),
            pytest.param(b"no picture", "text", id="a text file"),
            pytest.param(encoded(quarters(), "GIF"), "GIF", id="a GIF"),
            pytest.param(encoded(quarters(500, 500), "JPEG")[:-900], "cut off", id="a truncated JPEG"),
            pytest.param(encoded(quarters(), "PNG")[:-40], "cut off", id="a truncated PNG"),
            pytest.param(encoded(quarters(), "WEBP")[:-40], "cut off", id="a truncated WebP"),
        ],
    )
    def test_bad_file(self, data: bytes, says: str) -> None:
        with pytest.raises(ImageUnreadable, match=says):
            prepare(data, 300, 300)

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(png(4, 4, 8, 2, b"\0" + bytes(12)), id="PNG with one row of four"),
            pytest.param(png(4, 4, 7, 2, bytes(52)), id="PNG of 7 bits"),
            pytest.param(encoded(quarters(), "PNG").replace(b"IDAT\x78", b"IDAT\x00"), id="PNG that does not inflate"),
            pytest.param(
                encoded(quarters(), "WEBP")[:100].ljust(len(encoded(quarters(), "WEBP")), b"\0"), id="WebP of zeros"
            ),
            pytest.param(
                encoded(quarters(), "JPEG").partition(b"\xff\xda")[0] + EMPTY_SCAN, id="JPEG with an empty scan"
            ),
        ],
    )
    def test_damaged_file_is_no_crash(self, data: bytes) -> None:
        check_picture(data)  # the damage is inside the pixels
        try:
            prepared = prepare(data, 30, 30)
        except ImageUnreadable as error:
            assert "is damaged" in str(error)
        else:
            assert prepared.pixels.shape == (30, 30, 3)

    def test_a_second_header_cannot_smuggle_in_another_size(self) -> None:
        second = png(4, 4, 8, 2, b"")[8:33]
        with pytest.raises(ImageUnreadable, match="is damaged"):
            prepare(png(1, 1, 8, 2, bytes(52), before=second), 1, 1)

    def test_too_many_pixels(self) -> None:
        data = encoded(quarters(100, 100), "JPEG")
        with pytest.raises(InputTooLarge, match="100 x 100 pixels"):
            prepare(data, 30, 30, limits=ImageLimits(max_pixels=9_999))
        assert prepare(data, 30, 30, limits=ImageLimits(max_pixels=10_000)).source_width == 100

    @settings(max_examples=150, deadline=None)
    @given(st.sampled_from(["JPEG", "CMYK", "PNG", "WEBP", "WEBP alpha"]), st.data())
    def test_mutated_files_raise_nothing_but_our_errors(self, kind: str, data: st.DataObject) -> None:
        file = bytearray(MUTATED[kind])
        for _ in range(data.draw(st.integers(1, 6))):
            file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):
            start, length = data.draw(st.integers(0, len(file))), data.draw(st.integers(1, 40))
            del file[start : start + length]
        try:
            prepared = prepare(bytes(file), 20, 20, limits=ImageLimits(max_pixels=1_000_000))
        except InvalidInput as error:
            assert str(error).endswith(".")
        else:
            assert prepared.pixels.shape == (20, 20, 3)


MUTATED = {
    "JPEG": encoded(quarters(), "JPEG", exif=exif(6)),
    "CMYK": encoded(quarters().convert("CMYK"), "JPEG", progressive=True),
    "PNG": encoded(quarters(), "PNG", exif=exif(6)),
    "WEBP": encoded(quarters(), "WEBP", exif=exif(6)),
    "WEBP alpha": encoded(quarters().convert("RGBA"), "WEBP", lossless=True),
}


def raw(values: Any, dtype: str) -> tuple[bytes, str, list[int]]:
    array = np.array(values, dtype=dtype)
    return array.tobytes(), dtype, list(array.shape)


class TestRawArrays:
    def test_a_robots_picture_is_not_copied(self) -> None:
        pixels = np.asarray(quarters())
        data = pixels.tobytes()
        array = array_from_raw(data, "uint8", [64, 96, 3])
        np.testing.assert_array_equal(array, pixels)
        assert np.shares_memory(array, np.frombuffer(data, dtype=np.uint8))
        prepared = prepare_array(array, 96, 64)
        assert np.shares_memory(prepared.pixels, array)
        assert (prepared.source_width, prepared.source_height) == (96, 64)

    @pytest.mark.parametrize(
        ("data", "dtype", "shape", "expected"),
        [
            pytest.param(bytes([1, 2]), "uint8", (1, 2), [[[1, 1, 1], [2, 2, 2]]], id="grey"),
            pytest.param(bytes([1, 2]), "uint8", (1, 2, 1), [[[1, 1, 1], [2, 2, 2]]], id="grey with its channel"),
            pytest.param(bytes([1, 2, 3, 9]), "uint8", [1, 1, 4], [[[1, 2, 3]]], id="alpha is dropped"),
            pytest.param(bytes([1, 2, 3]), "|u1", [1.0, 1.0, 3.0], [[[1, 2, 3]]], id="shape as JavaScript has it"),
            pytest.param(memoryview(bytes([1, 2, 3])), "u1", (1, 1, 3), [[[1, 2, 3]]], id="memoryview"),
            pytest.param(bytes([0, 1, 2]), "bool", (1, 1, 3), [[[0, 255, 255]]], id="bool"),
            pytest.param(*raw([[0, 255]], "int64"), [[[0] * 3, [255] * 3]], id="int64"),
            pytest.param(*raw([[7, 200]], ">u2"), [[[7] * 3, [200] * 3]], id="big-endian"),
            pytest.param(*raw([[0.4, 254.6]], "float32"), [[[0] * 3, [255] * 3]], id="floats are rounded"),
            pytest.param(*raw([[0.5, 99.0]], "float16"), [[[0] * 3, [99] * 3]], id="float16"),
            pytest.param(*raw([[0.0, 1.0]], "float64"), [[[0] * 3, [1] * 3]], id="whole floats, however dark"),
        ],
    )
    def test_accepted(self, data: Any, dtype: str, shape: Any, expected: Any) -> None:
        array = array_from_raw(data, dtype, shape)
        assert array.dtype == np.uint8
        assert array.flags.c_contiguous
        assert array.tolist() == expected

    @pytest.mark.parametrize(
        ("data", "dtype", "shape", "says"),
        [
            pytest.param(bytes(11), "uint8", (2, 2, 3), "11 bytes came where .* needs 12", id="too few bytes"),
            pytest.param(bytes(13), "uint8", (2, 2, 3), "13 bytes came", id="too many bytes"),
            pytest.param(bytes(12), "float32", (2, 2, 3), "needs 48", id="lying dtype"),
            pytest.param(b"", "uint8", (0, 2, 3), "above zero", id="zero"),
            pytest.param(bytes(12), "uint8", (-2, -2, 3), "above zero", id="negative"),
            pytest.param(bytes(8), "uint8", (2, 2, 2), "1, 3 or 4 channels", id="two channels"),
            pytest.param(bytes(12), "uint8", (12,), r"\(12\) is none", id="one dimension"),
            pytest.param(bytes(12), "uint8", (1, 2, 2, 3), "is none of a picture", id="four dimensions"),
            pytest.param(bytes(12), "uint8", list(range(99)), "0, 1, 2, 3, …", id="99 dimensions"),
            pytest.param(bytes(12), "uint8", (2.5, 2, 3), r"\(2.5, 2, 3\)", id="fraction"),
            pytest.param(bytes(12), "uint8", (float("nan"), 2, 3), "nan", id="NaN"),
            pytest.param(bytes(12), "uint8", (float("inf"), 2, 3), "inf", id="infinity"),
            pytest.param(bytes(12), "uint8", (True, True), "bool", id="booleans"),
            pytest.param(bytes(12), "uint8", ("2", "2", "3"), "str, str, str", id="text"),
            pytest.param(bytes(12), "uint8", "223", r"\(str\) is none", id="text as shape"),
            pytest.param(bytes(12), "uint8", None, "NoneType", id="no shape"),
            pytest.param(bytes(12), "uint8", [[2], [2]], "list, list", id="nested"),
            pytest.param("a text", "uint8", (2, 2, 3), "str; send them as bytes", id="text as pixels"),
            pytest.param(None, "uint8", (2, 2, 3), "NoneType", id="no pixels"),
            pytest.param(bytes(8), "object", (1, 1), "'object' is none", id="object"),
            pytest.param(bytes(8), "O", (1, 1), "'O' is none", id="object by its letter"),
            pytest.param(bytes(8), "u1,u1", (1, 1), "is none of a picture", id="structure"),
            pytest.param(bytes(8), "complex64", (1, 1), "complex64", id="complex"),
            pytest.param(bytes(8), "S8", (1, 1), "S8", id="strings"),
            pytest.param(bytes(8), "x" * 10_000, (1, 1), "xxx", id="endless name"),
            pytest.param(bytes(8), 8, (1, 1), "dtype int", id="number as dtype"),
            pytest.param(bytes(8), None, (1, 1), "dtype NoneType", id="no dtype"),
            pytest.param(*raw([[0.0, float("nan")]], "float32"), "from nan to nan", id="NaN pixel"),
            pytest.param(*raw([[0.0, float("inf")]], "float64"), "to inf", id="infinite pixel"),
            pytest.param(*raw([[-1, 5]], "int16"), "from -1 to 5; send 0 to 255", id="negative pixel"),
            pytest.param(*raw([[0, 65535]], "uint16"), "to 65535", id="16-bit values"),
            pytest.param(*raw([[2**63, 5]], "uint64"), "to 9.2", id="64-bit values"),
            pytest.param(*raw([[0.25, 1.0]], "float32"), "between 0 and 1", id="scaled to 0..1"),
        ],
    )
    def test_refused(self, data: Any, dtype: Any, shape: Any, says: str) -> None:
        with pytest.raises(ImageUnreadable, match=says) as caught:
            array_from_raw(data, dtype, shape)
        assert len(str(caught.value)) < 250

    @pytest.mark.parametrize(
        "shape",
        [
            pytest.param((20_000, 20_000, 3), id="20000 x 20000"),
            pytest.param((2**32, 2**32, 3), id="overflows 64 bits"),
            pytest.param((10**5000, 1, 3), id="cannot be printed"),
            pytest.param((1e308, 1, 3), id="a huge float"),
            pytest.param((1, 1, 10**30), id="huge channels"),
        ],
    )
    def test_huge_shapes(self, shape: Any) -> None:
        with pytest.raises(InputTooLarge) as caught:
            array_from_raw(bytes(12), "uint8", shape)
        assert len(str(caught.value)) < 250

    def test_more_bytes_than_allowed(self) -> None:
        with pytest.raises(InputTooLarge, match="MiB"):
            array_from_raw(bytes(2**20 + 1), "uint8", (1, 1, 3), ImageLimits(max_bytes=2**20))

    @settings(max_examples=100, deadline=None)
    @given(
        st.binary(max_size=64),
        st.sampled_from(["uint8", "int8", "float16", "float32", "float64", "bool", ">f4"]) | st.text(max_size=5),
        st.lists(st.integers(-1, 4) | st.integers() | st.floats(), max_size=4),
    )
    def test_random_arrays_raise_nothing_but_our_errors(self, data: bytes, dtype: str, shape: list[float]) -> None:
        try:
            array = array_from_raw(data, dtype, shape)
        except InvalidInput as error:
            assert str(error).endswith(".")
        else:
            assert array.shape[2] == 3

    @pytest.mark.parametrize(
        "array",
        [
            pytest.param(np.zeros((4, 4), dtype=np.uint8), id="grey"),
            pytest.param(np.zeros((4, 4, 4), dtype=np.uint8), id="four channels"),
            pytest.param(np.zeros((4, 4, 3), dtype=np.float32), id="float"),
            pytest.param(np.zeros((0, 4, 3), dtype=np.uint8), id="empty"),
        ],
    )
    def test_what_is_no_rgb_array_is_told(self, array: Any) -> None:
        with pytest.raises(ImageUnreadable, match="Expected uint8 pixels"):
            prepare_array(array, 10, 10)
        with pytest.raises(ImageUnreadable, match="Expected uint8 pixels"):
            encode_jpeg(array)


class TestEncoding:
    def test_a_raw_picture_becomes_a_jpeg_of_the_same_colours(self) -> None:
        data = encode_jpeg(np.asarray(quarters()))
        assert check_picture(data).format == "jpeg"
        with Image.open(io.BytesIO(data)) as picture:
            assert_quarters(np.asarray(picture))

    def test_quality_costs_bytes(self) -> None:
        noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        assert len(encode_jpeg(noise, quality=95)) > 2 * len(encode_jpeg(noise, quality=30))
