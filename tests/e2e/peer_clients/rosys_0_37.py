"""A robot that runs rosys 0.37: everything that its `DetectorHardware` can ask of a detector. Run as a script.

Arguments: port of the detector, folder with JPEG pictures. The last line of its output is one JSON object. Runs in an
environment that has rosys, and knows nothing of this project.
"""

# mypy: disable-error-code="import-not-found, misc"
# rosys is installed in the environment that this script runs in, not in the one that is checked.

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
from rosys.vision import Detections, DetectorHardware, Image
from rosys.vision.detector import Autoupload, DetectorException, ImageState, ImageTransmissionFormat

LARGE = (5400, 3600)
"""Width and height of a picture whose pixels are 58 MB: most of what rosys lets through."""


def boxes(detections: Detections | None) -> list[dict[str, Any]]:
    """What was found, best first; none where the answer got lost."""
    found = detections.boxes if detections is not None else []
    return [asdict(box) for box in sorted(found, key=lambda box: -box.confidence)]


async def refusal(attempt: Any) -> str:
    """Text of the exception that the attempt ends with; empty if it succeeds."""
    try:
        await attempt
    except DetectorException as error:
        return str(error)
    return ""


async def see(port: int, images: dict[str, Image], form: ImageTransmissionFormat) -> dict[str, Any]:
    """Detect, detect in a batch and upload, with pictures sent as pixels or as JPEG."""
    detector = DetectorHardware(port=port, image_transmission_format=form)
    if not await detector.connect():
        raise SystemExit("rosys could not connect")
    found = {name: boxes(await detector.detect(image)) for name, image in images.items()}
    batch = await detector.batch_detect(list(images.values()), autoupload=Autoupload.DISABLED)
    await detector.upload(images["cat"], tags=[f"rosys 0.37 {form.value}"], source="robot", state=ImageState.INBOX)
    report: dict[str, Any] = {"detect": found, "batch_detect": [boxes(one) for one in batch or []]}
    if form is ImageTransmissionFormat.RAW:
        large = Image.from_array(cv2.resize(images["cat"].array, LARGE), camera_id="large")
        report["large"] = boxes(await detector.detect(large, autoupload=Autoupload.DISABLED))
    await detector.fetch_outbox_mode()  # an upload is emitted only, and a disconnect right after it would drop it here
    await detector.disconnect()
    return report


async def manage(port: int) -> dict[str, Any]:
    """Ask for everything that rosys shows of a detector, and change what it lets a person change."""
    detector = DetectorHardware(port=port)
    if not await detector.connect():
        raise SystemExit("rosys could not connect")
    report: dict[str, Any] = {
        "info": asdict(await detector.fetch_detector_info()),
        "version": asdict(await detector.fetch_model_version_info()),
        "outbox_mode": await detector.fetch_outbox_mode(),
    }
    await detector.set_outbox_mode("stopped")
    report["outbox_mode_when_stopped"] = await detector.fetch_outbox_mode()
    await detector.set_outbox_mode("continuous_upload")
    await detector.set_model_version("pause")
    report["version_control_when_paused"] = (await detector.fetch_model_version_info()).version_control
    report["unknown_version"] = await refusal(detector.set_model_version("99.9"))
    report["known_version"] = await refusal(detector.set_model_version(report["version"]["current_version"]))
    began = time.monotonic()
    report["soft_reload"] = await refusal(detector.soft_reload())
    report["soft_reload_seconds"] = time.monotonic() - began
    await detector.disconnect()
    return report


async def main() -> None:
    """Do everything and print what came of it."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    images: dict[str, Image] = {}
    for path in sorted(folder.glob("*.jpg")):
        image = Image.from_jpeg_bytes(path.read_bytes(), camera_id=path.stem)
        assert image is not None, f"rosys could not read {path}"
        images[path.stem] = image
    report = {form.value: await see(port, images, form) for form in ImageTransmissionFormat}
    report["manage"] = await manage(port)
    print(f"\n{json.dumps(report)}")


asyncio.run(main())
