"""What an export is made of."""

from __future__ import annotations

import json

from appliance.outbox.export import MANIFEST, members
from appliance.outbox.index import Entry
from appliance.outbox.queue import StoredPicture
from models.errors import StorageRefused


def read(item_id: str) -> StoredPicture | None:
    if item_id == "gone":
        return None
    if item_id == "bad sector":
        raise StorageRefused("Could not read the picture: input/output error.")
    reason = "too dark" if item_id == "dark" else None
    return StoredPicture(Entry("normal", item_id, 7, True, reason=reason), item_id.encode(), b"{}")


def test_pictures_come_with_what_is_known_and_the_manifest_says_what_is_missing() -> None:
    found = dict(members(["gone", "a:b", "bad sector", "dark"], read))

    assert list(found) == [
        "normal/image_a-b.jpg",
        "normal/image_a-b.json",
        "normal/image_dark.jpg",
        "normal/image_dark.json",
        "normal/image_dark.reason.json",
        MANIFEST,
    ]
    assert found["normal/image_a-b.jpg"] == b"a:b"
    assert json.loads(found["normal/image_dark.reason.json"]) == {"reason": "too dark"}
    told = json.loads(found[MANIFEST])
    assert (told["pictures"], told["bytes"]) == (2, 7)
    assert [each["id"] for each in told["left_out"]] == ["gone", "bad sector"]
    assert "input/output error" in told["left_out"][1]["why"]


def test_pictures_are_read_when_their_turn_comes() -> None:
    asked: list[str] = []

    def remember(item_id: str) -> StoredPicture | None:
        asked.append(item_id)
        return read(item_id)

    made = members(["a", "b", "c"], remember)
    next(made)
    assert asked == ["a"]
