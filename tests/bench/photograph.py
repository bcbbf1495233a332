"""The picture that everything is measured with: 1920 x 1080, JPEG, real photographs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

pictures: Any = skimage.data  # its functions carry no types

WIDTH, HEIGHT = 1920, 1080
QUALITY = 90


def write_photograph(path: Path) -> None:
    """Write a JPEG of a motorcycle (left), a cup (top right) and a cat, as a camera of that size would deliver it."""
    left, _, _ = pictures.stereo_motorcycle()
    right = np.vstack([_filled(pictures.coffee(), 720, 540), _filled(pictures.chelsea(), 720, 540)])
    picture = np.hstack([_filled(left, 1200, HEIGHT), right])
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    written, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not written:
        raise RuntimeError("OpenCV could not encode the photograph as JPEG.")
    path.write_bytes(jpeg.tobytes())


def _filled(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Scale until `width` x `height` pixels are covered, and cut the middle out of it."""
    factor = max(width / picture.shape[1], height / picture.shape[0])
    scaled = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return np.asarray(scaled[top : top + height, left : left + width], dtype=np.uint8)
