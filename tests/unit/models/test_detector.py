"""From what a model returns to what people are shown: named, suppressed, limited, in the picture's own pixels."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models import heads
from models.detector import MAX_DETECTIONS, Detector
from models.errors import ImageUnreadable, InputTooLarge, ModelFailed, OutputsImplausible
from models.heads.base import Candidates, HeadContext
from models.images import ImageLimits, encode_jpeg
from models.load import load
from models.runtimes.base import Choice
from tests.support.scripted_bundles import SIZE, categories, scripted_bundle, ssd
from tests.support.scripted_runtime import ScriptedModel

pytestmark = pytest.mark.usefixtures("scripted")

WIDTH, HEIGHT = 400, 200
"""Of the picture, in pixels: the model sees it squeezed to a square."""

PICTURE: NDArray[np.uint8] = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)

MakeDetector = Callable[..., Detector]


@pytest.fixture
def detector(tmp_path: Path) -> MakeDetector:
    """A detector whose model returns `outputs`; other keys are those of `scripted_bundle`."""

    def made(
        outputs: Any, *, floor: float = 0.3, lanes: int = 2, limits: ImageLimits | None = None, **keys: Any
    ) -> Detector:
        script = {"outputs": outputs, **keys.pop("script", {})}
        bundle = scripted_bundle(tmp_path / "bundle", {"model.json5": script}, **keys)
        return load(bundle, cache=tmp_path, floor=floor, lanes=lanes, limits=limits)

    return made


def boxes(made: Detector) -> list[tuple[str, int, int, int, int]]:
    """Name, x, y, width, height of each box that is found in the picture."""
    found = made.detect(PICTURE).detections.box_detections
    return [(box.category_name, box.x, box.y, box.width, box.height) for box in found]


def test_a_box_is_named_and_lies_in_the_picture_s_own_pixels(detector: MakeDetector) -> None:
    answer = detector(ssd(((10, 20, 60, 70), 1, 0.87654))).detect(encode_jpeg(PICTURE))
    [found] = answer.detections.box_detections
    assert found.model_dump(exclude_none=True) == {
        "category_name": "nut",
        "category_id": "id of nut",
        "model_name": "3.2",
        "confidence": 0.8765,
        "x": 40,
        "y": 40,
        "width": 200,
        "height": 100,
    }
    assert (answer.width, answer.height) == (WIDTH, HEIGHT)
    assert min(answer.timings.decode, answer.timings.inference, answer.timings.postprocess) > 0
    assert answer.timings.decode < 1000


def test_the_surest_comes_first(detector: MakeDetector) -> None:
    found = detector(ssd(((0, 0, 10, 10), 0, 0.5), ((20, 20, 40, 40), 1, 0.9), ((50, 50, 60, 60), 0, 0.7)))
    assert [name for name, *_ in boxes(found)] == ["nut", "screw", "screw"]


def test_points_are_centres(detector: MakeDetector) -> None:
    made = detector(
        ssd(((10, 20, 15, 30), 1, 0.9), ((50, 50, 60, 60), 0, 0.8)), named=categories("screw", "hole", points=["hole"])
    )
    detections = made.detect(PICTURE).detections
    [point] = detections.point_detections
    assert (point.category_name, point.x, point.y) == ("hole", 50.0, 50.0)
    assert [box.category_name for box in detections.box_detections] == ["screw"]


def test_class_numbers_may_have_gaps(detector: MakeDetector) -> None:
    """As those of the seed model: 0 to 89 for 80 categories."""
    made = detector(
        ssd(((0, 0, 9, 9), 0, 0.9), ((20, 20, 29, 29), 7, 0.8), ((40, 40, 49, 49), 3, 0.7)), class_indices=[0, 7]
    )
    assert [name for name, *_ in boxes(made)] == ["screw", "nut"]  # class 3 means nothing, and is dropped


def test_what_is_below_the_floor_interests_nobody(detector: MakeDetector) -> None:
    scores = ssd(((0, 0, 9, 9), 0, 0.31), ((20, 20, 29, 29), 0, 0.29))
    assert len(boxes(detector(scores, floor=0.3))) == 1


def test_nothing_is_found_where_there_is_nothing(detector: MakeDetector) -> None:
    assert len(detector(ssd()).detect(PICTURE).detections) == 0


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param((-10, -10, 50, 50), (0, 0, 200, 100), id="beyond the upper left"),
        pytest.param((50, 50, 130, 120), (200, 100, 200, 100), id="beyond the lower right"),
        pytest.param((0, 0, 100, 100), (0, 0, 400, 200), id="all of it"),
        pytest.param((99.99, 99.99, 100, 100), (399, 199, 1, 1), id="the last pixel"),
        pytest.param((50, 50, 50.01, 50.01), (200, 100, 1, 1), id="less than a pixel"),
    ],
)
def test_boxes_are_clipped_to_the_picture(
    detector: MakeDetector, box: tuple[float, float, float, float], expected: tuple[int, int, int, int]
) -> None:
    assert boxes(detector(ssd((box, 0, 0.9)))) == [("screw", *expected)]


@pytest.mark.parametrize("box", [(30, 30, 30, 60), (110, 10, 130, 20), (-20, -20, -10, -10)])
def test_what_has_no_area_in_the_picture_is_nothing(
    detector: MakeDetector, box: tuple[float, float, float, float]
) -> None:
    made = detector(ssd((box, 0, 0.9), (box, 1, 0.9)), named=categories("screw", "hole", points=["hole"]))
    assert len(made.detect(PICTURE).detections) == 0


def test_a_letterboxed_model_is_led_back_too(tmp_path: Path) -> None:
    bundle = scripted_bundle(tmp_path / "bundle", {"m": {"outputs": ssd(((0, 25, 50, 50), 0, 0.9))}})
    assert bundle.model.inference is not None
    bundle.model.inference.weights[0].input.resize = "letterbox"
    made = load(bundle, cache=tmp_path)
    assert boxes(made) == [("screw", 0, 0, 200, 100)]  # 400 x 200 lies in rows 25 to 75 of the input


def yolo(*found: tuple[float, float, float, float, float, float]) -> list[Any]:
    """An output of YOLOv8 with two classes: cx, cy, width, height, two scores."""
    filling = [[100.0, 100.0, 1.0, 1.0, 0.0, 0.0]] * 20
    return [[np.array([*found, *filling]).T.tolist()]]


def test_overlapping_boxes_of_one_class_are_one_thing(detector: MakeDetector) -> None:
    found = yolo((30, 30, 20, 20, 0.9, 0), (31, 30, 20, 20, 0.8, 0), (30, 31, 20, 20, 0, 0.7), (70, 70, 20, 20, 0.6, 0))
    made = detector(found, head="yolo", head_options={"layout": "v8"})
    assert [(name, x) for name, x, *_ in boxes(made)] == [("screw", 80), ("nut", 80), ("screw", 240)]


def test_how_much_may_overlap_is_said_by_the_bundle(detector: MakeDetector) -> None:
    found = yolo((30, 30, 20, 20, 0.9, 0), (31, 30, 20, 20, 0.8, 0))
    made = detector(found, head="yolo", head_options={"layout": "v8"}, nms_iou=0.95)
    assert len(boxes(made)) == 2


def test_a_head_that_suppresses_by_itself_is_left_alone(detector: MakeDetector) -> None:
    assert len(boxes(detector(ssd(((10, 10, 30, 30), 0, 0.9), ((10, 10, 30, 31), 0, 0.8))))) == 2


def test_a_classifier_has_no_boxes(detector: MakeDetector) -> None:
    made = detector([[[0.1, 0.7, 0.2]]], head="classification", named=categories("cat", "dog", "cow"), floor=0.15)
    detections = made.detect(PICTURE).detections
    found = [(each.category_name, each.confidence) for each in detections.classification_detections]
    assert found == [("dog", 0.7), ("cow", 0.2)]
    assert len(detections) == 2


def test_the_most_certain_of_very_many_are_kept(detector: MakeDetector) -> None:
    rng = np.random.default_rng(7)
    corners = rng.uniform(0, 80, (1000, 2))
    scores = rng.uniform(0.3, 1.0, 1000)
    made = detector(ssd(*(((x, y, x + 9, y + 9), 0, score) for (x, y), score in zip(corners, scores, strict=True))))
    found = made.detect(PICTURE).detections.box_detections
    assert len(found) == MAX_DETECTIONS
    assert min(box.confidence for box in found) >= np.sort(scores)[-MAX_DETECTIONS] - 1e-4


def test_an_array_is_looked_at_as_it_is(detector: MakeDetector, scripted: list[ScriptedModel]) -> None:
    red = np.zeros((SIZE, SIZE, 3), np.uint8)
    red[:, :, 0] = 255
    detector(ssd()).detect(red)
    assert np.array_equal(scripted[0].seen[-1], red)


def test_the_limits_of_pictures_hold(detector: MakeDetector) -> None:
    with pytest.raises(InputTooLarge):
        detector(ssd(), limits=ImageLimits(max_pixels=100)).detect(encode_jpeg(PICTURE))


def test_what_is_no_picture_is_no_failure_of_the_model(detector: MakeDetector) -> None:
    with pytest.raises(ImageUnreadable):
        detector(ssd()).detect(b"text")


@pytest.mark.parametrize("where", [0, 2], ids=["boxes", "scores"])
def test_nan_is_implausible(detector: MakeDetector, where: int) -> None:
    outputs = ssd(((10, 10, 30, 30), 0, 0.9))
    outputs[where] = np.full(np.shape(outputs[where]), np.nan).tolist()
    with pytest.raises(OutputsImplausible, match="NaN"):
        detector(outputs).detect(PICTURE)


def test_another_shape_than_the_head_knows_is_implausible(detector: MakeDetector) -> None:
    with pytest.raises(OutputsImplausible, match=re.escape("shape (1, 3)")):
        detector([[[1.0, 2.0, 3.0]]] * 4).detect(PICTURE)


# ---------------------------------------------------------------------- runtimes and heads of other packages


def test_a_runtime_that_raises_whatever_it_likes_has_failed(detector: MakeDetector) -> None:
    with pytest.raises(ModelFailed, match=r"^The runtime scripted failed: ZeroDivisionError: a bug$") as failed:
        detector(ssd(), script={"infer": "foreign"}).detect(PICTURE)
    assert not isinstance(failed.value, OutputsImplausible)


def test_what_a_runtime_says_by_itself_is_passed_on(detector: MakeDetector) -> None:
    with pytest.raises(ModelFailed, match=r"^out of memory$"):
        detector(ssd(), script={"infer": "ours"}).detect(PICTURE)


class Careless:
    """A head that gives what the test says."""

    name = "careless"
    needs_nms = False
    gives: Any = None

    def decode(self, outputs: Any, context: HeadContext) -> Candidates:
        if isinstance(self.gives, Exception):
            raise self.gives
        found: Candidates = self.gives
        return found


@pytest.mark.parametrize(
    ("gives", "words"),
    [
        (KeyError("labels"), "KeyError: 'labels'"),
        (None, "AttributeError"),
        (Candidates(np.zeros((2, 4), np.float32), np.zeros(2, np.int64), np.zeros(3, np.float32)), r"scores \(3,\)"),
        (Candidates(np.zeros((2, 5), np.float32), np.zeros(2, np.int64), np.zeros(2, np.float32)), r"boxes \(2, 5\)"),
    ],
)
def test_a_head_that_gives_nonsense_is_implausible_for_that_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gives: Any, words: str
) -> None:
    monkeypatch.setitem(heads.BUILT_IN, "careless", f"{__name__}:Careless")
    monkeypatch.setattr(Careless, "gives", gives)
    made = load(scripted_bundle(tmp_path / "bundle", {"m": {"outputs": []}}, head="careless"), cache=tmp_path)
    with pytest.raises(OutputsImplausible, match=f"The head careless cannot read what the model returned: .*{words}"):
        made.detect(PICTURE)


def test_a_box_with_nan_in_it_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = np.array([[1, 1, np.nan, 9], [10, 10, 20, 20]], np.float32)
    monkeypatch.setitem(heads.BUILT_IN, "careless", f"{__name__}:Careless")
    monkeypatch.setattr(Careless, "gives", Candidates(found, np.zeros(2, np.int64), np.ones(2, np.float32)))
    made = load(scripted_bundle(tmp_path / "bundle", {"m": {"outputs": []}}, head="careless"), cache=tmp_path)
    assert boxes(made) == [("screw", 40, 20, 40, 20)]


def test_a_head_that_gives_everything_is_cut_off_at_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = np.array([[10, 10, 20, 20], [30, 30, 40, 40]], np.float32)
    monkeypatch.setitem(heads.BUILT_IN, "careless", f"{__name__}:Careless")
    gives = Candidates(found, np.zeros(2, np.int64), np.array([0.4, 0.2], np.float32))
    monkeypatch.setattr(Careless, "gives", gives)
    bundle = scripted_bundle(tmp_path / "bundle", {"m": {"outputs": []}}, head="careless")
    assert boxes(load(bundle, cache=tmp_path, floor=0.3)) == [("screw", 40, 20, 40, 20)]


# ---------------------------------------------------------------------- several pictures at once


@pytest.mark.parametrize(
    ("concurrency", "loaded", "at_once"), [("exclusive", 1, 1), ("copies", 3, 1), ("shared", 1, 3)]
)
def test_as_many_pictures_are_run_at_once_as_a_runtime_can(
    detector: MakeDetector, scripted: list[ScriptedModel], concurrency: str, loaded: int, at_once: int
) -> None:
    made = detector(ssd(((10, 10, 30, 30), 0, 0.9)), lanes=3, script={"concurrency": concurrency, "seconds": 0.05})
    together = threading.Barrier(3)

    def look() -> int:
        together.wait()
        return len(made.detect(PICTURE).detections)

    with ThreadPoolExecutor(3) as lanes:
        assert [lane.result() for lane in [lanes.submit(look) for _ in range(3)]] == [1, 1, 1]
    assert len(scripted) == loaded
    assert [model.most_at_once for model in scripted] == [at_once] * loaded
    made.close()
    assert all(model.closed for model in scripted)


def test_a_model_that_failed_on_one_picture_is_free_for_the_next(detector: MakeDetector) -> None:
    made = detector(ssd(), script={"concurrency": "exclusive", "infer": "ours"})
    for _ in range(3):
        with pytest.raises(ModelFailed):
            made.detect(PICTURE)


def test_it_says_how_it_is_run(detector: MakeDetector) -> None:
    assert detector(ssd()).choice == Choice("scripted", "cpu", 1)
