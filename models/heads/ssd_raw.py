"""SSD as the network leaves it: box encodings relative to anchors, and one value per class.

The anchors come with the bundle, as a list or as the numbers to make them from (`AnchorGenerator`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt

from models import geometry
from models.errors import BundleError, OutputsImplausible
from models.heads import outputs as raw
from models.heads.base import Candidates, HeadContext


class AnchorGenerator(raw.Options):
    """Numbers to make anchors from: names and defaults are those of `ssd_anchor_generator` in the TensorFlow Object
    Detection API.

    `feature_maps`: (rows, columns) of each, in the order of the outputs. `scales`: side of the anchors of each map as a
    share of the picture's shorter side, and one more for the map that would follow; without them they go evenly from
    `min_scale` to `max_scale`, then 1. Each place of a map has an anchor for every aspect ratio (width / height) and,
    unless `interpolated_scale_aspect_ratio` is 0, one of that ratio between its own scale and the next. The first map
    has three anchors only with `reduce_boxes_in_lowest_layer`.
    """

    feature_maps: Annotated[list[tuple[PositiveInt, PositiveInt]], Field(min_length=1, max_length=32)]
    scales: list[PositiveFloat] | None = None
    min_scale: PositiveFloat = 0.2
    max_scale: PositiveFloat = 0.95
    aspect_ratios: Annotated[tuple[PositiveFloat, ...], Field(min_length=1, max_length=32)] = (
        1.0,
        2.0,
        0.5,
        3.0,
        0.3333,
    )
    interpolated_scale_aspect_ratio: float = Field(default=1.0, ge=0.0)
    reduce_boxes_in_lowest_layer: bool = True

    def anchors(self, width: int, height: int) -> NDArray[np.float32]:
        """(A, 4) float32 y centre, x centre, height, width, as shares of a picture of `width` x `height` pixels."""
        scales = self._scales()
        shorter = min(width, height)
        maps = []
        for level, (rows, columns) in enumerate(self.feature_maps):
            shapes = np.array(self._shapes(level, scales[level], scales[level + 1]))
            sides, roots = shapes[:, 0], np.sqrt(shapes[:, 1])
            y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
            anchors = np.empty((rows, columns, len(shapes), 4))
            anchors[..., 0] = y[..., np.newaxis]
            anchors[..., 1] = x[..., np.newaxis]
            anchors[..., 2] = sides / roots * shorter / height
            anchors[..., 3] = sides * roots * shorter / width
            maps.append(anchors.reshape(-1, 4))
        return np.concatenate(maps).astype(np.float32)

    def _scales(self) -> list[float]:
        """One scale per map, and one more."""
        levels = len(self.feature_maps)
        if self.scales is None:
            return [*np.linspace(self.min_scale, self.max_scale, levels).tolist(), 1.0]
        if len(self.scales) != levels + 1:
            raise BundleError(
                f"head_options.anchor_generator has {len(self.scales)} scales for {levels} feature maps; "
                f"expected {levels + 1}, the last one for the map that would follow."
            )
        return list(self.scales)

    def _shapes(self, level: int, scale: float, next_scale: float) -> list[tuple[float, float]]:
        """Scale and aspect ratio of each anchor at one place of a map."""
        if level == 0 and self.reduce_boxes_in_lowest_layer:
            return [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        shapes = [(scale, ratio) for ratio in self.aspect_ratios]
        if self.interpolated_scale_aspect_ratio:
            shapes.append((float(np.sqrt(scale * next_scale)), self.interpolated_scale_aspect_ratio))
        return shapes


class SsdRawOptions(raw.Options):
    """`anchors`: rows of y centre, x centre, height, width as shares of the picture; or `anchor_generator`.

    `scale_factors`: what the encodings of y, x, h, w were multiplied with in training. `activation`: what turns the
    class values into scores. `background`: whether column 0 stands for "nothing here"; class numbers are counted
    without it. These two have no default: a wrong guess would give wrong names and scores without a word.
    """

    anchors: Any = None
    anchor_generator: AnchorGenerator | None = None
    scale_factors: tuple[PositiveFloat, PositiveFloat, PositiveFloat, PositiveFloat] = (10.0, 10.0, 5.0, 5.0)
    activation: raw.Activation
    background: bool


class SsdRaw:
    """`boxes` (1, A, 4) ty, tx, th, tw relative to anchors, and `scores` (1, A, C), one more column with background."""

    name = "ssd_raw"
    needs_nms = True

    def __init__(self) -> None:
        self._read: tuple[HeadContext, SsdRawOptions, NDArray[np.float32]] | None = None

    def decode(self, outputs: Sequence[NDArray[np.float32]], context: HeadContext) -> Candidates:
        """Decode one picture's outputs. Raises `OutputsImplausible`, and `BundleError` for wrong `head_options`."""
        options, anchors = self._options_and_anchors(context)
        encodings, values = raw.boxes_and(outputs, context, "scores")
        if encodings.shape[1] != len(anchors):
            raise OutputsImplausible(
                f"Output 'boxes' has shape {encodings.shape}, the bundle {len(anchors)} anchors; "
                f"expected (1, {len(anchors)}, 4)."
            )
        classes = slice(1, None) if options.background else slice(None)
        raw.require_classes(values[..., classes].shape[2], "scores", context)
        scores = raw.best_scores(values[0], options.activation, "scores", classes)
        keep = np.flatnonzero(scores >= context.min_score)
        boxes = _decoded(encodings[0, keep], anchors[keep], options.scale_factors, context)
        return raw.candidates(boxes, values[0, keep, classes].argmax(axis=1), scores[keep], "boxes")

    def _options_and_anchors(self, context: HeadContext) -> tuple[SsdRawOptions, NDArray[np.float32]]:
        """Read once per model (which the context tells): reading thousands of anchors takes longer than decoding."""
        read = self._read
        if read is None or read[0] is not context:
            options = raw.read_options(SsdRawOptions, context)
            read = self._read = (context, options, _anchors(options, context))
        return read[1], read[2]


def _anchors(options: SsdRawOptions, context: HeadContext) -> NDArray[np.float32]:
    """(A, 4) float32 y centre, x centre, height, width, 0..1."""
    if (options.anchors is None) == (options.anchor_generator is None):
        raise BundleError(
            "head_options of an ssd_raw model has to have either 'anchors' or 'anchor_generator', and one only."
        )
    if options.anchor_generator is not None:
        return options.anchor_generator.anchors(context.width, context.height)
    try:
        anchors = np.asarray(options.anchors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise BundleError("head_options.anchors is no list of [y centre, x centre, height, width].") from error
    if anchors.ndim != 2 or anchors.shape[1] != 4 or not np.isfinite(anchors).all() or (anchors[:, 2:] <= 0).any():
        raise BundleError(
            f"head_options.anchors has shape {anchors.shape}; expected (A, 4) finite numbers y centre, x centre, "
            f"height, width, with heights and widths above 0."
        )
    return anchors


def _decoded(
    encodings: NDArray[np.float32], anchors: NDArray[np.float32], scale_factors: Sequence[float], context: HeadContext
) -> NDArray[np.float32]:
    """(N, 4) encodings of N anchors -> (N, 4) x1, y1, x2, y2 in pixels. Formula: Faster R-CNN (2015), equation 2."""
    with np.errstate(over="ignore", invalid="ignore"):
        ty, tx, th, tw = (encodings / np.array(scale_factors, dtype=np.float32)).T
        y, x, height, width = anchors.T
        centres_and_sizes = np.stack([tx * width + x, ty * height + y, np.exp(tw) * width, np.exp(th) * height], axis=1)
        size = np.array([context.width, context.height] * 2, dtype=np.float32)
        return geometry.cxcywh_to_xyxy(centres_and_sizes * size)
