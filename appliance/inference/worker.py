"""The child process that owns one loaded model: `python -m appliance.inference.worker FD`.

It reads requests from the channel at FD and answers each. Its lanes decode, run and name pictures side by side, so that the
next picture is decoded while the current one is inferred. It ends when the channel closes, whatever it is doing.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance.inference import channel
from models import images
from models.bundle import open_bundle
from models.errors import DetectorApplianceError
from models.fastest import sample
from models.images import ImageLimits
from models.load import Detector, load
from models.runtimes.base import Choice


@dataclass(frozen=True)
class WorkerOrder:
    """What a worker is told first: which model to load and how. `floor` is a confidence, 0..1."""

    folder: str
    choice: str
    cache: str
    floor: float
    lanes: int
    max_bytes: int
    max_pixels: int


def main(arguments: list[str]) -> int:
    """Serve until the other end of the channel is gone."""
    import cv2  # here: the server, which writes the orders for workers, does not decode and need not carry it

    cv2.setNumThreads(1)  # pictures run side by side: threads within one would only get into each other's way
    ours = channel.in_child(arguments)
    first = channel.receive_with_file(ours)
    if first is None:
        return 0
    order, region = WorkerOrder(**first[0]), first[1]
    detector = _load(ours, order)
    if detector is None:
        return 1
    answering = threading.Lock()
    for number in range(1, order.lanes):
        lane = threading.Thread(
            target=_lane, args=(detector, ours, region, answering), name=f"lane-{number}", daemon=True
        )
        lane.start()
    _lane(detector, ours, region, answering)
    return 0


def _load(ours: socket.socket, order: WorkerOrder) -> Detector | None:
    """The model, loaded and checked; None, and the server told why, where it is no good."""
    try:
        started = time.perf_counter()
        limits = ImageLimits(max_bytes=order.max_bytes, max_pixels=order.max_pixels)
        bundle = open_bundle(Path(order.folder))
        detector = load(
            bundle,
            Choice.parse(order.choice) if order.choice else None,
            cache=Path(order.cache),
            floor=order.floor,
            lanes=order.lanes,
            limits=limits,
        )
        loaded = time.perf_counter()
        _warm_up(detector)
    except DetectorApplianceError as error:
        channel.send(ours, {"failed": type(error).__name__, "message": str(error)})
        return None
    channel.send(
        ours,
        {
            "ready": {
                "choice": str(detector.choice),
                "load_ms": 1e3 * (loaded - started),
                "warm_up_ms": 1e3 * (time.perf_counter() - loaded),
            }
        },
    )
    return detector


def _warm_up(detector: Detector) -> None:
    """The self-check: a drawn scene through everything, by every copy. Raises what is wrong with the model."""
    scene = images.encode_jpeg(sample(2 * detector.input.width, 2 * detector.input.height))
    detector.warm_up(scene)


def _lane(detector: Detector, ours: socket.socket, region: memoryview, answering: threading.Lock) -> None:
    """Each lane takes its pictures from the channel itself: handing them over would cost every one a thread switch."""
    try:
        while (message := channel.receive(ours)) is not None:
            header, payload = message
            if payload is None:
                payload = region[header["at"] : header["at"] + header["size"]]
            answer = {"id": header["id"], **_answer(detector, header, payload)}
            del message, payload  # unmaps the picture before the next one is waited for
            with answering:
                channel.send(ours, answer)
        # The server is gone or has closed us. Another lane may hang in native code: nothing to wait for.
        os._exit(0)
    except BaseException:  # a lane that ends alone would leave its picture unanswered until the deadline
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _answer(detector: Detector, header: dict[str, Any], picture: memoryview) -> dict[str, Any]:
    waited = 1e3 * (time.perf_counter() - header["sent"])
    raw = header.get("raw")
    try:
        if raw is None:
            found = detector.detect(picture)
        else:
            found = detector.detect(images.array_from_raw(picture, raw["dtype"], raw["shape"]))
    except DetectorApplianceError as error:
        return {"failed": type(error).__name__, "message": str(error)}
    except MemoryError:
        return {"failed": "InputTooLarge", "message": "This picture needs more memory than the box has"}
    return {
        "detections": found.detections.model_dump(mode="json"),
        "width": found.width,
        "height": found.height,
        "timings": {"wait": waited, **asdict(found.timings)},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
