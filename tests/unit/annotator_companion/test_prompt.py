"""A promptable model in ONNX proposes masks: run by the real ONNX Runtime, the model tiny."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from annotator_companion.tools import tools
from annotator_companion.tools.base import Action, Dot, Picture, Pixels
from annotator_companion.tools.prompt import Prompt
from annotator_companion.tools.segment_anything import (
    BELONGS,
    BOTTOM_RIGHT,
    MAX_MASK_SIDE,
    TOP_LEFT,
    SegmentAnything,
)
from models.errors import ModelFailed, OutputsImplausible, SettingsInvalid
from tests.support.pasted_things import intersection_over_union
from tests.support.tiny_promptable import write_model, write_promptable
from tests.unit.annotator_companion.hand import Hand, plain


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_promptable(tmp_path_factory.mktemp("pair"))


def two_discs() -> tuple[Picture, Pixels, Pixels]:
    """Bright discs on dark ground, 320 x 200 pixels, and the mask of each."""
    masks = []
    for centre in ((80, 100), (240, 100)):
        mask = np.zeros((200, 320), np.uint8)
        cv2.circle(mask, centre, 40, 1, -1)
        masks.append(mask)
    pixels = np.where((masks[0] | masks[1])[..., None] != 0, np.uint8(230), np.uint8(20)).repeat(3, axis=2)
    return Picture(pixels.astype(np.uint8)), masks[0], masks[1]


@pytest.mark.parametrize("free", [False, True], ids=["(1, 3, S, S)", "(height, width, 3)"])
def test_a_box_becomes_the_mask_that_the_model_believes_in_most(tmp_path: Path, free: bool) -> None:
    picture, _, right = two_discs()
    [tool] = tools(["prompt"], *write_promptable(tmp_path, free=free))
    hand = Hand(tool, picture)
    sketch = hand.box((190, 50, 100, 100))
    assert sketch.is_stored
    # The embedding is 64 pixels long: what comes out of it is coarse.
    assert intersection_over_union(hand.mask(sketch), right) > 0.85


def test_a_click_is_enough_and_further_clicks_correct(pair: tuple[Path, Path]) -> None:
    picture, left, _ = two_discs()
    hand = Hand(Prompt(*pair), picture)
    first = hand.click((80, 100))
    assert intersection_over_union(hand.mask(first), left) > 0.85, "both are bright; the first largest part counts"
    less = hand.click((60, 100), shift=True)
    assert less.is_stored
    assert not hand.mask(less)[100, 60]
    assert [shape.look for shape in less.shapes if isinstance(shape, Dot)] == ["foreground", "background"]
    back = hand.key("Backspace")
    assert hand.mask(back)[100, 60]
    assert not hand.key("Backspace").is_stored, "the click that it began with stays"
    right_button = hand.click((60, 100), is_right=True)
    assert not hand.mask(right_button)[100, 60]


def test_another_box_is_another_thing(pair: tuple[Path, Path]) -> None:
    picture, left, right = two_discs()
    tool = Prompt(*pair)
    hand = Hand(tool, picture)
    assert intersection_over_union(hand.mask(hand.box((30, 50, 100, 100))), left) > 0.85
    assert hand.do("down", (190, 50), pressed=(190, 50)).region is not None
    assert hand.do("move", (290, 150), pressed=(190, 50)).region is not None
    last = Action("up", (290, 150), pressed=(190, 50))
    assert hand.drawing.handle(last) is None
    another = Hand(tool, picture)
    sketch = another.drawing.handle(last)
    assert sketch is not None
    assert intersection_over_union(another.mask(sketch), right) > 0.85


def test_enter_ends_it(pair: tuple[Path, Path]) -> None:
    hand = Hand(Prompt(*pair), two_discs()[0])
    hand.box((30, 50, 100, 100))
    ended = hand.key("Enter")
    assert (ended.is_finished, ended.is_stored) == (True, False)


def test_of_a_large_picture_the_mask_is_coarser(pair: tuple[Path, Path]) -> None:
    picture, left, _ = two_discs()
    large = Picture(cv2.resize(picture.pixels, (3200, 2000), interpolation=cv2.INTER_NEAREST).astype(np.uint8))
    hand = Hand(Prompt(*pair), large)
    sketch = hand.box((300, 500, 1000, 1000))
    assert sketch.region is not None
    assert sketch.region.mask.shape == (640, MAX_MASK_SIDE)
    expected = cv2.resize(left, (3200, 2000), interpolation=cv2.INTER_NEAREST)
    assert intersection_over_union(hand.mask(sketch), expected) > 0.85


def test_where_the_model_says_nothing_it_is_the_box(pair: tuple[Path, Path]) -> None:
    hand = Hand(Prompt(*pair), Picture(plain(200, 100, value=10)))
    mask = hand.mask(hand.box((20, 10, 50, 40)))
    assert mask.sum() == 50 * 40
    assert mask[10:50, 20:70].all()
    another = Hand(Prompt(*pair), Picture(plain(200, 100, value=10)))
    assert another.mask(another.click((199, 99))).sum() == 1


def test_a_picture_is_encoded_once(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    real = SegmentAnything.encode

    def encode(self: SegmentAnything, pixels: Pixels) -> object:
        encoded.append(pixels.shape)
        return real(self, pixels)

    monkeypatch.setattr(SegmentAnything, "encode", encode)
    tool, picture = Prompt(*pair), two_discs()[0]
    for _ in range(3):
        Hand(tool, picture).box((30, 50, 100, 100))
    assert encoded == [(200, 320, 3)]
    Hand(tool, two_discs()[0]).box((30, 50, 100, 100))
    assert len(encoded) == 2, "another picture"


def test_points_are_pixels_of_the_scaled_picture(pair: tuple[Path, Path]) -> None:
    model = SegmentAnything(*pair)
    picture, left, _ = two_discs()
    embedding = model.encode(picture.pixels)
    assert embedding.scale == 64 / 320
    assert embedding.values.shape == (1, 1, 64, 64)
    assert not embedding.values[0, 0, 41:].any(), "beside the picture it is 0, the mean of the training"
    mask = model.masks(embedding, [(30, 50), (130, 150)], [TOP_LEFT, BOTTOM_RIGHT])
    assert mask.shape == (200, 320)
    assert intersection_over_union(mask, left) > 0.85
    assert model.masks(embedding, [(80, 100)], [BELONGS]).any()


def test_without_a_model_the_tool_says_what_is_missing() -> None:
    with pytest.raises(SettingsInvalid, match="set PROMPT_ENCODER and PROMPT_DECODER"):
        tools(["prompt"])


@pytest.mark.parametrize(
    ("swapped", "sentence"),
    [
        (True, "a decoder in Segment Anything's layout has"),
        (False, "the encoder of a promptable model has one"),
    ],
)
def test_files_of_another_layout_are_refused(pair: tuple[Path, Path], swapped: bool, sentence: str) -> None:
    encoder, decoder = pair
    with pytest.raises(ModelFailed, match=sentence):
        SegmentAnything(encoder, encoder) if swapped else SegmentAnything(decoder, decoder)


def test_an_encoder_for_something_else_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    text = "encoder (float[1,1,64,64] x) => (float[1,1,64,64] y) { y = Identity (x) }"
    with pytest.raises(ModelFailed, match=re.escape("takes float (1, 3, S, S), or (height, width, 3)")):
        SegmentAnything(write_model(tmp_path / "grey.onnx", text), pair[1])


def test_files_that_are_none_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    for encoder in (tmp_path / "broken.onnx", tmp_path / "missing.onnx"):
        with pytest.raises(ModelFailed, match="ONNX Runtime cannot load"):
            SegmentAnything(encoder, pair[1])


def test_masks_of_the_wrong_size_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    text = """
    decoder (float[1,1,64,64] image_embeddings, float[1,n,2] point_coords, float[1,n] point_labels,
             float[1,1,256,256] mask_input, float[1] has_mask_input, float[2] orig_im_size)
        => (float[1,1,64,64] masks, float[1,1] iou_predictions) {
        masks = Identity (image_embeddings)
        iou_predictions = Constant <value = float[1,1] {0.5}> ()
    }"""
    hand = Hand(Prompt(pair[0], write_model(tmp_path / "decoder.onnx", text)), two_discs()[0])
    with pytest.raises(OutputsImplausible, match=re.escape("masks (1, 1, 64, 64)")):
        hand.box((30, 50, 100, 100))
