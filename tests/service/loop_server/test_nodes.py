"""Trainers, annotation nodes and old detectors connect, tell how they are, and are told what to do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio

from access import Places
from appliance.throttle import Throttle
from tests.service.loop_server.node import TRAINER_STATUS, Node
from tests.service.loop_server.shop import Shop
from tests.service.running_loop import RunningLoop

ANNOTATOR_STATUS: dict[str, Any] = {
    "id": "0d1d3f9e-1111-4a4a-8b8b-222222222222",
    "name": "pen",
    "state": "online",
    "uptime": 0,
    "errors": {},
    "capabilities": ["segmentation"],
}

OLD_DETECTOR_STATUS: dict[str, Any] = {
    "id": "85ef1a58-308d-4c80-8931-43d1f752f4f2",
    "name": "hall 3",
    "state": "online",
    "uptime": 7,
    "errors": {},
    "operation_mode": "idle",
    "current_model": None,
    "target_model": None,
    "model_format": "mocked",
}
"""As learning-loop-node 0.13 writes it."""


@pytest.fixture
def small_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningLoop]:
    """A loop with places for three connections, two of them for strangers."""
    monkeypatch.setattr("appliance.loop_server.events.PLACES", Places(all=3, strangers=2, address=2))
    with RunningLoop(tmp_path) as small:
        yield small


@pytest.fixture
def shop(loop: RunningLoop) -> Shop:
    """An empty project of the test's own."""
    return Shop(loop)


def known(loop: RunningLoop, kind: str) -> dict[str, dict[str, Any]]:
    """Nodes of a kind by id, as people see them."""
    answer = loop.http.get("/api/nodes", params={"kind": kind})
    assert answer.status_code == 200, answer.text
    return {node["id"]: node for node in answer.json()["nodes"]}


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return as soon as it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


@pytest.mark.parametrize("transports", [["websocket"], ["polling", "websocket"]])
def test_a_trainer_is_there_while_it_is_connected(loop: RunningLoop, transports: list[str]) -> None:
    status = {**TRAINER_STATUS, "id": f"trainer over {transports}"}

    async def story() -> None:
        async with Node(loop, transports=transports) as trainer:
            assert await trainer.told("update_trainer", status) is None
            seen = await asyncio.to_thread(known, loop, "trainer")
            assert seen[status["id"]].items() >= {**status, "online": True, "kind": "trainer"}.items()

    asyncio.run(story())
    eventually(lambda: not known(loop, "trainer")[status["id"]]["online"])
    assert known(loop, "trainer")[status["id"]]["architecture"] == "mocked"
    assert status["id"] not in known(loop, "annotation_node")


def test_a_connection_that_breaks_off_is_not_the_one_that_was_made_anew(loop: RunningLoop) -> None:
    """A node whose network hung connects again before the loop has noticed that the old connection is dead."""

    async def story() -> None:
        async with Node(loop) as new:
            async with Node(loop) as old:
                await old.told("update_trainer", {**TRAINER_STATUS, "id": "twice"})
                await new.told("update_trainer", {**TRAINER_STATUS, "id": "twice"})
            await asyncio.sleep(0.3)
            assert (await asyncio.to_thread(known, loop, "trainer"))["twice"]["online"]
            assert (await new.ask("POST", "/api/nodes/twice/restart")).status_code == 200
            await asyncio.to_thread(eventually, lambda: ("restart", ()) in new.heard)

    asyncio.run(story())


def test_what_nodes_said_survives_a_restart_of_the_loop(tmp_path: Path) -> None:
    async def story(loop: RunningLoop) -> None:
        async with Node(loop) as trainer:
            await trainer.told("update_trainer", TRAINER_STATUS)

    with RunningLoop(tmp_path) as loop:
        asyncio.run(story(loop))
    with RunningLoop(tmp_path) as loop:
        [trainer] = known(loop, "trainer").values()
        assert (trainer["name"], trainer["online"]) == ("gpu server", False)
        answer = loop.http.post(f"/api/nodes/{trainer['id']}/restart")
        assert (answer.status_code, "not connected" in answer.text) == (409, True)


def test_an_unknown_node_cannot_be_told_anything(loop: RunningLoop) -> None:
    assert loop.http.post("/api/nodes/nobody/restart").status_code == 404


INPUT: dict[str, Any] = {
    "frontend_id": "page 1",
    "data": {
        "coordinate": {"x": 10, "y": 20},
        "event_type": "left_mouse_down",
        "context": {"organization": "workshop", "project": "parts"},
        "image_uuid": "10f7d7d2-4076-7006-af37-fa28a6a848ae",
        "category": {"id": "1", "name": "hole", "type": "segmentation"},
        "is_shift_key_pressed": False,
    },
}


class TestAnnotating:
    """A person draws in a page of the loop, with the help of a node."""

    def test_input_goes_to_the_node_and_its_drawing_comes_back(self, loop: RunningLoop) -> None:
        async def story() -> None:
            async with Node(loop, "annotation_node") as node:
                await node.told("update_annotation_node", ANNOTATOR_STATUS)
                node.answers["handle_user_input"] = lambda _: {"success": True, "payload": "<svg/>"}
                answer = await node.ask("POST", f"/api/nodes/{ANNOTATOR_STATUS['id']}/user_input", json=INPUT)
                assert (answer.status_code, answer.json()) == (200, {"payload": "<svg/>"})
                [(event, (given,))] = node.heard
                assert event == "handle_user_input"
                assert given["frontend_id"] == "page 1"
                assert given["data"]["coordinate"] == {"x": 10, "y": 20}
                assert given["data"]["key_up"] is None

                gone = await node.ask(
                    "POST", f"/api/nodes/{ANNOTATOR_STATUS['id']}/user_logout", json={"frontend_id": "page 1"}
                )
                assert gone.status_code == 200
                assert node.heard[-1] == ("user_logout", ("page 1",))

        asyncio.run(story())

    def test_what_the_node_refuses_is_said_in_its_words(self, loop: RunningLoop) -> None:
        async def story() -> None:
            async with Node(loop, "annotation_node") as node:
                await node.told("update_annotation_node", ANNOTATOR_STATUS)
                node.answers["handle_user_input"] = lambda _: {"success": False, "error_msg": "no such image"}
                answer = await node.ask("POST", f"/api/nodes/{ANNOTATOR_STATUS['id']}/user_input", json=INPUT)
                assert (answer.status_code, "no such image" in answer.text) == (409, True)
                node.answers["handle_user_input"] = lambda _: ["nonsense"]
                answer = await node.ask("POST", f"/api/nodes/{ANNOTATOR_STATUS['id']}/user_input", json=INPUT)
                assert (answer.status_code, "no answer" in answer.text) == (502, True)

        asyncio.run(story())

    def test_a_node_that_says_nothing_does_not_hold_the_person_for_ever(
        self, loop: RunningLoop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("appliance.loop_server.routes.nodes.USER_INPUT_SECONDS", 0.2)

        async def story() -> None:
            async with Node(loop, "annotation_node") as node:
                await node.told("update_annotation_node", ANNOTATOR_STATUS)
                node.answers["handle_user_input"] = lambda _: asyncio.sleep(30)
                answer = await node.ask("POST", f"/api/nodes/{ANNOTATOR_STATUS['id']}/user_input", json=INPUT)
                assert (answer.status_code, "did not answer" in answer.text) == (504, True)

        asyncio.run(story())


class TestOldDetectors:
    """learning-loop-node up to 0.15 tells its status over Socket.IO and hears the deployment target."""

    def test_it_hears_what_is_deployed_and_is_seen(self, loop: RunningLoop, shop: Shop) -> None:
        uploaded = shop.upload("mocked")

        async def story() -> None:
            async with Node(loop, "detector") as detector:
                arguments = ("update_detector", shop.organization, shop.project, OLD_DETECTOR_STATUS)
                assert await detector.told(*arguments) is None, "nothing is deployed"
                await detector.ask("PUT", f"{shop.path}/deployment/target", json={"version": "1.0"})
                assert await detector.told(*arguments) == {
                    "target_model_id": uploaded["id"],
                    "target_model_version": "1.0",
                }
                assert self.seen(shop)["online"]

        asyncio.run(story())
        eventually(lambda: not self.seen(shop)["online"])
        assert self.seen(shop)["name"] == "hall 3"
        assert self.seen(shop)["seen"].startswith("20")

    def seen(self, shop: Shop) -> dict[str, Any]:
        """The detector as people see it."""
        [detector] = shop.http.get(f"{shop.path}/detectors").json()["detectors"]
        assert detector["uuid"] == OLD_DETECTOR_STATUS["id"]
        found: dict[str, Any] = detector
        return found

    def test_an_unknown_project_is_said_to_be_one(self, loop: RunningLoop) -> None:
        async def story() -> None:
            async with Node(loop, "detector") as detector:
                answer = await detector.tell("update_detector", "workshop", "nothing", OLD_DETECTOR_STATUS)
                assert not answer["success"]
                assert "no project" in answer["error_msg"]

        asyncio.run(story())


class Stranger:
    """A Socket.IO client at another address: polls, as every client does at first, with whatever it has."""

    def __init__(self, loop: RunningLoop, node_type: str, *, login: bool) -> None:
        self._client = loop.client(("203.0.113.9", 40000))
        self._headers = {"nodeType": node_type, "organization": "", "project": ""}
        if login:
            assert self._client.post("/api/login", data={"username": "", "password": ""}).status_code == 200
        opened = self._client.get("/ws/socket.io/?EIO=4&transport=polling", headers=self._headers)
        self._sid = json.loads(opened.text[1:])["sid"]
        self.welcome = self.send("40")

    def send(self, packet: str) -> str:
        """Send a packet; what comes back first."""
        path = f"/ws/socket.io/?EIO=4&transport=polling&sid={self._sid}"
        assert self._client.post(path, content=packet, headers=self._headers).status_code == 200
        return self._client.get(path, headers=self._headers).text

    def leave(self) -> None:
        """Say goodbye."""
        path = f"/ws/socket.io/?EIO=4&transport=polling&sid={self._sid}"
        self._client.post(path, content="41\x1e1", headers=self._headers)

    def tell(self, event: str, *arguments: Any) -> dict[str, Any]:
        """Send an event; the acknowledgement."""
        answer = self.send("421" + json.dumps([event, *arguments]))
        assert answer.startswith("431"), answer
        [found] = json.loads(answer[3:])
        acknowledged: dict[str, Any] = found
        return acknowledged


MakeStranger = Callable[..., Stranger]


@pytest.fixture
def stranger(loop: RunningLoop) -> Iterator[MakeStranger]:
    """Makes strangers, who leave in the end."""
    made: list[Stranger] = []

    def make(node_type: str, *, login: bool) -> Stranger:
        made.append(Stranger(loop, node_type, login=login))
        return made[-1]

    yield make
    for each in made:
        each.leave()


class TestStrangers:
    """Who has no login, or a detector's."""

    @pytest.mark.parametrize("node_type", ["trainer", "annotation_node", "node", "", "Detector"])
    def test_nodes_have_to_log_in(self, stranger: MakeStranger, node_type: str) -> None:
        assert stranger(node_type, login=False).welcome.startswith("44")

    @pytest.mark.parametrize("login", [True, False])
    def test_an_old_detector_never_logs_in_and_hears_what_is_deployed_all_the_same(
        self, stranger: MakeStranger, shop: Shop, login: bool
    ) -> None:
        uploaded = shop.upload("mocked")
        shop.http.put(f"{shop.path}/deployment/target", json={"version": "1.0"})
        detector = stranger("detector", login=login)
        assert detector.welcome.startswith("40")
        answer = detector.tell("update_detector", shop.organization, shop.project, OLD_DETECTOR_STATUS)
        assert answer["payload"]["target_model_id"] == uploaded["id"]

    @pytest.mark.parametrize("login", [True, False])
    def test_a_detector_may_do_no_more_than_that(self, stranger: MakeStranger, login: bool) -> None:
        detector = stranger("detector", login=login)
        for event, arguments in (
            ("update_trainer", (TRAINER_STATUS,)),
            ("update_training", ("workshop", "parts", {"trainer_id": "x"})),
            ("update_annotation_node", (ANNOTATOR_STATUS,)),
            ("update_segmentation_annotation", ("workshop", "parts", {})),
        ):
            answer = detector.tell(event, *arguments)
            assert not answer["success"]
            assert "log in" in answer["error_msg"]

    @pytest.mark.parametrize("login", [True, False])
    def test_they_cannot_keep_others_out(self, small_loop: RunningLoop, login: bool) -> None:
        detectors = [Stranger(small_loop, "detector", login=login) for _ in range(2)]
        assert [each.welcome[:2] for each in detectors] == ["40", "40"]
        answer = small_loop.client(("203.0.113.9", 40000)).get("/ws/socket.io/?EIO=4&transport=polling")
        assert answer.status_code == 429
        assert "log in" in answer.json()["detail"]

        async def story() -> None:
            async with Node(small_loop) as trainer:
                await trainer.told("update_trainer", TRAINER_STATUS)

        asyncio.run(story())
        for each in detectors:
            each.leave()
        Stranger(small_loop, "detector", login=login).leave()

    def test_what_they_may_do_they_may_not_do_without_end(
        self, loop: RunningLoop, stranger: MakeStranger, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        detector = stranger("detector", login=False)
        monkeypatch.setattr(loop.services, "open_requests", Throttle(3, time.monotonic))
        answers = [
            detector.tell("update_detector", shop.organization, shop.project, OLD_DETECTOR_STATUS) for _ in range(5)
        ]
        assert [answer["success"] for answer in answers] == [True] * 3 + [False] * 2
        assert "network does more" in answers[-1]["error_msg"]


BAD: list[tuple[str, tuple[Any, ...]]] = [
    ("update_trainer", ()),
    ("update_trainer", (None,)),
    ("update_trainer", ({"name": "without an id"},)),
    ("update_trainer", ({**TRAINER_STATUS, "id": ""},)),
    ("update_trainer", ({**TRAINER_STATUS, "id": "x" * 65},)),
    ("update_trainer", ({**TRAINER_STATUS, "id": "a\0b"},)),
    ("update_trainer", ({**TRAINER_STATUS, "errors": "many"},)),
    ("update_trainer", ({**TRAINER_STATUS, "extra": "x" * 300_000},)),
    ("update_trainer", (TRAINER_STATUS, TRAINER_STATUS)),
    ("update_training", ("workshop", "parts")),
    ("update_training", (1, 2, {"trainer_id": "x"})),
    ("update_training", ("workshop", "nothing", {"trainer_id": "x"})),
    ("update_annotation_node", ([],)),
    ("update_segmentation_annotation", ("workshop", "parts", {"id": 1})),
    ("update_detector", ("workshop", "parts", "status")),
    ("update_everything", ()),
    ("connect", ()),
    ("connect", ({"asgi.scope": {}},)),
    ("disconnect", ()),
]


@pytest.mark.parametrize(("event", "arguments"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_nonsense_is_refused_in_words_and_harms_nobody(
    loop: RunningLoop, event: str, arguments: tuple[Any, ...]
) -> None:
    async def story() -> None:
        async with Node(loop) as node:
            answer = await node.tell(event, *arguments)
            assert not answer["success"]
            assert len(answer["error_msg"]) > 10
            await node.told("update_trainer", TRAINER_STATUS)

    asyncio.run(story())


@pytest.mark.parametrize(
    "text",
    [
        '451-["update_trainer",{"_placeholder":true,"num":0}]',
        "42" + "[" * 100_000,
        '42["update_trainer",' + "[" * 5000 + "]" * 5000 + "]",
        "42{",
        "49",
    ],
    ids=["binary data announced", "brackets", "depth", "no JSON", "no such packet"],
)
def test_what_is_no_event_does_not_disturb_others(loop: RunningLoop, text: str) -> None:
    async def story() -> None:
        async with Node(loop) as bystander, aiohttp.ClientSession() as session:
            url = f"{loop.url}/ws/socket.io/?EIO=4&transport=websocket"
            async with session.ws_connect(url) as raw:
                await raw.receive()
                await raw.send_str("40")
                await raw.receive()
                await raw.send_str(text)
                await asyncio.sleep(0.1)
            await bystander.told("update_trainer", TRAINER_STATUS)

    asyncio.run(story())


def test_connections_are_bounded(small_loop: RunningLoop) -> None:
    async def story() -> None:
        async with Node(small_loop) as first, Node(small_loop, transports=["websocket"]), Node(small_loop):
            with pytest.raises(socketio.exceptions.ConnectionError, match="429"):
                await Node(small_loop).__aenter__()
            await first.told("update_trainer", TRAINER_STATUS)

    asyncio.run(story())


def test_messages_are_bounded(loop: RunningLoop) -> None:
    async def story() -> None:
        async with Node(loop, transports=["websocket"]) as large:
            with pytest.raises(socketio.exceptions.SocketIOError):
                await large.client.call("update_trainer", {"id": "x" * 5_000_000}, timeout=5)

    asyncio.run(story())


def test_nodes_without_end_do_not_fill_memory_and_disk(loop: RunningLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    count = loop.http.get("/api/nodes").json()["nodes"]
    monkeypatch.setattr("appliance.loop_server.nodes.MAX_NODES", len(count) + 2)

    async def story() -> None:
        for number in range(4):
            async with Node(loop) as node:
                await node.told("update_trainer", {**TRAINER_STATUS, "id": f"one of many {number}"})

    asyncio.run(story())
    ids = {node["id"] for node in loop.http.get("/api/nodes").json()["nodes"]}
    assert len(ids) == len(count) + 2
    assert "one of many 3" in ids
