"""Socket.IO as robots of every era speak it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import socketio

from tests.service.box import Box
from tests.service.conftest import MakeBox
from tests.service.outbox import Kept, pictures_in, wait_for_pictures
from tests.service.photographs import ALL, CAT, CUP, PERSON, Photograph, assert_sees, best

TRANSPORTS = [pytest.param(["websocket"], id="websocket"), pytest.param(["polling", "websocket"], id="polling-first")]
DISABLED = {"autoupload": "disabled"}


def one_of_two(test: Any) -> Any:
    """Once over websocket alone, once over polling alone."""
    return pytest.mark.parametrize("transports", [["websocket"], ["polling"]], ids=["websocket", "polling"])(test)


def raw(photograph: Photograph, **more: Any) -> dict[str, Any]:
    """A picture as rosys sends its arrays."""
    pixels = photograph.pixels
    return {"bytes": pixels.tobytes("C"), "dtype": str(pixels.dtype), "shape": pixels.shape, **more}


FORMS: dict[str, Callable[[Photograph], Any]] = {
    "bytes (0.13 to 0.17)": lambda photograph: photograph.jpeg,
    "array (0.18 to 0.25)": raw,
    "format raw (0.26)": lambda photograph: raw(photograph, format="raw"),
    "format null": lambda photograph: raw(photograph, format=None),
    "format jpeg (0.26)": lambda photograph: {"format": "jpeg", "bytes": photograph.jpeg},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_is_understood_in_every_era_s_form(box: Box, form: str) -> None:
    answer = box.call("detect", {"image": FORMS[form](CAT), **DISABLED})

    assert_sees(answer, CAT)


@pytest.mark.parametrize("transports", TRANSPORTS)
@pytest.mark.parametrize("photograph", ALL, ids=lambda photograph: photograph.shows)
def test_what_a_photograph_shows_is_found(box: Box, photograph: Photograph, transports: list[str]) -> None:
    answer = box.call("detect", {"image": photograph.jpeg, **DISABLED}, transports=transports)

    assert_sees(answer, photograph)
    assert best(answer)["model_name"] == "0.0"


def test_a_grey_array_is_a_picture(box: Box) -> None:
    grey = np.ascontiguousarray(ALL[3].pixels[:, :, 1])

    picture = {"bytes": grey.tobytes(), "dtype": "uint8", "shape": list(grey.shape)}
    assert_sees(box.call("detect", {"image": picture, **DISABLED}), ALL[3])


def test_rest_and_socketio_give_the_same_answer(box: Box) -> None:
    over_rest = box.http.post("/detect", files={"file": CUP.jpeg}, headers=DISABLED).json()

    assert box.call("detect", {"image": CUP.jpeg, **DISABLED}) == over_rest


def test_what_rosys_sends_beside_the_picture_comes_back(box: Box) -> None:
    modern = {"camera_id": "front", "tags": ["a", "b"], "source": "robot 7", "creation_date": "2024-01-31T12:34:56"}
    empty: dict[str, Any] = {
        "camera_id": "front",
        "tags": [],
        "source": None,
        "creation_date": None,
        "autoupload": None,
    }

    answer = box.call("detect", {"image": CAT.jpeg, **DISABLED, **modern})
    assert (answer["tags"], answer["source"], answer["created"]) == (["a", "b"], "robot 7", "2024-01-31T12:34:56")
    answer = box.call("detect", {"image": CAT.jpeg, **empty})
    assert (answer["tags"], answer["source"], answer["created"]) == ([], None, None)
    assert_sees(answer, CAT)


@pytest.fixture(scope="module")
def robot_box(make_box: MakeBox) -> Box:
    """A box whose outbox is looked at."""
    return make_box()


@pytest.mark.parametrize("key", ["camera_id", "camera-id", "mac"])
def test_a_robot_s_uncertain_pictures_are_picked_once_a_camera(robot_box: Box, key: str) -> None:
    before = len(pictures_in(robot_box))

    for _ in range(2):
        robot_box.call("detect", {"image": CUP.jpeg, key: f"{key} front", "tags": "one,two"})

    kept = wait_for_pictures(robot_box, before + 1)[before:]
    assert [each.metadata["tags"] for each in kept] == [["one", "two", "uncertain", "seed_model"]]
    assert kept[0].picture == CUP.jpeg


def test_a_picked_array_is_kept_as_a_jpeg_that_shows_the_same(robot_box: Box) -> None:
    before = len(pictures_in(robot_box))

    robot_box.call("detect", {"image": raw(CUP), "autoupload": "all"})

    [kept] = wait_for_pictures(robot_box, before + 1)[before:]
    assert kept.picture[:3] == b"\xff\xd8\xff"
    again = robot_box.http.post("/detect", files={"file": kept.picture}, headers=DISABLED)
    assert_sees(again.json(), CUP)


@one_of_two
def test_a_batch_of_forty_is_answered_in_order(box: Box, transports: list[str]) -> None:
    batch = [(CAT, CUP, PERSON)[number % 3] for number in range(40)]

    answer = box.call("batch_detect", {"images": [each.jpeg for each in batch], **DISABLED}, transports=transports)

    assert [best(item)["category_name"] for item in answer["items"]] == [each.shows for each in batch]


def test_a_batch_may_mix_forms_and_be_empty(box: Box) -> None:
    answer = box.call("batch_detect", {"images": [raw(CAT), {"format": "jpeg", "bytes": CUP.jpeg}], **DISABLED})

    assert [best(item)["category_name"] for item in answer["items"]] == ["cat", "cup"]
    assert box.call("batch_detect", {"images": []}) == {"items": []}


def test_one_bad_picture_fails_the_batch_with_a_sentence(box: Box) -> None:
    answer = box.call("batch_detect", {"images": [CAT.jpeg, b"nothing", CUP.jpeg], **DISABLED})

    assert list(answer) == ["error"]
    assert box.call("detect", {"image": CAT.jpeg, **DISABLED})["box_detections"]


def uploaded(box: Box, payload: Mapping[str, Any]) -> tuple[Any, Kept]:
    """Upload by an event; the acknowledgement, and what lies in the outbox by then."""
    before = {kept.id for kept in pictures_in(box)}
    acknowledgement = box.call("upload", payload)
    [kept] = [kept for kept in pictures_in(box) if kept.id not in before]
    return acknowledgement, kept


def test_upload_of_0_13_has_detections_and_the_rest_beside_them_and_is_acknowledged_with_null(robot_box: Box) -> None:
    found = [
        {"category_name": "cat", "x": 1, "y": 2, "width": 3, "height": 4, "model_name": "7.0", "confidence": 0.4},
        {"category_name": "dragon", "x": 1, "y": 2, "width": 3, "height": 4, "model_name": "7.0", "confidence": 0.9},
    ]

    acknowledgement, kept = uploaded(
        robot_box,
        {
            "image": CAT.jpeg,
            "detections": {"box_detections": found, "point_detections": None, "created": "ignored"},
            "tags": ["wet"],
            "source": "robot 7",
            "creation_date": "2024-01-31_12:34:56.789",
            "mac": "00:11:22:33:44:55",
        },
    )

    assert acknowledgement is None
    assert kept.picture == CAT.jpeg
    assert kept.metadata["tags"] == ["wet", "seed_model", "picked_by_system"]
    assert (kept.metadata["source"], kept.metadata["created"]) == ("robot 7", "2024-01-31_12:34:56.789")
    assert [each["category_name"] for each in kept.metadata["box_detections"]] == ["cat", "dragon"]
    assert [each["category_id"] for each in kept.metadata["box_detections"]] == ["", ""], "ids are the serving model's"


def test_upload_of_0_17_has_metadata_and_is_acknowledged(robot_box: Box) -> None:
    acknowledgement, kept = uploaded(
        robot_box, {"image": CAT.jpeg, "metadata": {"tags": ["a"], "source": "b"}, "upload_priority": True}
    )

    assert acknowledgement == {"status": "OK"}
    assert (kept.queue, kept.metadata["tags"]) == ("priority", ["a", "seed_model", "picked_by_system"])
    assert kept.metadata["created"], "a picture without a date was made now"


def test_upload_of_0_18_has_an_array_and_one_of_0_26_the_state_in_which_it_shall_be_filed(robot_box: Box) -> None:
    acknowledgement, kept = uploaded(robot_box, {"image": raw(CAT), "metadata": {"state": "annotate"}})

    assert acknowledgement == {"status": "OK"}
    assert kept.metadata["state"] == "annotate"
    assert kept.picture[:3] == b"\xff\xd8\xff"


def test_upload_of_an_array_without_metadata_is_acknowledged(robot_box: Box) -> None:
    assert uploaded(robot_box, {"image": raw(CAT)})[0] == {"status": "OK"}


def test_rosys_emits_uploads_and_waits_for_no_answer(robot_box: Box) -> None:
    before = len(pictures_in(robot_box))

    async def story(robot: socketio.AsyncClient) -> None:
        await robot.emit("upload", {"image": CAT.jpeg, "metadata": {"tags": ["emitted"]}})
        await robot.call("info", timeout=5)  # it is still there

    robot_box.talk(story)

    assert "emitted" in wait_for_pictures(robot_box, before + 1)[-1].metadata["tags"]


def test_info_about_and_versions_say_what_rest_says(box: Box) -> None:
    about = box.http.get("/about").json()

    assert box.call("about") == about
    assert box.call("info") == about["model_info"]
    assert box.call("get_model_version") == box.http.get("/model_version").json()


def test_modes_are_set_and_told(box: Box) -> None:
    assert box.call("set_outbox_mode", "stopped") == {"status": "OK"}
    assert box.call("get_outbox_mode") == {"outbox_mode": "stopped"}
    assert box.call("set_outbox_mode", "continuous_upload") == {"status": "OK"}
    assert box.call("set_model_version_mode", "pause") == {"status": "OK"}
    assert box.call("get_model_version")["version_control"] == "pause"
    assert box.call("set_model_version_mode", "follow_loop") == {"status": "OK"}


@pytest.mark.parametrize(
    ("event", "word", "part"),
    [
        ("set_outbox_mode", "halted", "continuous_upload"),
        ("set_model_version_mode", "9.9", "not on this box; there are: 0.0"),
        ("set_model_version_mode", "newest", "neither follow_loop nor pause"),
    ],
)
def test_a_word_that_is_no_mode_is_answered_with_those_that_are(box: Box, event: str, word: str, part: str) -> None:
    answer = box.call(event, word)

    assert list(answer) == ["error"]
    assert part in answer["error"]


def test_soft_reload_is_acknowledged_at_once_and_interrupts_nothing(make_box: MakeBox) -> None:
    box = make_box()
    before = box.services.supervisor.worker
    reloaded: list[bool] = []

    async def story(robot: socketio.AsyncClient) -> list[float]:
        durations: list[float] = []
        started = time.perf_counter()
        assert await robot.call("soft_reload", timeout=5) == {"status": "OK"}
        assert time.perf_counter() - started < 1.0
        while len(durations) < 500:
            began = time.perf_counter()
            answer = await robot.call("detect", {"image": CAT.jpeg, **DISABLED}, timeout=5)
            durations.append(time.perf_counter() - began)
            assert_sees(answer, CAT)
            worker = box.services.supervisor.worker
            if worker is not None and worker is not before:
                reloaded.append(True)
                if len(reloaded) > 5:
                    break
        return durations

    box.talk(story)

    assert reloaded, "another worker serves"


def test_many_reloads_come_to_one(make_box: MakeBox) -> None:
    box = make_box()

    async def reload_often() -> int:
        for _ in range(5):
            box.services.soft_reload()
        return [task.get_name() for task in asyncio.all_tasks()].count("soft reload")

    assert box.run(reload_often()) == 1
    box.wait_until(lambda: box.services.supervisor.counters.swaps == 1)
    assert box.detects(CAT.jpeg)


@one_of_two
def test_an_array_of_64_mib_is_looked_at(box: Box, transports: list[str]) -> None:
    height, width = 4096, 5461
    large = np.zeros((height, width, 3), np.uint8)
    large[:] = 127
    top, left = 1000, 1800
    photograph = np.repeat(np.repeat(CAT.pixels, 8, axis=0), 8, axis=1)
    large[top : top + photograph.shape[0], left : left + photograph.shape[1]] = photograph
    assert 63 * 2**20 < large.nbytes <= 64 * 2**20

    picture = {"bytes": large.tobytes(), "dtype": "uint8", "shape": large.shape}
    answer = box.call("detect", {"image": picture, **DISABLED}, transports=transports)

    assert_sees(answer, CAT, (left + 80, top, 385 * 8, 300 * 8))


UNFIT: dict[str, tuple[str, tuple[Any, ...], str]] = {
    "no argument": ("detect", (), "dictionary"),
    "a number": ("detect", (5,), "dictionary"),
    "a list": ("detect", ([CAT.jpeg],), "dictionary"),
    "only bytes": ("detect", (CAT.jpeg,), "dictionary"),
    "no image": ("detect", ({},), "'image'"),
    "text as image": ("detect", ({"image": "abc"},), "'image'"),
    "number as image": ("detect", ({"image": 5},), "'image'"),
    "no bytes": ("detect", ({"image": {"dtype": "uint8", "shape": [1, 1]}},), "'bytes'"),
    "text as bytes": ("detect", ({"image": {"bytes": "abc", "dtype": "uint8", "shape": [1, 3]}},), "'bytes'"),
    "unknown format": ("detect", ({"image": {"format": "tiff", "bytes": b"x"}},), "raw or jpeg"),
    "binary format": ("detect", ({"image": {"format": b"jpeg", "bytes": b"x"}},), "raw or jpeg"),
    "no shape": ("detect", ({"image": {"bytes": b"abc", "dtype": "uint8"}},), "'shape'"),
    "no dtype": ("detect", ({"image": {"bytes": b"abc", "shape": [1, 1, 3]}},), "'dtype'"),
    "binary dtype": ("detect", ({"image": {"bytes": b"abc", "shape": [1, 1, 3], "dtype": b"uint8"}},), "'dtype'"),
    "text in shape": (
        "detect",
        ({"image": {"bytes": b"abc", "shape": ["1", 1, 3], "dtype": "uint8"}},),
        "whole numbers",
    ),
    "null in shape": ("detect", ({"image": {"bytes": b"abc", "shape": [None, 1], "dtype": "uint8"}},), "whole numbers"),
    "nested shape": ("detect", ({"image": {"bytes": b"abc", "shape": [[1], 1], "dtype": "uint8"}},), "whole numbers"),
    "number as tag": ("detect", ({"image": CAT.jpeg, "tags": [1]},), "tags"),
    "mapping as tags": ("detect", ({"image": CAT.jpeg, "tags": {"a": 1}},), "tags"),
    "list as source": ("detect", ({"image": CAT.jpeg, "source": ["a"]},), "source"),
    "binary source": ("detect", ({"image": CAT.jpeg, "source": b"a"},), "source"),
    "mapping as camera": ("detect", ({"image": CAT.jpeg, "camera_id": {}},), "camera_id"),
    "unknown autoupload": ("detect", ({"image": CAT.jpeg, "autoupload": "some"},), "filtered, all, disabled"),
    "list as autoupload": ("detect", ({"image": CAT.jpeg, "autoupload": ["all"]},), "filtered, all, disabled"),
    "no date": ("detect", ({"image": CAT.jpeg, "creation_date": "yesterday"},), "no date"),
    "number as date": ("detect", ({"image": CAT.jpeg, "creation_date": 17},), "no date"),
    "no images": ("batch_detect", ({},), "'images'"),
    "one image as batch": ("batch_detect", ({"images": CAT.jpeg},), "'images'"),
    "mapping as batch": ("batch_detect", ({"images": {"0": CAT.jpeg}},), "'images'"),
    "batch too large": ("batch_detect", ({"images": [None] * 501},), "500"),
    "batch of nothing": ("batch_detect", ({"images": [None]},), "'image'"),
    "upload of nothing": ("upload", (None,), "dictionary"),
    "upload without picture": ("upload", ({"metadata": {}},), "'image'"),
    "upload of a text": ("upload", ({"image": b"I am a text", "metadata": {}},), "no picture"),
    "list as metadata": ("upload", ({"image": CAT.jpeg, "metadata": [1]},), "dictionary"),
    "binary metadata": ("upload", ({"image": CAT.jpeg, "metadata": b"{}"},), "dictionary"),
    "box without size": (
        "upload",
        ({"image": CAT.jpeg, "metadata": {"box_detections": [{"category_name": "cat"}]}},),
        "box_detections.0.x",
    ),
    "text as box": ("upload", ({"image": CAT.jpeg, "metadata": {"box_detections": "cat"}},), "box_detections"),
    "infinite confidence": (
        "upload",
        (
            {
                "image": CAT.jpeg,
                "metadata": {"classification_detections": [{"category_name": "a", "confidence": 1e999}]},
            },
        ),
        "confidence",
    ),
    "no date of upload": ("upload", ({"image": CAT.jpeg, "metadata": {"created": "soon"}},), "no date"),
    "perhaps a priority": ("upload", ({"image": CAT.jpeg, "upload_priority": "perhaps"},), "upload_priority"),
    "number as mode": ("set_outbox_mode", (5,), "a word"),
    "no mode": ("set_outbox_mode", (), "a word"),
    "binary mode": ("set_outbox_mode", (b"stopped",), "a word"),
    "list as version": ("set_model_version_mode", (["pause"],), "a word"),
    "unknown event": ("dance", ({"a": 1},), "known are detect,"),
    "event called connect": ("connect", ({"asgi.scope": {"client": ["127.0.0.1", 1]}},), "known are detect,"),
    "event called disconnect": ("disconnect", (), "known are detect,"),
    "number as event": (5, (), "known are detect,"),  # type: ignore[dict-item]  # no event has such a name
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_an_event_cannot_use_is_answered_with_a_sentence_and_the_connection_stays(
    robot_box: Box, case: str
) -> None:
    event, arguments, part = UNFIT[case]
    data = arguments if len(arguments) != 1 else arguments[0]
    before = robot_box.tree()

    async def story(robot: socketio.AsyncClient) -> Any:
        answer = await robot.call(event, data, timeout=5)
        assert (await robot.call("detect", {"image": CAT.jpeg, **DISABLED}, timeout=5))["box_detections"]
        return answer

    answer = robot_box.talk(story)

    assert list(answer) == ["error"], answer
    assert part in answer["error"]
    assert robot_box.tree() == before


def test_more_arguments_than_are_due_do_no_harm(box: Box) -> None:
    answer = box.call("detect", ({"image": CAT.jpeg, **DISABLED}, "more", 5))

    assert_sees(answer, CAT)


def test_unknown_keys_are_ignored(box: Box) -> None:
    assert_sees(box.call("detect", {"image": CAT.jpeg, "mood": "fine", **DISABLED}), CAT)


def test_robots_side_by_side_get_their_own_answers(box: Box) -> None:
    async def story() -> list[str]:
        async def robot(photograph: Photograph) -> list[str]:
            client = socketio.AsyncClient(reconnection=False)
            await client.connect(box.url, socketio_path="ws/socket.io", transports=["websocket"])
            try:
                return [
                    best(await client.call("detect", {"image": photograph.jpeg, **DISABLED}, timeout=10))[
                        "category_name"
                    ]
                    for _ in range(5)
                ]
            finally:
                await client.disconnect()

        answers = await asyncio.gather(*(robot(photograph) for photograph in ALL))
        return [name for names in answers for name in names]

    assert box.run(story()) == [photograph.shows for photograph in ALL for _ in range(5)]


def test_a_robot_that_leaves_without_goodbye_takes_nothing_with_it(box: Box) -> None:
    async def story() -> None:
        client = socketio.AsyncClient(reconnection=False)
        await client.connect(box.url, socketio_path="ws/socket.io", transports=["websocket"])
        await client.emit("detect", {"image": CAT.jpeg, **DISABLED})
        await client.eio.ws.close()
        await client.eio.http.close()

    box.run(story())

    assert box.detects(CAT.jpeg)
