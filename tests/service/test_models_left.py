"""What a box says of the models that a learning-loop-node has left."""

from __future__ import annotations

from pathlib import Path

from tests.service.box import Box, settings_for
from tests.support.left_behind import ASKED_FOR, PICKED, UUID, era_0_13


def test_a_box_starts_on_the_folder_of_a_node_and_tells_what_it_found(tmp_path: Path) -> None:
    era_0_13(tmp_path / "data")

    with Box(settings_for(tmp_path)) as box:
        told = box.http.get("/api/v1/models").json()
        waiting = box.http.get("/api/v1/outbox").json()["waiting"]
        assert box.http.get("/readyz").status_code == 200

    assert [(each["folder"], each["format"]) for each in told["foreign"]] == [("1.0", "yolov5_wts")]
    assert told["broken"] == []
    assert waiting == 2
    assert {path.name for path in (tmp_path / "data/outbox/normal").iterdir()} == {PICKED, ASKED_FOR}
    assert UUID in (tmp_path / "data/uuids.json").read_text()
