"""Cuts through a picture, from few pixels to many: GrabCut (Rother, Kolmogorov, Blake 2004) finds the thing on few, cuts its
border anew on more, and a guided filter (He, Sun, Tang 2010) draws that to the edges that are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from annotator_companion.tools.base import Mask, Pixels

FOREGROUND, BACKGROUND = int(cv2.GC_FGD), int(cv2.GC_BGD)
MAYBE, MAYBE_NOT = int(cv2.GC_PR_FGD), int(cv2.GC_PR_BGD)
"""What a trimap (uint8, as large as the pixels) says of a pixel: it is so for sure, or it is where to begin."""

CORE = 4
"""Pixels of the rough mask: what lies so deep in the thing is not cut again."""

FAR = 8
"""Pixels of the rough mask: so far out legs and tails are followed that few pixels did not show."""

BINS = 16
"""Steps of each of lightness and the two colour axes (CIE Lab) by which colours are told apart."""

AS_COMMON = 0.7
"""A colour that is at least so many times as common around the box as in it rather belongs to what is around."""

LEAST_THING = 0.1
"""Of the box: where less has colours of its own, colours say nothing."""


@dataclass(frozen=True)
class Cut:
    """A mask of 0 and 1, and the colours that GrabCut has learnt of background and thing: None where there was nothing to
    cut."""

    mask: Mask
    colours: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None


def warm_up() -> None:
    """Have OpenCV make its tables for colours, 0.1 s, before somebody waits for them."""
    _bins(np.zeros((1, 1, 3), np.uint8))


def cut(pixels: Pixels, trimap: Mask, iterations: int) -> Cut:
    """GrabCut: colours are learnt as the trimap says, the pixels cut, and that so many times. Its time grows faster than
    the number of pixels: 0.02 s for 8,000 here, 5 s for 640 x 640. The same always gives the same."""
    if not ((trimap == BACKGROUND) | (trimap == MAYBE_NOT)).any():
        return Cut(np.ones_like(trimap))  # there is nothing around it: the box is the whole picture
    if not ((trimap == FOREGROUND) | (trimap == MAYBE)).any():
        return Cut(np.zeros_like(trimap))
    cv2.setRNGSeed(1)  # of this thread: its clusters begin at random
    colours = np.zeros((1, 65)), np.zeros((1, 65))
    return Cut(_run(pixels, trimap, colours, iterations, cv2.GC_INIT_WITH_MASK), colours)


def begun(pixels: Pixels, trimap: Mask) -> Mask:
    """The trimap, with `MAYBE_NOT` where it said `MAYBE` of colours that are as common in what is background for sure.

    Left to itself GrabCut begins with the whole box, and takes the sky between the legs for a part of the horse.
    """
    bins = _bins(pixels)
    there, around = trimap == MAYBE, trimap == BACKGROUND
    common, own = _common(bins[around]), _common(bins[there])
    likely = there & (common < AS_COMMON * own)[bins]
    if likely.sum() < LEAST_THING * there.sum():
        return trimap
    return np.where(there & ~likely, np.uint8(MAYBE_NOT), trimap)


def refined(pixels: Pixels, rough: Cut, trimap: Mask) -> Mask:
    """The mask of a cut through fewer pixels of the same picture, cut again near its border with the colours learnt.

    What `trimap` is sure of stays as it says. Most pixels are decided before, which is why it takes little time.
    """
    size = (pixels.shape[1], pixels.shape[0])

    def enlarged(mask: Any) -> NDArray[np.bool_]:
        return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), dtype=np.bool_)

    mask = enlarged(rough.mask)
    if rough.colours is None or rough.mask.shape == pixels.shape[:2]:
        return mask.astype(np.uint8)
    labels = np.where(mask, np.uint8(MAYBE), np.uint8(MAYBE_NOT))
    labels[enlarged(cv2.erode(rough.mask, _disc(CORE)))] = FOREGROUND
    labels[~enlarged(cv2.dilate(rough.mask, _disc(FAR)))] = BACKGROUND
    is_sure = (trimap == FOREGROUND) | (trimap == BACKGROUND)
    labels[is_sure] = trimap[is_sure]
    return _run(pixels, labels, rough.colours, 1, cv2.GC_EVAL_FREEZE_MODEL)


def sharpened(pixels: Pixels, rough: Mask) -> Mask:
    """A mask of fewer pixels at the size of `pixels`, its border drawn to the edges of the grey picture."""
    height, width = pixels.shape[:2]
    resized = cv2.resize(rough.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    mask = np.asarray(resized, dtype=np.float32)
    factor = width / rough.shape[1]
    if factor > 1.25:
        guide = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) / 255, dtype=np.float32)
        mask = _guided(guide, mask, radius=max(2, round(2 * factor)), smoothness=1e-4)
    return (mask >= 0.5).astype(np.uint8)


def _bins(pixels: Pixels) -> NDArray[np.intp]:
    """Which of `BINS` ** 3 colours each pixel has. Few pictures leave the middle half of the colour axes."""
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(np.intp)
    axes: NDArray[np.intp] = np.clip((lab[..., 1:] - 64) * BINS // 128, 0, BINS - 1)
    bins: NDArray[np.intp] = (lab[..., 0] * BINS // 256 * BINS + axes[..., 0]) * BINS + axes[..., 1]
    return bins


def _common(bins: NDArray[np.intp]) -> NDArray[np.float64]:
    """How common each colour is; a colour makes those beside it a little more common."""
    counts = np.bincount(bins, minlength=BINS**3).reshape(BINS, BINS, BINS) / max(bins.size, 1)
    for axis in range(3):
        counts = np.moveaxis(counts, axis, 0)
        padded = np.pad(counts, ((1, 1), (0, 0), (0, 0)), mode="edge")
        counts = np.moveaxis(0.25 * padded[:-2] + 0.5 * counts + 0.25 * padded[2:], 0, axis)
    return counts.ravel()


def _run(pixels: Pixels, trimap: Mask, colours: tuple[Any, Any], iterations: int, mode: int) -> Mask:
    labels = trimap.copy()
    cv2.grabCut(pixels, labels, (0, 0, 0, 0), *colours, iterations, mode)
    return np.asarray((labels == FOREGROUND) | (labels == MAYBE), dtype=np.uint8)


def _disc(radius: int) -> Mask:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), dtype=np.uint8)


def _guided(
    guide: NDArray[np.float32], values: NDArray[np.float32], radius: int, smoothness: float
) -> NDArray[np.float32]:
    window = (2 * radius + 1, 2 * radius + 1)

    def mean(of: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.boxFilter(of, -1, window, borderType=cv2.BORDER_REFLECT), dtype=np.float32)

    guide_mean, values_mean = mean(guide), mean(values)
    slope = (mean(guide * values) - guide_mean * values_mean) / (mean(guide * guide) - guide_mean**2 + smoothness)
    filtered: NDArray[np.float32] = mean(slope) * guide + mean(values_mean - slope * guide_mean)
    return filtered
