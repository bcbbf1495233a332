"""The node with a real pair beside the embedded loop: what does not see the same is not uploaded, and why is remembered."""

from __future__ import annotations

import asyncio
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from converter_companion import pairs
from converter_companion.node import ConverterNode
from converter_companion.pairs.base import Work
from converter_companion.pairs.onnx import PytorchToOnnx
from converter_companion.settings import ConverterSettings
from models.bundle import Bundle, pack
from tests.service.loop_server.shop import Shop
from tests.service.running_loop import RunningLoop
from tests.support.raw_server import on_loopback


@pytest.fixture
def shop(shapes: Bundle, scenes: Path, tmp_path: Path) -> Iterator[Shop]:
    """A project with annotated pictures of squares and the model that has learnt them."""
    with RunningLoop(tmp_path / "loop") as loop:
        made = Shop(loop)
        document = json.loads((scenes / "annotations.json").read_text())
        names = {each["id"]: each["name"] for each in document["categories"]}
        for name in names.values():
            answer = made.http.post(f"{made.path}/categories", json={"name": name, "type": "box"})
            assert answer.is_success, answer.text
        files = []
        for image in document["images"]:
            boxes = [
                {
                    "category_name": names[each["category_id"]],
                    **dict(zip(("x", "y", "width", "height"), each["bbox"], strict=True)),
                }
                for each in document["annotations"]
                if each["image_id"] == image["id"]
            ]
            stem = Path(image["file_name"]).stem
            described = json.dumps({"box_annotations": boxes, "state": "complete"}).encode()
            files.append(("files", (f"{stem}.json", described)))
            files.append(("files", (f"{stem}.png", (scenes / "images" / image["file_name"]).read_bytes())))
        answer = made.http.post(f"{made.path}/images", files=files)
        assert answer.is_success, answer.text
        pack(shapes.folder, tmp_path / "squares.zip")
        made.upload("appliance_pytorch", (tmp_path / "squares.zip").read_bytes())
        yield made


async def look(shop: Shop, folder: Path, **settings: Any) -> ConverterNode:
    """One look of a node at the Loop."""
    values = {"converter_pairs": ["appliance_pytorch:onnx"], **settings}
    node = ConverterNode(
        ConverterSettings(data_folder=folder, loop_host=shop.loop.host, **values), restart=lambda: None
    )
    await asyncio.to_thread(node.memory.load)
    try:
        await node.look()
    finally:
        await node.connection.close()
    return node


def test_beyond_the_limits_it_is_not_uploaded_and_tried_again_under_other_limits(shop: Shop, tmp_path: Path) -> None:
    async def story() -> None:
        strict = await look(shop, tmp_path / "data", parity_mean_shift=1e-7)
        [failure] = strict.memory.failures.values()
        assert "does not see what its source sees in the same 24 pictures" in failure.reason
        assert "at most 1e-08 is allowed" in failure.reason
        assert shop.models(format="onnx") == []
        assert strict.recent[0].report is not None
        assert strict.recent[0].report.exceeded, "people see the numbers of what was refused"

        again = await look(shop, tmp_path / "data", parity_mean_shift=1e-7)
        assert again.recent == [], "nothing changed, so it is not tried again"
        assert again.memory.failures == strict.memory.failures

        usual = await look(shop, tmp_path / "data")
        assert usual.memory.failures == {}
        assert usual.recent[0].report is not None
        assert usual.recent[0].report.pictures == 24
        [model] = shop.models(format="onnx")
        with zipfile.ZipFile(io.BytesIO(shop.download(model, "onnx").content)) as archive:
            parity = json.loads(archive.read("parity.json"))
        assert parity["pictures"] == parity["annotated"] == 24
        assert parity["source"]["map50"] > 0.8, "the people's boxes are where the model's are"

    on_loopback(story)()


class BlueForRed(PytorchToOnnx):
    """Forgets in which order the colours stand."""

    target = "onnx_in_bgr"

    def convert(self, work: Work) -> None:
        """Right but for one word."""
        super().convert(work)
        document = json.loads((work.out / "model.json").read_text())
        for weights in document["inference"]["weights"]:
            weights["input"]["channels"] = "BGR"
        (work.out / "model.json").write_text(json.dumps(document))


def test_a_pair_that_converts_wrongly_uploads_nothing_and_the_reason_has_numbers(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pairs.BUILT_IN, "appliance_pytorch-to-onnx_in_bgr", f"{__name__}:BlueForRed")

    async def story() -> None:
        node = await look(shop, tmp_path / "data", converter_pairs=["appliance_pytorch:onnx_in_bgr"])
        [failure] = node.memory.failures.values()
        assert "does not see what its source sees in the same 24 pictures" in failure.reason
        assert re.search(r"model\.onnx: \d+% of the detections match, at least 99% should", failure.reason)
        assert re.search(r"mAP50 is lower by 0\.\d+, at most 0\.002 is allowed", failure.reason)
        assert shop.models(format="onnx_in_bgr") == []
        assert not (tmp_path / "data" / "work").exists()

    on_loopback(story)()
