"""`POST /detect`: a photograph in, what a person sees in it out, in the form of every era."""

from __future__ import annotations

import json
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image

from tests.service.box import Box
from tests.service.bundles import model_zip
from tests.service.outbox import pictures_in, wait_for_pictures
from tests.service.photographs import (
    ALL,
    CAT,
    CUP,
    MOTORCYCLE,
    PERSON,
    Photograph,
    assert_sees,
    best,
    box_of,
    encoded,
    intersection_over_union,
    jpeg_of,
)

NOT_KEPT = {"autoupload": "disabled"}


def detect(box: Box, picture: bytes, **headers: str) -> httpx.Response:
    """POST a picture; underscores of the names in `headers` are hyphens."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return box.http.post("/detect", files={"file": picture}, headers={**NOT_KEPT, **sent})


@pytest.mark.parametrize("photograph", ALL, ids=lambda photograph: photograph.shows)
def test_what_a_photograph_shows_is_found_where_a_person_sees_it(box: Box, photograph: Photograph) -> None:
    answer = detect(box, photograph.jpeg)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert_sees(answer.json(), photograph)


def test_the_answer_has_the_form_of_image_metadata(box: Box) -> None:
    answer = detect(box, CAT.jpeg).json()

    assert set(answer) >= {
        "box_detections",
        "point_detections",
        "segmentation_detections",
        "classification_detections",
        "tags",
        "created",
        "source",
    }
    detection = best(answer)
    assert set(detection) == {
        "category_name", "x", "y", "width", "height", "model_name", "confidence", "category_id",
    }  # fmt: skip
    assert detection["model_name"] == "0.0", "model_name is the version of the model"
    assert all(isinstance(detection[side], int) for side in ("x", "y", "width", "height"))
    assert 0 < detection["confidence"] <= 1
    assert [answer["tags"], answer["created"], answer["source"]] == [[], None, None]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_png_and_webp_are_pictures_too(box: Box, kind: str) -> None:
    assert_sees(detect(box, encoded(CAT.pixels, kind)).json(), CAT)


def test_a_grey_picture_is_a_picture(box: Box) -> None:
    grey = np.asarray(Image.fromarray(MOTORCYCLE.pixels).convert("L"))

    assert_sees(detect(box, jpeg_of(grey)).json(), MOTORCYCLE)


def test_a_picture_of_a_large_camera_has_boxes_in_its_own_pixels(box: Box) -> None:
    height, width = (4 * side for side in CUP.pixels.shape[:2])
    large = cv2.resize(CUP.pixels, (width, height), interpolation=cv2.INTER_CUBIC)

    left, top, across, down = (4 * side for side in CUP.box)
    assert_sees(detect(box, jpeg_of(large)).json(), CUP, (left, top, across, down))


STORED_AS = {
    2: lambda shown: shown[:, ::-1],
    3: lambda shown: shown[::-1, ::-1],
    6: lambda shown: np.rot90(shown, 1),
    8: lambda shown: np.rot90(shown, -1),
}
"""EXIF orientation -> how a camera that writes it stores what is displayed."""


@pytest.mark.parametrize("orientation", STORED_AS)
def test_boxes_are_in_pixels_of_the_picture_as_displayed(box: Box, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED_AS[orientation](PERSON.pixels))

    turned = detect(box, jpeg_of(stored, exif=exif)).json()

    assert_sees(turned, PERSON)
    upright = best(detect(box, PERSON.jpeg).json())
    assert intersection_over_union(box_of(best(turned)), box_of(upright)) > 0.9


def test_a_picture_twice_as_wide_as_high_turned_by_exif_keeps_its_boxes_inside(box: Box) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: displayed it is upright
    displayed = MOTORCYCLE.pixels
    stored = np.ascontiguousarray(np.rot90(displayed, 1))

    answer = detect(box, jpeg_of(stored, exif=exif)).json()

    assert_sees(answer, MOTORCYCLE)
    x, _, width, _ = box_of(best(answer))
    assert x + width <= displayed.shape[1]
    assert x + width > stored.shape[1], "the box reaches further right than the stored picture is wide"


def test_tags_source_and_date_come_back(box: Box) -> None:
    answer = detect(
        box, CAT.jpeg, tags="front, wet ,,evening", source="robot 7", creation_date="2024-01-31_12:34:56.789"
    )

    assert answer.json()["tags"] == ["front", "wet", "evening"]
    assert answer.json()["source"] == "robot 7"
    assert answer.json()["created"] == "2024-01-31_12:34:56.789"


@pytest.mark.parametrize("header", ["creation-date", "creation_date"])
def test_both_spellings_of_the_date_header_count(box: Box, header: str) -> None:
    answer = box.http.post(
        "/detect", files={"file": CAT.jpeg}, headers={**NOT_KEPT, header: "2024-01-31T12:34:56+01:00"}
    )

    assert answer.json()["created"] == "2024-01-31T12:34:56+01:00"


def test_headers_may_have_letters_beyond_ascii_as_curl_sends_them(box: Box) -> None:
    sent = {b"source": "Schüttgut-Förderer".encode(), b"autoupload": b"disabled"}

    answer = box.http.post("/detect", files={"file": CAT.jpeg}, headers=sent)

    assert answer.json()["source"] == "Schüttgut-Förderer"


@pytest.mark.parametrize("header", ["camera-id", "camera_id", "mac"])
def test_each_camera_has_a_history_of_its_own_whatever_its_header_is_called(box: Box, header: str) -> None:
    def reasons(camera: str) -> str | None:
        answer = box.http.post(
            "/detect", files={"file": CUP.jpeg}, headers={header: f"{header} {camera}", "autoupload": "filtered"}
        )
        assert answer.status_code == 200
        found: str | None = answer.headers.get("x-upload-reasons")
        return found

    assert reasons("front") == "uncertain", "something uncertain and new is picked"
    assert reasons("front") is None, "it is not new any more"
    assert reasons("rear") == "uncertain", "another camera has not seen it yet"


@pytest.mark.parametrize("value", ["", "filtered", "all", "disabled"])
def test_every_autoupload_is_understood(box: Box, value: str) -> None:
    answer = detect(box, CAT.jpeg, autoupload=value)

    assert answer.status_code == 200
    assert answer.json()["tags"] == [], "reasons are not in the answer"


def test_server_timing_says_where_the_milliseconds_went(box: Box) -> None:
    answer = detect(box, CAT.jpeg)

    parts = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    milliseconds = {name: float(value) for name, value in parts.items()}
    assert set(milliseconds) == {"wait", "decode", "inference", "postprocess", "total"}
    total = milliseconds.pop("total")
    assert milliseconds["inference"] > 0
    assert sum(milliseconds.values()) <= total
    assert total <= 1e3 * answer.elapsed.total_seconds()


@pytest.fixture(scope="module")
def picking(make_box: Any) -> Box:
    """A box whose outbox starts empty."""
    made: Box = make_box()
    return made


def test_nothing_is_kept_of_a_picture_that_shall_not_be(picking: Box) -> None:
    before = picking.tree()

    assert "x-upload-reasons" not in detect(picking, CUP.jpeg, camera_id="somebody new").headers

    assert picking.tree() == before


def test_a_picked_picture_lies_in_the_outbox_byte_for_byte_with_all_that_was_found(picking: Box) -> None:
    answer = picking.http.post(
        "/detect",
        files={"file": CUP.jpeg},
        headers={"tags": "kitchen", "source": "robot 7", "creation-date": "2024-01-31T12:34:56"},
    )
    assert answer.headers["x-upload-reasons"] == "uncertain"

    [kept] = wait_for_pictures(picking, 1)

    assert kept.queue == "normal"
    assert kept.picture == CUP.jpeg
    assert kept.metadata["tags"] == ["kitchen", "uncertain", "seed_model"]
    assert kept.metadata["source"] == "robot 7"
    assert kept.metadata["created"] == "2024-01-31T12:34:56"
    stored, answered = kept.metadata["box_detections"], answer.json()["box_detections"]
    assert [each["category_name"] for each in answered] == ["cup"]
    assert [each["category_name"] for each in stored] == ["cup", "dining table"], (
        "the seed model hides what is below 0.55"
    )
    assert 0.3 <= stored[1]["confidence"] < 0.55
    assert {detection["category_id"] for detection in stored} == {None}, "its categories are none of the Loop's"


def test_all_keeps_a_picture_in_which_nothing_is_uncertain(picking: Box) -> None:
    before = len(pictures_in(picking))

    answer = picking.http.post("/detect", files={"file": CAT.jpeg}, headers={"autoupload": "all", "tags": "wanted"})

    assert "x-upload-reasons" not in answer.headers
    kept = wait_for_pictures(picking, before + 1)[-1]
    assert kept.metadata["tags"] == ["wanted", "seed_model"]
    assert kept.picture == CAT.jpeg


def test_what_the_answer_hides_is_seen_by_the_filter_and_stored(make_box: Any) -> None:
    """The model shows what it is 0.95 sure of; the Loop wants what it is 0.3 to 0.6 sure of, too."""
    box: Box = make_box(loop_organization="acme", loop_project="kitchens")
    assert box.http.post("/api/v1/models", files={"file": model_zip("1.0", conf_threshold=0.95)}).status_code == 201
    assert box.http.put("/model_version", content="1.0").status_code == 200
    box.wait_until(lambda: box.http.get("/about").json()["model_info"]["version"] == "1.0")

    answer = box.http.post("/detect", files={"file": CUP.jpeg})

    assert answer.json()["box_detections"] == []
    assert answer.headers["x-upload-reasons"] == "uncertain"
    [kept] = wait_for_pictures(box, 1)
    cup = best(kept.metadata)
    assert cup["category_name"] == "cup"
    assert cup["model_name"] == "1.0"
    assert cup["category_id"], "a model of the Loop's own has categories that the Loop knows"
    assert kept.metadata["tags"] == ["uncertain"]
    assert min(each["confidence"] for each in kept.metadata["box_detections"]) < 0.6


def test_the_seed_model_picks_twenty_pictures_an_hour_and_counts_the_rest(make_box: Any) -> None:
    box: Box = make_box()

    for camera in range(22):
        box.http.post("/detect", files={"file": CUP.jpeg}, headers={"camera-id": f"camera {camera}"})

    assert len(wait_for_pictures(box, 20)) == 20
    told = box.http.get("/api/v1/outbox").json()
    assert told["waiting"] == 20
    assert told["picks"]["dropped"]["seed_model_budget"] == 2


def test_the_answer_is_json_that_any_client_reads(box: Box) -> None:
    text = detect(box, PERSON.jpeg, source='quote " and \\ backslash').text

    assert json.loads(text)["source"] == 'quote " and \\ backslash'
