"""SSD without post-processing, held against what the seed model's own post-processing makes of the same numbers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from PIL import Image

import models
from models.errors import BundleError, OutputsImplausible
from models.geometry import nms
from models.heads.base import Head, HeadContext
from models.heads.ssd_raw import AnchorGenerator, SsdRaw

SEED = Path(models.__file__).parent / "zoo/everyday_objects/mobilenet_ssd_v2_coco_quant_postprocess.tflite"
CAT = Path(skimage.__file__).parent / "data/chelsea.png"
SEED_FEATURE_MAPS = [(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)]

HEAD: Head = SsdRaw()
ANCHORS = [[0.5, 0.5, 0.2, 0.4], [0.25, 0.25, 0.5, 0.5]]


def context(min_score: float = 0.3, class_count: int = 2, **options: Any) -> HeadContext:
    defaults = {"anchors": ANCHORS, "activation": "sigmoid", "background": True}
    return HeadContext(300, 200, {"boxes": 0, "scores": 1}, defaults | options, min_score, class_count)


def logits(*rows: list[float]) -> NDArray[np.float32]:
    return np.array([rows], np.float32)


NOTHING_MOVED = np.zeros((1, 2, 4), np.float32)
SECOND_CLASS_SURE = logits([9, -9, -9], [-9, -9, 3])


def test_an_encoding_of_zeros_is_the_anchor_itself() -> None:
    found = HEAD.decode([NOTHING_MOVED, SECOND_CLASS_SURE], context())
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes, [[0, 0, 150, 100]], atol=1e-4)
    assert found.classes.tolist() == [1]
    np.testing.assert_allclose(found.scores, [1 / (1 + np.exp(-3))], rtol=1e-5)
    assert HEAD.needs_nms


def test_encodings_move_and_stretch_the_anchor() -> None:
    encodings = np.zeros((1, 2, 4), np.float32)
    encodings[0, 1] = [10, -5, 5 * np.log(2), 0]  # one height down, half a width left, twice as high
    found = HEAD.decode([encodings, SECOND_CLASS_SURE], context())
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes, [[-75, 50, 75, 250]], atol=1e-3)


@pytest.mark.parametrize(
    ("activation", "background", "values", "expected"),
    [
        pytest.param("sigmoid", True, [9, 0, 2], (1, 1 / (1 + np.exp(-2))), id="sigmoid, background left out"),
        pytest.param("sigmoid", False, [2, 0, -1], (0, 1 / (1 + np.exp(-2))), id="sigmoid, no background"),
        pytest.param("softmax", True, [0, 0, np.log(2)], (1, 0.5), id="softmax, background takes its share"),
        pytest.param("softmax", False, [np.log(6), 0, 0], (0, 0.75), id="softmax, no background"),
        pytest.param("none", True, [1, 0.1, 0.7], (1, 0.7), id="scores already, background left out"),
        pytest.param("none", False, [0.4, 0.1, 0.3], (0, 0.4), id="scores already, no background"),
    ],
)
def test_class_values_become_scores(
    activation: str, background: bool, values: list[float], expected: tuple[int, float]
) -> None:
    outputs = [NOTHING_MOVED[:, :1], logits(values)]
    found = HEAD.decode(outputs, context(activation=activation, background=background, anchors=ANCHORS[:1]))
    assert found.classes.tolist() == [expected[0]]
    np.testing.assert_allclose(found.scores, [expected[1]], rtol=1e-5)


def test_outputs_without_names_are_told_by_their_last_dimension() -> None:
    unnamed = context()
    unnamed = HeadContext(300, 200, {}, unnamed.options, 0.3, 2)
    assert HEAD.decode([SECOND_CLASS_SURE, NOTHING_MOVED], unnamed).classes.tolist() == [1]


def test_with_three_classes_and_background_both_could_be_boxes_and_have_to_be_named() -> None:
    unnamed = HeadContext(300, 200, {}, context().options, 0.3, 2)
    with pytest.raises(OutputsImplausible, match="the bundle has to name both"):
        HEAD.decode([NOTHING_MOVED, np.zeros((1, 2, 4), np.float32)], unnamed)


def test_nothing_seen_is_an_empty_answer_of_the_right_types() -> None:
    found = HEAD.decode([NOTHING_MOVED, SECOND_CLASS_SURE], context(min_score=0.99))
    assert found.boxes is not None
    assert (found.boxes.shape, found.classes.shape, found.scores.shape) == ((0, 4), (0,), (0,))
    assert [array.dtype.name for array in (found.boxes, found.classes, found.scores)] == ["float32", "int64", "float32"]


@pytest.mark.parametrize(
    ("boxes", "scores", "says"),
    [
        (np.zeros((1, 3, 4)), np.zeros((1, 3, 3)), r"\(1, 3, 4\), the bundle 2 anchors; expected \(1, 2, 4\)"),
        (np.zeros((1, 2, 5)), np.zeros((1, 2, 3)), r"'boxes' has shape \(1, 2, 5\); expected \(1, N, 4\)"),
        (np.zeros((1, 2, 4)), np.zeros((1, 3, 3)), r"'scores' has shape \(1, 3, 3\); expected \(1, 2, C\)"),
        (np.zeros((1, 2, 4)), np.zeros((1, 2, 2)), "'scores' tells 1 classes apart; expected at least 2"),
        (np.full((1, 2, 4), np.nan), np.zeros((1, 2, 3)), "'boxes' .* NaN or infinite"),
        (np.zeros((1, 2, 4)), np.full((1, 2, 3), -np.inf), "'scores' .* NaN or infinite"),
        (np.full((1, 2, 4), 1e6), np.full((1, 2, 3), 5), "'boxes .decoded.' .* infinite"),
    ],
    ids=["other anchors", "boxes of 5", "rows differ", "too few classes", "boxes NaN", "scores -inf", "exp overflows"],
)
def test_what_cannot_be_right_is_told(boxes: NDArray[Any], scores: NDArray[Any], says: str) -> None:
    with pytest.raises(OutputsImplausible, match=says):
        HEAD.decode([boxes.astype(np.float32), scores.astype(np.float32)], context())


def test_logits_that_are_said_to_be_scores_are_told() -> None:
    with pytest.raises(OutputsImplausible, match=r"If they are logits, head_options\.activation"):
        HEAD.decode([NOTHING_MOVED, SECOND_CLASS_SURE], context(activation="none"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"anchors": None}, "either 'anchors' or 'anchor_generator'"),
        ({"anchor_generator": {"feature_maps": [[1, 1]]}}, "either 'anchors' or 'anchor_generator'"),
        ({"anchors": [[0.5, 0.5, 0.1]]}, r"anchors has shape \(1, 3\); expected \(A, 4\)"),
        ({"anchors": [[0.5, 0.5, 0.1, 0]]}, "heights and widths above 0"),
        ({"anchors": [[0.5, "x", 0.1, 0.1]]}, "is no list of"),
        ({"anchors": [[0.5, 0.5], [0.5]]}, "is no list of"),
        ({"activation": "relu"}, r"head_options\.activation of the bundle is wrong"),
        ({"scale_factors": [10, 10, 5]}, r"head_options\.scale_factors\.3 of the bundle is wrong"),
        ({"anchors": None, "anchor_generator": {"feature_maps": []}}, r"anchor_generator\.feature_maps"),
        (
            {"anchors": None, "anchor_generator": {"feature_maps": [[1, 1]], "scales": [0.2]}},
            "1 scales for 1 feature maps",
        ),
    ],
)
def test_options_that_cannot_be_right_are_a_fault_of_the_bundle(options: dict[str, Any], says: str) -> None:
    with pytest.raises(BundleError, match=says):
        HEAD.decode([NOTHING_MOVED, SECOND_CLASS_SURE], context(**options))


@pytest.mark.parametrize("option", ["activation", "background"])
def test_options_that_would_silently_change_names_and_scores_have_no_default(option: str) -> None:
    complete = context()
    lacking = {name: value for name, value in complete.options.items() if name != option}
    with pytest.raises(BundleError, match=rf"head_options\.{option} of the bundle is wrong: Field required"):
        HEAD.decode([NOTHING_MOVED, SECOND_CLASS_SURE], HeadContext(300, 200, complete.outputs, lacking, 0.3, 2))


def test_one_instance_serves_two_models_without_mixing_their_anchors() -> None:
    other = context(anchors=[ANCHORS[1], ANCHORS[0]])
    first, second, again = (
        HEAD.decode([NOTHING_MOVED, SECOND_CLASS_SURE], each) for each in (context(), other, context())
    )
    assert first.boxes is not None and second.boxes is not None and again.boxes is not None
    np.testing.assert_allclose(second.boxes, [[90, 80, 210, 120]], atol=1e-3)
    np.testing.assert_array_equal(first.boxes, again.boxes)


class TestAnchorGenerator:
    """Anchors as the TensorFlow Object Detection API makes them."""

    def test_each_place_of_a_map_has_one_per_ratio_and_one_in_between(self) -> None:
        generator = AnchorGenerator(
            feature_maps=[(1, 2)], scales=[0.25, 1.0], aspect_ratios=(1.0, 4.0), reduce_boxes_in_lowest_layer=False
        )
        square, wide, between = [0.25, 0.25], [0.125, 0.5], [0.5, 0.5]
        expected = [[0.5, x, *shape] for x in (0.25, 0.75) for shape in (square, wide, between)]
        np.testing.assert_allclose(generator.anchors(300, 300), expected, rtol=1e-6)

    def test_rows_of_a_map_come_one_after_the_other_from_the_top(self) -> None:
        generator = AnchorGenerator(
            feature_maps=[(2, 2)],
            aspect_ratios=(1.0,),
            interpolated_scale_aspect_ratio=0.0,
            reduce_boxes_in_lowest_layer=False,
        )
        centres = generator.anchors(300, 300)[:, :2].tolist()
        assert centres == [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]

    def test_a_square_anchor_is_square_in_a_picture_that_is_not(self) -> None:
        generator = AnchorGenerator(
            feature_maps=[(1, 1)],
            scales=[0.5, 1.0],
            aspect_ratios=(1.0,),
            interpolated_scale_aspect_ratio=0.0,
            reduce_boxes_in_lowest_layer=False,
        )
        np.testing.assert_allclose(generator.anchors(400, 200), [[0.5, 0.5, 0.5, 0.25]])

    def test_scales_go_evenly_from_the_smallest_to_the_largest(self) -> None:
        generator = AnchorGenerator(
            feature_maps=[(1, 1)] * 3,
            min_scale=0.2,
            max_scale=0.8,
            aspect_ratios=(1.0,),
            interpolated_scale_aspect_ratio=0.0,
            reduce_boxes_in_lowest_layer=False,
        )
        np.testing.assert_allclose(generator.anchors(300, 300)[:, 2], [0.2, 0.5, 0.8], rtol=1e-6)


@pytest.fixture(scope="module")
def seed_tensors() -> dict[str, NDArray[np.float32]]:
    """Raw outputs, anchors and final outputs of the seed model for a photograph of a cat, dequantized."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of the memory that this takes
        interpreter = Interpreter(str(SEED), experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    cat = np.asarray(Image.open(CAT).resize((300, 300)))
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], cat[np.newaxis])
    interpreter.invoke()
    found = {}
    for detail in interpreter.get_tensor_details():
        if detail["name"] in {"Squeeze", "concat", "convert_scores", "anchors"}:
            scale, zero_point = detail["quantization"]
            values = interpreter.get_tensor(detail["index"]).astype(np.float32)
            found[detail["name"]] = (values - zero_point) * np.float32(scale)
    for name, detail in zip(("boxes", "classes", "scores", "count"), interpreter.get_output_details(), strict=True):
        found[name] = interpreter.get_tensor(detail["index"])
    return found


class TestAgainstTheSeedModel:
    """The seed model decodes and suppresses inside; its file holds the anchors, its raw outputs can be read."""

    def test_the_generator_makes_the_anchors_that_are_in_the_file(
        self, seed_tensors: dict[str, NDArray[np.float32]]
    ) -> None:
        generated = AnchorGenerator(feature_maps=SEED_FEATURE_MAPS).anchors(300, 300)
        assert generated.shape == seed_tensors["anchors"].shape == (1917, 4)
        # The file has them in 256 steps of 0.0065.
        np.testing.assert_allclose(generated, seed_tensors["anchors"], atol=0.0065 / 2 + 1e-4)

    @pytest.mark.parametrize(("values", "activation"), [("concat", "sigmoid"), ("convert_scores", "none")])
    def test_the_same_raw_outputs_give_the_same_detections(
        self, seed_tensors: dict[str, NDArray[np.float32]], values: str, activation: str
    ) -> None:
        options = {"anchors": seed_tensors["anchors"].tolist(), "activation": activation, "background": True}
        found = SsdRaw().decode(
            [seed_tensors["Squeeze"], seed_tensors[values]],
            HeadContext(300, 300, {"boxes": 0, "scores": 1}, options, 0.3, 90),
        )
        assert found.boxes is not None
        kept = nms(found.boxes, found.scores, found.classes, 0.6, 20)
        boxes, classes, scores = seed_tensors["boxes"][0], seed_tensors["classes"][0], seed_tensors["scores"][0]
        sure = int((scores >= 0.3).sum())
        assert sure >= 1
        assert classes[0] == 16, "a cat"
        assert found.classes[kept].tolist() == classes[:sure].tolist()
        np.testing.assert_allclose(found.scores[kept], scores[:sure], atol=1 / 255)
        np.testing.assert_allclose(found.boxes[kept], boxes[:sure][:, [1, 0, 3, 2]] * 300, atol=0.1)
