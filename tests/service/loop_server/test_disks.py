"""Disks that are full or fail: uploads are refused in words, nothing of them stays, and the loop goes on by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from appliance.loop_server.blobs import Blobs, Folder
from tests.service.loop_server.images_project import Shop
from tests.service.loop_server.pictures import jpeg, metadata, pair
from tests.service.running_loop import RunningLoop


class BadDisk(Folder):
    """Is full, or fails at the write of that number (from 1), when it is told so."""

    free: int | None = None
    fails_at: int | None = None

    def free_bytes(self) -> int | None:
        return super().free_bytes() if self.free is None else self.free

    def write(self, chunks: Iterable[bytes], name: Callable[[], str]) -> None:
        if self.fails_at is not None:
            self.fails_at -= 1
            if self.fails_at == 0:
                raise OSError(5, "Input/output error")
        super().write(chunks, name)


def test_a_full_disk_is_507_until_there_is_room_again(tmp_path: Path) -> None:
    with RunningLoop(tmp_path) as loop:
        disk = BadDisk(tmp_path / "blobs")
        loop.services.blobs._storage = disk
        shop = Shop(loop)
        kept = shop.add()
        disk.free = 1000
        answer = shop.upload(pair("image_late", jpeg(1), metadata()))
        assert answer.status_code == 507
        assert "remove models or images that are not needed" in answer.json()["detail"]
        assert shop.ids() == kept
        assert shop.picture(kept[0]).status_code == 200
        disk.free = None
        assert shop.upload(pair("image_late", jpeg(1), metadata())).json()["known"] == 0
        assert len(shop.ids()) == 2


@pytest.mark.parametrize("number", [1, 2, 7])
def test_a_disk_that_fails_in_the_middle_of_a_batch_leaves_nothing_of_it(tmp_path: Path, number: int) -> None:
    with RunningLoop(tmp_path) as loop:
        disk = BadDisk(tmp_path / "blobs")
        loop.services.blobs = Blobs(disk)
        shop = Shop(loop)
        disk.fails_at = number
        batch = [part for each in range(8) for part in pair(f"image_{each}", jpeg(each), metadata())]
        answer = shop.upload(batch)
        assert (answer.status_code, "the disk refused it" in answer.json()["detail"]) == (503, True)
        assert shop.ids() == []
        assert list(disk.names()) == []
        disk.fails_at = None
        assert len(shop.upload(batch).json()["image_ids"]) == 8
