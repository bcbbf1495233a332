"""Cuts from few pixels to many: where they begin, and what more pixels bring back."""

from __future__ import annotations

import cv2
import numpy as np

from annotator_companion.tools.base import Mask, Pixels
from annotator_companion.tools.crops import shrunk
from annotator_companion.tools.cuts import BACKGROUND, FOREGROUND, MAYBE, MAYBE_NOT, Cut, begun, cut, refined
from tests.support.pasted_things import intersection_over_union

SIDE = 160


def table() -> tuple[Pixels, Mask, Mask]:
    """A brown table on thin legs before a sky that grows lighter downwards; its mask, and a trimap with a box around it."""
    rows = np.linspace(0, 40, SIDE)[:, None, None]
    sky = np.array([60.0, 90.0, 150.0]) + rows
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[40:75, 40:120] = 1
    mask[75:125, 44:48] = mask[75:125, 112:116] = 1
    noise = np.random.default_rng(5).normal(0, 3, (SIDE, SIDE, 3))
    pixels = np.where(mask[..., None] != 0, np.array([120.0, 80.0, 50.0]), sky) + noise
    trimap = np.full((SIDE, SIDE), BACKGROUND, np.uint8)
    trimap[36:129, 36:124] = MAYBE
    return np.clip(pixels, 0, 255).astype(np.uint8), mask, trimap


def test_colours_that_are_all_around_are_not_begun_with() -> None:
    pixels, mask, trimap = table()
    where = begun(pixels, trimap)
    assert (where[mask != 0] == MAYBE).mean() > 0.95
    assert (where[(mask == 0) & (trimap == MAYBE)] == MAYBE_NOT).mean() > 0.95
    np.testing.assert_array_equal(where == BACKGROUND, trimap == BACKGROUND)


def test_where_nothing_has_colours_of_its_own_it_begins_with_the_box() -> None:
    _, _, trimap = table()
    grey = np.full((SIDE, SIDE, 3), 90, np.uint8)
    np.testing.assert_array_equal(begun(grey, trimap), trimap)
    whole = np.full_like(trimap, MAYBE)
    np.testing.assert_array_equal(begun(table()[0], whole), whole)


def test_more_pixels_bring_back_what_few_did_not_show() -> None:
    pixels, mask, trimap = table()
    few = shrunk(pixels, SIDE // 4)
    rough = cut(few, cv2.resize(trimap, (SIDE // 4, SIDE // 4), interpolation=cv2.INTER_NEAREST).astype(np.uint8), 2)
    legless = rough.mask.copy()
    legless[20:] = 0
    found = refined(pixels, Cut(legless, rough.colours), trimap)
    legs = mask[84:100] != 0
    assert found[84:100][legs].mean() > 0.9
    assert intersection_over_union(found[:100], mask[:100]) > 0.95


def test_what_is_sure_stays_so() -> None:
    pixels, mask, trimap = table()
    rough = cut(pixels, trimap, 2)
    few = Cut(
        cv2.resize(rough.mask, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_NEAREST).astype(np.uint8), rough.colours
    )
    trimap[50:60, 50:60] = BACKGROUND
    trimap[10:20, 10:20] = FOREGROUND
    found = refined(pixels, few, trimap)
    assert not found[50:60, 50:60].any()
    assert found[10:20, 10:20].all()
    assert intersection_over_union(found[70:], mask[70:]) > 0.9


def test_without_anything_around_or_inside_there_is_nothing_to_cut() -> None:
    pixels, _, _ = table()
    for known, expected in ((MAYBE, 1), (BACKGROUND, 0)):
        trimap = np.full((SIDE, SIDE), known, np.uint8)
        found = cut(pixels, trimap, 2)
        assert found.colours is None
        assert (found.mask == expected).all()
        assert (refined(pixels, Cut(found.mask[::2, ::2].copy()), trimap) == expected).all()
