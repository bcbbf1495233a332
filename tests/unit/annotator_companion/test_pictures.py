"""Pictures come from the Loop once, as displayed, within a bound; hostile ones do no harm."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from annotator_companion.pictures import FAILURE_RESTS_S, PictureKey, Pictures
from models.errors import DetectorApplianceError, ImageUnreadable, InputTooLarge, NotInLoop
from tests.service.photographs import encoded
from tests.support.virtual_time import in_virtual_time
from tests.unit.annotator_companion.hand import plain


def key(name: str) -> PictureKey:
    return PictureKey("workshop", "parts", name)


class Loop:
    """Counts what it is asked for; `answers` holds it up."""

    def __init__(self, data: bytes | Exception) -> None:
        self.data = data
        self.asked: list[str] = []
        self.seconds = 0.0

    async def fetch(self, key: PictureKey) -> bytes:
        self.asked.append(key.image_id)
        await asyncio.sleep(self.seconds)
        if isinstance(self.data, Exception):
            raise self.data
        return self.data


def story(tell: Callable[[Loop, Pictures], Awaitable[None]], data: bytes | Exception, most_bytes: int = 2**24) -> None:
    """Tell a story of a cache."""

    @in_virtual_time
    async def told() -> None:
        loop = Loop(data)
        with ThreadPoolExecutor(2) as threads:
            pictures = Pictures(loop.fetch, threads, most_bytes, asyncio.get_running_loop().time)
            await tell(loop, pictures)
            await pictures.close()

    told()


PNG = encoded(plain(64, 48), "PNG")


def test_it_is_fetched_once_also_for_several_who_wait() -> None:
    async def tell(loop: Loop, pictures: Pictures) -> None:
        loop.seconds = 1.0
        first, second = await asyncio.gather(pictures.get(key("a")), pictures.get(key("a")))
        assert first is second is await pictures.get(key("a"))
        assert loop.asked == ["a"]
        assert pictures.bytes == 64 * 48 * 3

    story(tell, PNG)


def test_who_gives_up_does_not_end_it_for_others() -> None:
    async def tell(loop: Loop, pictures: Pictures) -> None:
        loop.seconds = 1.0
        gone = asyncio.create_task(pictures.get(key("a")))
        other = asyncio.create_task(pictures.get(key("a")))
        await asyncio.sleep(0.5)
        gone.cancel()
        assert (await other).width == 64
        assert loop.asked == ["a"]

    story(tell, PNG)


def test_those_used_least_recently_go_when_there_is_no_room() -> None:
    async def tell(loop: Loop, pictures: Pictures) -> None:
        for name in ("a", "b", "a", "c", "a"):
            await pictures.get(key(name))
        assert loop.asked == ["a", "b", "c"]
        await pictures.get(key("b"))
        assert loop.asked == ["a", "b", "c", "b"]
        assert pictures.bytes <= 2 * 64 * 48 * 3

    story(tell, PNG, most_bytes=2 * 64 * 48 * 3)


def test_it_is_as_displayed_and_cannot_be_written_to() -> None:
    pixels = plain(64, 48)
    pixels[:, :10] = (250, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", exif=exif)

    async def tell(_loop: Loop, pictures: Pictures) -> None:
        picture = await pictures.get(key("a"))
        assert (picture.width, picture.height) == (48, 64)
        assert picture.pixels[4, 24, 0] > 200, "what was left is on top"
        with pytest.raises(ValueError, match="read-only"):
            picture.pixels[0, 0] = 0

    story(tell, buffer.getvalue())


def test_one_that_is_not_there_is_asked_for_again_after_a_rest() -> None:
    async def tell(loop: Loop, pictures: Pictures) -> None:
        for _ in range(5):
            with pytest.raises(NotInLoop, match="no such image"):
                await pictures.get(key("a"))
        assert loop.asked == ["a"]
        loop.data = PNG
        await asyncio.sleep(FAILURE_RESTS_S + 0.1)
        assert (await pictures.get(key("a"))).width == 64
        assert loop.asked == ["a", "a"]

    story(tell, NotInLoop("no such image", 404))


def huge_png(width: int, height: int) -> bytes:
    """A few bytes that claim to be that large."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"<html>no picture</html>", ImageUnreadable),
        (PNG[:-30], ImageUnreadable),
        (huge_png(16_000, 16_000), InputTooLarge),
        (huge_png(2_000, 2_000), InputTooLarge),  # fits the usual bound, not the 8 MiB of this cache
        (huge_png(1_000, 1_000), ImageUnreadable),
    ],
)
def test_hostile_pictures_are_refused_with_a_sentence(data: bytes, error: type[DetectorApplianceError]) -> None:
    async def tell(_loop: Loop, pictures: Pictures) -> None:
        with pytest.raises(error):
            await pictures.get(key("a"))
        assert pictures.bytes == 0

    story(tell, data, most_bytes=8 * 2**20)


def test_closing_ends_what_is_under_way() -> None:
    async def tell(loop: Loop, pictures: Pictures) -> None:
        loop.seconds = 1000.0
        waiting = asyncio.create_task(pictures.get(key("a")))
        await asyncio.sleep(0.1)
        await pictures.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    story(tell, PNG)


def test_the_pixels_are_those_of_the_picture() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)

    async def tell(_loop: Loop, pictures: Pictures) -> None:
        np.testing.assert_array_equal((await pictures.get(key("a"))).pixels, pixels)

    story(tell, encoded(pixels, "PNG"))
