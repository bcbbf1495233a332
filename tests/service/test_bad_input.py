"""What must not be able to hurt the box: each is answered with its reason, leaves no trace, and the box detects on."""

from __future__ import annotations

import json
import socket
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import aiohttp
import httpx
import numpy as np
import pytest

from appliance.events import MAX_EVENT, BoundedPacket
from models.errors import InputTooLarge
from tests.service.box import Box
from tests.service.photographs import CAT, encoded

MIB = 2**20


@pytest.fixture(autouse=True)
def unharmed(box: Box) -> Iterator[None]:
    """After every story of this module: nothing was written, nothing is held, no worker died, and the box detects."""
    before, restarts = box.tree(), box.services.supervisor.counters.restarts
    yield
    assert box.detects(CAT.jpeg)
    assert box.tree() == before
    assert box.services.supervisor.counters.restarts == restarts
    assert box.services.budget.taken == 0


def detect(box: Box, picture: bytes, **headers: str) -> httpx.Response:
    """POST a picture."""
    sent = {"autoupload": "disabled", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return box.http.post("/detect", files={"file": picture}, headers=sent)


def huge_png(width: int, height: int) -> bytes:
    """A PNG of some bytes that says that it has very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def huge_jpeg(width: int, height: int) -> bytes:
    """A JPEG whose header was changed to say that it has very many pixels."""
    start = CAT.jpeg.index(b"\xff\xc0")
    return CAT.jpeg[: start + 5] + struct.pack(">HH", height, width) + CAT.jpeg[start + 9 :]


BAD_PICTURES: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 422, "empty"),
    "a JPEG cut off in its header": (CAT.jpeg[:200], 422, ""),
    "a JPEG cut off in the middle": (CAT.jpeg[: len(CAT.jpeg) // 2], 422, ""),
    "a text": (b"I would like to be a picture.", 422, "text"),
    "JSON": (b'{"image": "abc"}', 422, ""),
    "a GIF": (encoded(CAT.pixels, "GIF"), 422, "GIF"),
    "a BMP": (encoded(CAT.pixels, "BMP"), 422, ""),
    "a PDF": (b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", 422, ""),
    "noise": (np.random.default_rng(1).bytes(10_000), 422, ""),
    "a PNG of 20,000 x 20,000": (huge_png(20_000, 20_000), 413, "pixels"),
    "a JPEG of 20,000 x 20,000": (huge_jpeg(20_000, 20_000), 413, "pixels"),
    "a PNG of 0 x 0": (huge_png(0, 0), 422, ""),
    "only the first two bytes of a JPEG": (b"\xff\xd8", 422, ""),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_what_is_no_picture_is_refused_everywhere_with_the_same_words(box: Box, name: str) -> None:
    picture, status, word = BAD_PICTURES[name]

    answer = detect(box, picture)

    assert answer.status_code == status
    detail = answer.json()["detail"]
    assert word.lower() in detail.lower()
    assert len(detail) > 20, "a sentence"
    assert box.call("detect", {"image": picture}) == {"error": detail}
    assert box.call("detect", {"image": {"format": "jpeg", "bytes": picture}}) == {"error": detail}
    uploaded = box.http.post("/upload", files={"files": picture})
    assert uploaded.status_code == status
    assert "error" in box.call("upload", {"image": picture, "metadata": {}})


def test_a_picture_that_is_damaged_inside_cannot_be_detected_in(box: Box) -> None:
    answer = detect(box, huge_png(500, 500))

    assert answer.status_code == 422
    assert len(answer.json()["detail"]) > 20


def test_one_pixel_is_a_picture_in_which_nothing_is(box: Box) -> None:
    pixel = encoded(np.zeros((1, 1, 3), np.uint8), "JPEG")

    answer = detect(box, pixel)

    assert (answer.status_code, answer.json()["box_detections"]) == (200, [])


def test_a_picture_one_pixel_high_is_a_picture(box: Box) -> None:
    line = encoded(np.zeros((1, 5000, 3), np.uint8), "PNG")

    for found in detect(box, line).json()["box_detections"]:
        assert found["y"] + found["height"] <= 1


def test_a_picture_with_bytes_behind_its_end_is_a_picture(box: Box) -> None:
    assert detect(box, CAT.jpeg + b"\0" * 1000).status_code == 200


def test_a_body_of_100_mib_is_refused_before_it_is_sent(box: Box) -> None:
    """As curl does it: it waits for a go-ahead before it sends a large body."""
    head = (
        f"POST /detect HTTP/1.1\r\nHost: 127.0.0.1:{box.port}\r\nContent-Length: {100 * MIB}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nExpect: 100-continue\r\n\r\n"
    )
    answer = raw_answer(box, head.encode())

    assert b" 413 " in answer.split(b"\r\n")[0]
    assert b"this box accepts 65 MiB" in answer


def chunks_of_a_form(total: int) -> Iterator[bytes]:
    """A multipart form with one large file, piece by piece: httpx sends no content-length with it."""
    yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    for _ in range(total // MIB):
        yield bytes(MIB)
    yield b"\r\n--x--\r\n"


@pytest.mark.parametrize("path", ["/detect"])
def test_a_body_of_100_mib_in_chunks_is_refused_when_it_gets_too_long(box: Box, path: str) -> None:
    sent: list[int] = []

    def counted() -> Iterator[bytes]:
        for chunk in chunks_of_a_form(100 * MIB):
            sent.append(len(chunk))
            yield chunk

    # Through the application itself: a client in front of a real socket may see the connection end before the answer.
    answer = box.ask(
        "POST", path, content=_async(counted()), headers={"content-type": "multipart/form-data; boundary=x"}
    )

    assert answer.status_code == 413
    assert "longer than the 65 MiB" in answer.json()["detail"]
    assert sum(sent) < 67 * MIB, "the rest was not even read"


async def _async(chunks: Iterable[bytes]) -> Any:
    for chunk in chunks:
        yield chunk


def test_uploads_and_models_have_their_limits_too(box: Box) -> None:
    for path, size in (("/upload", 300 * MIB), ("/api/v1/models", 600 * MIB), ("/model_version", 5000)):
        method = "PUT" if path == "/model_version" else "POST"
        headers = {"content-type": "multipart/form-data; boundary=x", "content-length": str(size)}
        answer = box.ask(method, path, content=b"", headers=headers)
        assert (path, answer.status_code) == (path, 413)


def test_a_polling_message_of_more_than_96_mib_is_refused(box: Box) -> None:
    handshake = box.http.get("/ws/socket.io/?EIO=4&transport=polling").text
    url = f"/ws/socket.io/?EIO=4&transport=polling&sid={json.loads(handshake[1:])['sid']}"

    declared = box.ask("POST", url, content=b"", headers={"content-length": str(97 * MIB)})
    assert declared.status_code == 413
    in_chunks = box.ask("POST", url, content=_async(bytes(MIB) for _ in range(100)))
    assert in_chunks.status_code == 413
    assert "96 MiB" in in_chunks.json()["detail"]


FORMS: dict[str, tuple[dict[str, str], bytes, str]] = {
    "no form": ({"content-type": "image/jpeg"}, CAT.jpeg, "multipart form"),
    "no content type": ({}, CAT.jpeg, "multipart form"),
    "urlencoded": ({"content-type": "application/x-www-form-urlencoded"}, b"file=abc", "multipart form"),
    "no boundary": ({"content-type": "multipart/form-data"}, b"--x\r\n", "cannot be read"),
    "empty boundary": ({"content-type": "multipart/form-data; boundary="}, b"--\r\n", "no boundary"),
    "endless boundary": ({"content-type": "multipart/form-data; boundary=" + "x" * 3000}, b"--x\r\n", "cannot be read"),
    "another boundary": (
        {"content-type": "multipart/form-data; boundary=y"},
        b"--x\r\n\r\n--x--\r\n",
        "cannot be read",
    ),
    "empty form": ({"content-type": "multipart/form-data; boundary=x"}, b"--x--\r\n", "no file"),
    "no body": ({"content-type": "multipart/form-data; boundary=x"}, b"", "no file"),
    "part without name": (
        {"content-type": "multipart/form-data; boundary=x"},
        b"--x\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--x--\r\n",
        "cannot be read",
    ),
    "part without header": (
        {"content-type": "multipart/form-data; boundary=x"},
        b"--x\r\n\r\nabc\r\n--x--\r\n",
        "cannot be read",
    ),
    "text instead of a file": (
        {"content-type": "multipart/form-data; boundary=x"},
        b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--x--\r\n',
        "no file",
    ),
    "cut off": (
        {"content-type": "multipart/form-data; boundary=x"},
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n\xff\xd8\xff',
        "in the middle of a file",
    ),
    "endless part header": (
        {"content-type": "multipart/form-data; boundary=x"},
        b"--x\r\nContent-Disposition: " + b"a" * 100_000,
        "cannot be read",
    ),
    "large text field": (
        {"content-type": "multipart/form-data; boundary=x"},
        b'--x\r\nContent-Disposition: form-data; name="note"\r\n\r\n' + b"a" * 2 * MIB + b"\r\n--x--\r\n",
        "no file",
    ),
    "unknown charset": (
        {"content-type": "multipart/form-data; boundary=x; charset=klingon"},
        b'--x\r\nContent-Disposition: form-data; name="fi\xffle"; filename="a"\r\n\r\nabc\r\n--x--\r\n',
        "no file",
    ),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("path", ["/detect", "/upload", "/api/v1/models"])
def test_a_form_that_is_none_is_refused_with_an_example(box: Box, path: str, name: str) -> None:
    headers, body, word = FORMS[name]
    field = b'name="files"' if path == "/upload" else b'name="file"'

    answer = box.http.post(path, content=body.replace(b'name="file"', field), headers=headers)

    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert word in detail
    assert "curl -F" in detail, "it says how it is done"


def test_the_wrong_field_is_named(box: Box) -> None:
    answer = box.http.post("/detect", files={"image": CAT.jpeg, "photo": CAT.jpeg})

    assert answer.status_code == 422
    assert "no file in the field 'file', it has 'image', 'photo'" in answer.json()["detail"]


def test_several_files_are_not_guessed_at(box: Box) -> None:
    answer = box.http.post("/detect", files=[("file", CAT.jpeg), ("file", CAT.jpeg)])

    assert answer.status_code == 422
    assert "one picture a request" in answer.json()["detail"]


def test_a_hundred_and_one_files_are_too_many(box: Box) -> None:
    answer = box.http.post("/upload", files=[("files", b"x")] * 101)

    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("header", "value", "word"),
    [
        ("autoupload", b"sometimes", "filtered, all, disabled"),
        ("autoupload", b"ALL", "filtered, all, disabled"),
        ("creation-date", b"yesterday", "is no date"),
        ("creation-date", b"2024-02-30", "is no date"),
        ("creation-date", b"2024-01-31T25:00:00", "is no date"),
        ("creation-date", b"1706704496", "is no date"),
        ("tags", b"\xff\xfe", "no UTF-8"),
        ("source", b"\xc3", "no UTF-8"),
        ("camera-id", b"\x80", "no UTF-8"),
        ("creation-date", b"\xff", "no UTF-8"),
        ("autoupload", b"\xff", "no UTF-8"),
    ],
)
def test_a_header_that_cannot_be_understood_is_named(box: Box, header: str, value: bytes, word: str) -> None:
    answer = box.http.post("/detect", files={"file": CAT.jpeg}, headers={header.encode(): value})

    assert answer.status_code == 422
    assert word in answer.json()["detail"]


@pytest.mark.parametrize(
    "date",
    [
        "2024-01-31",
        "2024-01-31T12:34",
        "2024-01-31T12:34:56",
        "2024-01-31T12:34:56.789",
        "2024-01-31T12:34:56.789123",
        "2024-01-31T12:34:56Z",
        "2024-01-31T12:34:56+01:00",
        "2024-01-31T12:34:56-0130",
        "2024-01-31 12:34:56",
        "2024-01-31_12:34:56.789",
    ],
)
def test_dates_with_and_without_time_and_zone_are_dates(box: Box, date: str) -> None:
    assert detect(box, CAT.jpeg, creation_date=date).json()["created"] == date
    answer = box.call("detect", {"image": CAT.jpeg, "creation_date": date, "autoupload": "disabled"})
    assert answer["created"] == date


def array(shape: object, dtype: object = "uint8", data: bytes = b"") -> dict[str, Any]:
    """A raw picture that says of itself what it likes."""
    return {"image": {"bytes": data, "dtype": dtype, "shape": shape}, "autoupload": "disabled"}


def floats(value: float) -> bytes:
    """2 x 2 pixels of that value."""
    return np.full((2, 2, 3), value, np.float32).tobytes()


ARRAYS: dict[str, dict[str, Any]] = {
    "fewer bytes than the shape says": array([10, 10, 3], data=bytes(299)),
    "more bytes than the shape says": array([10, 10, 3], data=bytes(301)),
    "other dtype than the bytes": array([10, 10, 3], "uint16", bytes(300)),
    "no bytes": array([10, 10, 3]),
    "empty shape": array([], data=b"x"),
    "one side": array([3], data=bytes(3)),
    "four sides": array([1, 1, 1, 3], data=bytes(3)),
    "a thousand sides": array([1] * 1000, data=b"x"),
    "two channels": array([2, 2, 2], data=bytes(8)),
    "zero height": array([0, 10, 3]),
    "zero channels": array([10, 10, 0]),
    "negative sides": array([-10, -10, 3], data=bytes(300)),
    "one negative side": array([-1, 10, 3], data=bytes(30)),
    "huge sides": array([10**9, 10**9, 3], data=b"x"),
    "sides that wrap around": array([2**32, 2**32, 3], data=b""),
    "half a side": array([2.5, 2, 3], data=bytes(15)),
    "yes as side": array([True, 1, 3], data=bytes(3)),
    "NaN pixels": array([2, 2, 3], "float32", floats(float("nan"))),
    "infinite pixels": array([2, 2, 3], "float32", floats(float("inf"))),
    "pixels from 0 to 1": array([2, 2, 3], "float32", floats(0.5)),
    "pixels above 255": array([2, 2, 3], "float32", floats(300)),
    "negative pixels": array([2, 2, 3], "int16", np.full((2, 2, 3), -5, np.int16).tobytes()),
    "objects": array([2, 2, 3], "object", bytes(96)),
    "structures": array([2, 2, 3], "u1,u1", bytes(24)),
    "text": array([2, 2, 3], "U10", bytes(480)),
    "times": array([2, 2, 3], "datetime64[s]", bytes(96)),
    "complex numbers": array([2, 2, 3], "complex64", bytes(96)),
    "unknown dtype": array([2, 2, 3], "uint9", bytes(12)),
    "a very long dtype": array([2, 2, 3], "u" * 10_000, bytes(12)),
    "more than 100 megapixels": array([20_000, 20_000], data=b"x"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_that_is_not_what_it_says_is_refused(box: Box, name: str) -> None:
    for event, payload in (
        ("detect", ARRAYS[name]),
        ("batch_detect", {"images": [ARRAYS[name]["image"]], "autoupload": "disabled"}),
        ("upload", {"image": ARRAYS[name]["image"], "metadata": {}}),
    ):
        answer = box.call(event, payload)
        assert list(answer) == ["error"], event
        assert len(answer["error"]) > 20


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "float64", "bool"])
def test_arrays_of_other_numbers_are_pictures_if_their_values_are_pixels(box: Box, dtype: str) -> None:
    pixels = np.zeros((20, 30, 3), dtype)

    answer = box.call("detect", array(list(pixels.shape), dtype, pixels.tobytes()))

    assert answer["box_detections"] == []


@pytest.mark.parametrize("side", [str(2**64 + 10), "1" + "0" * 90, "NaN", "Infinity", "-Infinity", "1e400", "1e-400"])
def test_numbers_that_not_every_json_knows_are_no_sides(box: Box, side: str) -> None:
    picture = '{"bytes":{"_placeholder":true,"num":0},"dtype":"uint8","shape":[' + side + ",10,3]}"

    heard = speak(box, '451-17["detect",{"image":' + picture + "}]", bytes(300), due=(17, 99))

    assert any(text.startswith('4317[{"error":') for text in heard)


def speak(box: Box, *messages: str | bytes, due: tuple[int, ...] = (99,)) -> list[str]:
    """Say this over a bare websocket, then ask for the outbox mode (99); all that is heard until what is due came."""

    async def story() -> list[str]:
        heard: list[str] = []
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{box.url}/ws/socket.io/?EIO=4&transport=websocket") as websocket,
        ):
            heard.append((await websocket.receive(timeout=5)).data)
            await websocket.send_str("40")
            heard.append((await websocket.receive(timeout=5)).data)
            for message in messages:
                if isinstance(message, str):
                    await websocket.send_str(message)
                else:
                    await websocket.send_bytes(message)
            await websocket.send_str('4299["get_outbox_mode"]')
            while True:
                answer = await websocket.receive(timeout=5)
                if not isinstance(answer.data, str):
                    return [*heard, "closed"]
                heard.append(answer.data)
                if all(any(text.startswith(f"43{number}[") for text in heard) for number in due):
                    return heard

    return box.run(story())


def test_a_picture_as_text_that_is_far_too_long_is_refused_unparsed(box: Box) -> None:
    heard = speak(box, '4217["detect",{"image":"' + "A" * 5 * MIB + '"}]', due=(17, 99))

    assert any(text.startswith("4317[") and "send pictures as binary data" in text for text in heard)


PACKETS: dict[str, tuple[str | bytes, ...]] = {
    "an event without a name": ("42[]",),
    "an event that is no list": ('42{"a":1}',),
    "an event that is a number": ("427",),
    "a broken event": ('42["detect",',),
    "a nameless event with a number": ("42[17]",),
    "a list as name": ('42[["detect"]]',),
    "an answer to nothing": ('4317["yes"]',),
    "an unknown kind of packet": ("49",),
    "another namespace": ("40/admin,", '42/admin,["detect"]'),
    "deeply nested": ("42" + "[" * 100_000,),
    "a very long number of acknowledgement": ("42" + "9" * 200 + '["info"]',),
}


@pytest.mark.parametrize("name", PACKETS)
def test_packets_that_are_none_do_not_end_the_connection(box: Box, name: str) -> None:
    assert speak(box, *PACKETS[name])[-1].startswith('4399[{"outbox_mode"')


BINARY: dict[str, tuple[str | bytes, ...]] = {
    "binary without an event": (b"a picture that nobody asked for",),
    "binary that looks like an event": (b'2["soft_reload"]',),
}


@pytest.mark.parametrize("name", BINARY)
def test_binary_messages_out_of_place_are_dropped(box: Box, name: str) -> None:
    assert speak(box, *BINARY[name])[-1].startswith('4399[{"outbox_mode"')


@pytest.mark.parametrize("number", ["7", "-2", '"x"', "null", "1.5"])
def test_an_event_that_speaks_of_data_that_did_not_come_is_told_so(box: Box, number: str) -> None:
    heard = speak(box, '451-17["detect",{"image":{"_placeholder":true,"num":' + number + "}}]", b"x", due=(17, 99))

    assert any(text.startswith("4317[") and "did not come with it" in text for text in heard)


def test_more_pictures_than_one_event_may_have_are_refused_and_not_kept(box: Box) -> None:
    heard = speak(box, '45600-17["batch_detect",{"images":[]}]', *([b"x"] * 600), due=(17, 99))

    assert any(text.startswith("4317[") and "500 of 256 MiB together are the most" in text for text in heard)


def test_a_client_that_sends_too_much_for_one_event_is_listened_to_without_keeping_it() -> None:
    packet = BoundedPacket(encoded_packet='5100-1["batch_detect",{}]')
    one = bytes(64 * MIB)

    for _ in range(99):
        assert packet.add_attachment(one) is False
        assert sum(len(each) for each in packet.attachments) <= MAX_EVENT
    assert packet.add_attachment(one) is True

    assert isinstance(packet.data[1], InputTooLarge)


def raw_answer(box: Box, request: bytes, *, then_close: bool = False) -> bytes:
    """What the server says to these very bytes."""
    with socket.create_connection(("127.0.0.1", box.port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while not then_close and not answer.endswith(b"}") and (received := connection.recv(65536)):
            answer += received
        return answer


def test_bytes_that_are_no_http_are_refused(box: Box) -> None:
    assert b" 400 " in raw_answer(box, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")


def test_somebody_who_leaves_in_the_middle_of_a_picture_is_forgotten(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    head = (
        f"POST /detect HTTP/1.1\r\nHost: 127.0.0.1:{box.port}\r\nContent-Length: 100000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    )

    raw_answer(box, head.encode() + CAT.jpeg[:500], then_close=True)

    counted = 'detector_requests_total{outcome="InvalidInput",source="rest"}'
    before = _value(box, counted)
    raw_answer(box, head.encode() + CAT.jpeg[:500], then_close=True)
    box.wait_until(lambda: _value(box, counted) > before, seconds=5)
    assert "unforeseen" not in caplog.text


def _value(box: Box, series: str) -> float:
    lines = [line for line in box.http.get("/metrics").text.splitlines() if line.startswith(f"{series} ")]
    return float(lines[0].split()[-1]) if lines else 0.0


def test_pictures_that_come_slowly_take_no_room_from_others(box: Box) -> None:
    """Nine requests announce 60 MiB each, more than there is room for, and send next to nothing."""
    head = (
        f"POST /detect HTTP/1.1\r\nHost: 127.0.0.1:{box.port}\r\nContent-Length: {60 * MIB}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )
    slow = [socket.create_connection(("127.0.0.1", box.port), timeout=10) for _ in range(9)]
    try:
        for connection in slow:
            connection.sendall(head.encode())
        assert box.detects(CAT.jpeg)
    finally:
        for connection in slow:
            connection.close()
    box.wait_until(lambda: box.services.budget.taken == 0, seconds=5)


def test_too_much_under_way_at_once_is_refused_with_a_time_to_come_back(box: Box) -> None:
    budget = box.services.budget

    with budget.reserve(511 * MIB):
        answer = detect(box, encoded(np.zeros((1000, 1000, 3), np.uint8), "PNG", compress_level=0))
        over_socket = box.call("detect", {"image": bytes(3 * MIB)})

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "under way already" in answer.json()["detail"]
    assert "under way already" in over_socket["error"]
