"""A project of a Loop that takes pictures, or does with them whatever a story wants; and an outbox that sends to it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from appliance.outbox.files import NewPicture
from appliance.outbox.queue import Outbox
from appliance.outbox.reasons import PICKED_BY_SYSTEM
from appliance.outbox.uploader import Uploader
from models.errors import LoopError
from models.loop.uploads import ImageUpload, Throttle
from models.wire.image_metadata import ImageMetadata

ASKED_FOR = ImageMetadata(tags=[PICKED_BY_SYSTEM])

PIECE = 16_384


@dataclass(frozen=True)
class Request:
    """When it came and was answered, and what was in it."""

    began: float
    ids: tuple[str, ...]


Answer = Callable[[Sequence[ImageUpload]], LoopError | None]


@dataclass
class FakeLoop:
    """Stores the same name and bytes once. `answer` says what is wrong with a request, `seconds` how long one takes."""

    answer: Answer = lambda _batch: None
    seconds: float = 0.05
    has: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    under_way: int = 0
    most_at_once: int = 0
    cut_off: int = 0
    bytes_in: list[tuple[float, int]] = field(default_factory=list)

    async def upload_images(self, batch: Sequence[ImageUpload], *, throttle: Throttle | None = None) -> None:
        now = asyncio.get_running_loop().time
        self.requests.append(Request(now(), tuple(each.id for each in batch)))
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            if throttle is not None:
                for each in batch:
                    for start in range(0, len(each.picture), PIECE):
                        await throttle(size := min(PIECE, len(each.picture) - start))
                        self.bytes_in.append((now(), size))
            await asyncio.sleep(self.seconds)
            error = self.answer(batch)
            if error is not None:
                raise error
            self.has.update((each.id, each.picture) for each in batch)
        except asyncio.CancelledError:
            self.cut_off += 1
            raise
        finally:
            self.under_way -= 1

    @property
    def pauses(self) -> list[float]:
        """Seconds from one request to the next."""
        moments = [request.began for request in self.requests]
        return [after - before for before, after in itertools.pairwise(moments)]

    def count(self, item_id: str) -> int:
        """How often a picture came."""
        return sum(item_id in request.ids for request in self.requests)


@asynccontextmanager
async def sending(
    outbox: Outbox, loop: FakeLoop, *, max_mbit: float | None = None, start_within: float = 0.0, chance: float = 0.5
) -> AsyncIterator[Uploader]:
    """The outbox being sent until the block ends."""
    uploader = Uploader(outbox, loop, max_mbit=max_mbit, start_within=start_within, chance=lambda: chance)
    uploader.start()
    try:
        yield uploader
    finally:
        await uploader.close()


async def until(condition: Callable[[], bool], *, within: float = 3600.0, step: float = 0.05) -> float:
    """Wait until it holds; how long that took, give or take a twentieth. Fails when the time is over."""
    now = asyncio.get_running_loop().time
    began = now()
    while not condition():
        assert now() - began < within, "it did not come to that in time"
        await asyncio.sleep(max(step, (now() - began) / 20))
    return now() - began


def fill(outbox: Outbox, count: int, *, size: int = 100, metadata: ImageMetadata = ASKED_FOR) -> list[str]:
    """Save so many pictures; their ids."""
    pictures = [NewPicture(b"%08d" % number + b"x" * (size - 8), metadata) for number in range(count)]
    return [str(outcome) for outcome in outbox.save_all(pictures)]
