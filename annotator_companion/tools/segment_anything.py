"""A promptable segmentation model in two ONNX files, in the layout that Segment Anything was published in.

**Encoder**: one input, the picture, in one of two forms that exporters use: float32 (1, 3, S, S), normalised with the mean
and deviation that the model was trained with, the longer side scaled to S and the rest, right or below, 0; or
(height, width, 3), uint8 or float32 RGB 0..255, the longer side scaled to `FREE_SIDE`. One output, the embedding.

**Decoder**: inputs `image_embeddings`, `point_coords` float32 (1, N, 2) in pixels of the scaled picture, `point_labels`
float32 (1, N): 1 belongs to the thing, 0 does not, 2 and 3 are the corners of a box, -1 fills up; `mask_input` float32
(1, 1, 256, 256) and `has_mask_input` float32 (1,), which are 0 here; `orig_im_size` float32 (2,): height, width. Outputs
`masks` (1, M, height, width), above 0 where the thing is, and `iou_predictions` (1, M).

That is what Meta's `scripts/export_onnx_model.py` writes for the decoder, and what MobileSAM, EfficientSAM's SAM-style
exports and `samexporter` follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from annotator_companion.tools.base import Mask, Pixels, Point
from models.errors import ModelFailed, OutputsImplausible
from models.runtimes.onnx import library

MEAN = np.array([123.675, 116.28, 103.53], np.float32)
DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
"""Of the pictures that the model was trained with, RGB 0..255."""

FREE_SIDE = 1024
LOW_MASK_SIDE = 256

MAX_MASK_SIDE = 1024
"""Pixels of a mask's longer side. Models see no more; of a large picture the decoder would return gigabytes of masks."""

BELONGS, DOES_NOT, TOP_LEFT, BOTTOM_RIGHT, FILLS_UP = 1.0, 0.0, 2.0, 3.0, -1.0
"""Labels of points."""

DECODER_INPUTS = frozenset(
    {"image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size"}
)
_FLOAT, _UINT8 = "tensor(float)", "tensor(uint8)"


@dataclass(frozen=True)
class Embedding:
    """A picture as the decoder knows it; `scale` leads from its pixels to those of the encoder's input. `width` and
    `height` are those of the masks."""

    values: NDArray[np.float32]
    scale: float
    width: int
    height: int


class SegmentAnything:
    """The pair, loaded. May be used by several threads at once.

    Raises `RuntimeMissing` without ONNX Runtime, `ModelFailed` for files that it cannot load or that have another layout.
    """

    def __init__(self, encoder: Path, decoder: Path, threads: int = 0) -> None:
        self._encoder = _session(encoder, threads)
        self._decoder = _session(decoder, threads)
        inputs = self._encoder.get_inputs()
        if len(inputs) != 1:
            raise ModelFailed(f"{encoder.name} has {len(inputs)} inputs; the encoder of a promptable model has one")
        [self._input] = inputs
        self._side = self._input_side(encoder.name)
        names = {each.name for each in self._decoder.get_inputs()}
        if names != DECODER_INPUTS:
            raise ModelFailed(
                f"{decoder.name} has the inputs {', '.join(sorted(names))}; a decoder in Segment Anything's layout has "
                f"{', '.join(sorted(DECODER_INPUTS))}"
            )
        outputs = [each.name for each in self._decoder.get_outputs()]
        if not {"masks", "iou_predictions"} <= set(outputs):
            raise ModelFailed(
                f"{decoder.name} has the outputs {', '.join(outputs)}; masks and iou_predictions are needed"
            )

    def encode(self, pixels: Pixels) -> Embedding:
        """A picture, uint8 RGB (height, width, 3). The slow half: seconds on a CPU, once for a picture.

        Raises `ModelFailed`.
        """
        height, width = pixels.shape[:2]
        scale = self._side / max(height, width)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        scaled = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        [values] = _run(self._encoder, {self._input.name: self._tensor(np.asarray(scaled))}, [0])
        fewer = min(1.0, MAX_MASK_SIDE / max(height, width))
        mask_size = max(round(width * fewer), 1), max(round(height * fewer), 1)
        return Embedding(np.asarray(values, dtype=np.float32), scale, *mask_size)

    def masks(self, embedding: Embedding, points: Sequence[Point], labels: Sequence[float]) -> Mask:
        """The mask (0 or 1, of the whole picture, no side longer than `MAX_MASK_SIDE`) that the model believes in most.

        `points` are pixels of the picture. Raises `ModelFailed`, and `OutputsImplausible` for shapes that are none.
        """
        if TOP_LEFT not in labels:  # without a box a filling point is due, as the published exporter says
            points, labels = [*points, (0, 0)], [*labels, FILLS_UP]
        inputs = {
            "image_embeddings": embedding.values,
            "point_coords": (np.array(points, np.float32) * embedding.scale)[None],
            "point_labels": np.array(labels, np.float32)[None],
            "mask_input": np.zeros((1, 1, LOW_MASK_SIDE, LOW_MASK_SIDE), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array([embedding.height, embedding.width], np.float32),
        }
        masks, quality = _run(self._decoder, inputs, ["masks", "iou_predictions"])
        wanted = (embedding.height, embedding.width)
        if masks.ndim != 4 or masks.shape[2:] != wanted or quality.shape != masks.shape[:2] or not quality.size:
            raise OutputsImplausible(
                f"the decoder returned masks {masks.shape} and qualities {quality.shape}; masks of {wanted} were asked for"
            )
        best = int(np.argmax(np.nan_to_num(quality[0], nan=-np.inf)))
        return np.asarray(masks[0, best] > 0, dtype=np.uint8)

    def _input_side(self, file: str) -> int:
        shape = self._input.shape
        if len(shape) == 4 and self._input.type == _FLOAT and shape[1] == 3 and shape[2] == shape[3]:
            if isinstance(shape[2], int) and shape[2] > 0:
                return shape[2]
        elif len(shape) == 3 and self._input.type in (_FLOAT, _UINT8) and shape[2] in (3, "channels", None):
            return FREE_SIDE
        raise ModelFailed(
            f"{file} wants {self._input.type} {shape}; an encoder takes float (1, 3, S, S), or (height, width, 3)"
        )

    def _tensor(self, scaled: Pixels) -> NDArray[Any]:
        if len(self._input.shape) == 3:
            return scaled if self._input.type == _UINT8 else scaled.astype(np.float32)
        padded = np.zeros((self._side, self._side, 3), np.float32)
        padded[: scaled.shape[0], : scaled.shape[1]] = (scaled - MEAN) / DEVIATION
        return np.ascontiguousarray(padded.transpose(2, 0, 1)[None])


def _session(path: Path, threads: int) -> Any:
    ort = library()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = [
        name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in ort.get_available_providers()
    ]
    try:
        return ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime raises classes of its own that derive from Exception only
        raise ModelFailed(f"ONNX Runtime cannot load {path}: {_first_line(error)}") from error


def _run(session: Any, inputs: dict[str, NDArray[Any]], outputs: Sequence[str | int]) -> list[NDArray[Any]]:
    names = [each.name for each in session.get_outputs()]
    wanted = [names[each] if isinstance(each, int) else each for each in outputs]
    try:
        return [np.asarray(each) for each in session.run(wanted, inputs)]
    except Exception as error:  # as in `_session`
        raise ModelFailed(f"ONNX Runtime failed while running the model: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
