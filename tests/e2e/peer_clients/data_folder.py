"""A data folder as learning-loop-node 0.13, 0.20 or 0.27 leaves it behind, made by that library itself. Run as a script.

Arguments: `make` or `again`, the data folder, `0.13`, `0.20` or `0.27`, and for `make` a folder with JPEG pictures, and
zips of models, of which the last one serves in the end. `again` starts the node on the folder once more. The last line of
the output is one JSON object. Runs in an environment that has learning-loop-node, and knows nothing of this project.
"""

# mypy: disable-error-code="import-not-found, misc, attr-defined"
# The library is installed in the environment that this script runs in, not in the one that is checked.

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import PIL.Image
from learning_loop_node.data_classes import BoxDetection, ImageMetadata, ModelInformation
from learning_loop_node.detector.detector_node import DetectorNode
from learning_loop_node.enums import OperationMode
from learning_loop_node.globals import GLOBALS

NAME = "Front Robot"

os.environ |= {
    "LOOP_HOST": "127.0.0.1:9",
    "LOOP_ORGANIZATION": "acme",
    "LOOP_PROJECT": "kitchens",
    "SKIP_REPEAT_ON_START": "1",
}
GLOBALS.data_folder = sys.argv[2]  # 0.13 knows no variable for it


def make_node(era: str) -> Any:
    """The node, with a detector that loads whatever model there is."""
    if era == "0.13":
        from learning_loop_node.detector.detector_logic import DetectorLogic

        class Logic(DetectorLogic):
            def init(self) -> None: ...

            def evaluate(self, image: np.ndarray) -> ImageMetadata:
                raise NotImplementedError

        return DetectorNode(name=NAME, detector=Logic("litert"))

    class Factory:
        model_format = "litert"

        async def build(self, model_info: ModelInformation) -> Any:
            return model_info

    return DetectorNode(name=NAME, detector_factory=Factory())


def metadata(*tags: str) -> ImageMetadata:
    """What is known of a picture."""
    box = BoxDetection(
        category_name="cat", x=1, y=2, width=30, height=40, model_name="1.1", confidence=0.5, category_id="a cat's"
    )
    made = ImageMetadata(box_detections=[box])
    made.tags = list(tags)
    return made


async def save(node: Any, era: str, jpeg: bytes, *tags: str, priority: bool = False) -> None:
    """Keep a picture, as the node itself does it."""
    if era == "0.13":
        node.outbox.save(jpeg, metadata(), list(tags), "front", None)
        return
    image: Any = jpeg if era == "0.27" else np.array(PIL.Image.open(io.BytesIO(jpeg)))
    await node.outbox.save(image, metadata(*tags), upload_priority=priority)


async def download(node: Any, era: str, zipped: bytes) -> None:
    """Have the node download a model and take it into service."""
    with zipfile.ZipFile(io.BytesIO(zipped)) as bundle:
        described = json.loads(bundle.read("model.json"))

    async def get(*_: Any, **__: Any) -> httpx.Response:
        headers = {"Content-Disposition": f'attachment; filename="bench-{os.getpid()}-{described["version"]}.zip"'}
        return httpx.Response(200, content=zipped, headers=headers)

    async def quiet(*_: Any, **__: Any) -> None: ...

    node.data_exchanger.loop_communicator.get = get
    node.sync_status_with_learning_loop = node._sync_status_with_loop = quiet
    node.operation_mode = OperationMode.Idle
    node.target_model = ModelInformation(
        id=described["id"], host="", organization="acme", project="kitchens", version=described["version"]
    )
    await (node._check_for_update() if era == "0.13" else node._update_model(node.target_model))


async def make(era: str, pictures: Path, zips: list[Path]) -> dict[str, Any]:
    """Fill the folder: two pictures and one that the power interrupts, and the models."""
    node = make_node(era)
    await save(node, era, (pictures / "cat.jpg").read_bytes(), "picked_by_system", priority=True)
    await save(node, era, (pictures / "cup.jpg").read_bytes(), "uncertain")
    rename, os.rename = os.rename, None  # type: ignore[assignment]
    try:
        await save(node, era, (pictures / "person.jpg").read_bytes(), "uncertain")
    except TypeError:
        pass
    finally:
        os.rename = rename
    for path in zips:
        await download(node, era, path.read_bytes())
    return report(node, era)


async def again(era: str) -> dict[str, Any]:
    """Start the node on the folder once more."""
    node = make_node(era)
    if era == "0.13":
        node.detector_logic.load_model_info_and_init_model()
    else:
        await node._build_and_swap_detector(node._current_model_path())
    return report(node, era)


def report(node: Any, era: str) -> dict[str, Any]:
    """What the node thinks of its folder."""
    waiting = node.outbox.get_data_files() if era == "0.13" else node.outbox.get_upload_folders()
    about = node.get_model_version_response()
    return {
        "uuid": node.uuid,
        "waiting": sorted(os.path.relpath(folder, sys.argv[2]) for folder in waiting),
        "current": about.current_version,
        "local_versions": sorted(about.local_versions),
    }


def main() -> None:
    """Do as the arguments say."""
    doing, _, era, *rest = sys.argv[1:]
    told = make(era, Path(rest[0]), [Path(path) for path in rest[1:]]) if doing == "make" else again(era)
    print(f"\n{json.dumps(asyncio.run(told))}")


main()
