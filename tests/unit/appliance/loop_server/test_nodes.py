"""Who is there, who was, and how often that is written down."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import event

from appliance.loop_server.db import Database
from appliance.loop_server.nodes import MAX_ID, Nodes
from models.errors import InvalidInput, LoopRefused, NotInLoop
from tests.unit.appliance.loop_server.conftest import Story

STATUS: dict[str, Any] = {"name": "gpu server", "state": "idle", "uptime": 1.0, "progress": None}


class Line:
    """What was said to whom; answers are given beforehand."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, tuple[Any, ...]]] = []
        self.answer: Any = {"success": True}

    async def call(self, sid: str, event: str, arguments: tuple[Any, ...], timeout: float) -> Any:
        self.said.append((sid, event, arguments))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def emit(self, sid: str, event: str) -> None:
        self.said.append((sid, event, ()))


class Hall:
    """Nodes of a loop, with a clock that is moved by hand."""

    def __init__(self, database: Database) -> None:
        self.now = datetime(2024, 1, 31, tzinfo=timezone.utc)
        self.line = Line()
        self.nodes = Nodes(database, self.line, lambda: self.now)
        self.writes = 0

        def count(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
            self.writes += statement.startswith(("INSERT", "UPDATE"))

        event.listen(database._engine, "before_cursor_execute", count)

    async def told(self, seconds: float = 0.0, sid: str = "sid", **more: Any) -> int:
        """A status, so much later; returns how many rows were written."""
        self.now += timedelta(seconds=seconds)
        self.writes = 0
        await self.nodes.told(sid, "trainer", "trainer 1", {**STATUS, **more})
        return self.writes


def test_a_status_that_says_nothing_new_is_written_once_a_minute(with_database: Story[None]) -> None:
    """Trainers tell theirs every five seconds; the disk is a memory card."""

    async def story(database: Database) -> None:
        hall = Hall(database)
        hall.nodes.connected("sid")
        assert await hall.told() > 0, "the first one"
        assert [await hall.told(5, uptime=float(second)) for second in range(11)] == [0] * 11
        assert await hall.told(5) == 1, "a minute has passed"
        assert await hall.told(5, state="running") == 1, "news"
        assert await hall.told(5, state="running", progress=0.5) == 0
        assert hall.nodes.node("trainer 1").status["progress"] == 0.5, "it is known all the same"

    with_database(story)


def test_a_status_that_comes_after_the_end_of_its_connection_makes_nobody_present(with_database: Story[None]) -> None:
    async def story(database: Database) -> None:
        hall = Hall(database)
        hall.nodes.connected("sid")
        await hall.told()
        assert hall.nodes.node("trainer 1").online
        assert [node.online for node in hall.nodes.gone("sid")] == [False]
        await hall.told(1)
        assert not hall.nodes.node("trainer 1").online
        hall.nodes.connected("new")
        await hall.told(1, sid="new")
        assert hall.nodes.gone("sid") == []
        assert hall.nodes.node("trainer 1").online

    with_database(story)


def test_nodes_are_remembered_but_not_as_present(with_database: Story[None]) -> None:
    async def before(database: Database) -> None:
        hall = Hall(database)
        hall.nodes.connected("sid")
        await hall.told(context={"organization": "o", "project": "p"})

    async def after(database: Database) -> None:
        hall = Hall(database)
        await hall.nodes.start()
        [node] = hall.nodes.known("trainer")
        assert node.shown().items() >= {**STATUS, "kind": "trainer", "online": False}.items()
        assert hall.nodes.known("annotation_node") == []
        with pytest.raises(LoopRefused, match=r"'gpu server' is not connected.*last seen 2024-01-31") as refused:
            await hall.nodes.call("trainer 1", "stop_training", timeout=1)
        assert refused.value.status == 409
        with pytest.raises(NotInLoop, match="has ever connected"):
            await hall.nodes.tell("trainer 2", "restart")

    with_database(before)
    with_database(after)


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (TimeoutError(), 504, "did not answer begin_training within 3 s"),
        ({"success": False, "error_msg": "busy"}, 409, "says no to begin_training: busy"),
        ({"success": False}, 409, "without a reason"),
        ("yes", 502, "no answer"),
        ({}, 502, "no answer"),
        ([True], 502, "no answer"),
    ],
)
def test_a_no_and_a_silence_are_told_as_such(with_database: Story[None], answer: Any, status: int, says: str) -> None:
    async def story(database: Database) -> None:
        hall = Hall(database)
        hall.nodes.connected("sid")
        await hall.told()
        hall.line.answer = answer
        with pytest.raises(LoopRefused, match=says) as refused:
            await hall.nodes.call("trainer 1", "begin_training", "o", "p", {}, timeout=3)
        assert refused.value.status == status
        assert hall.line.said == [("sid", "begin_training", ("o", "p", {}))]

    with_database(story)


@pytest.mark.parametrize(("answer", "payload"), [({"success": True, "payload": "<svg/>"}, "<svg/>"), (None, None)])
def test_an_answer_is_handed_on(with_database: Story[None], answer: Any, payload: Any) -> None:
    async def story(database: Database) -> None:
        hall = Hall(database)
        hall.nodes.connected("sid")
        await hall.told()
        hall.line.answer = answer
        assert await hall.nodes.call("trainer 1", "handle_user_input", {}, timeout=3) == payload

    with_database(story)


def test_who_was_away_longest_is_forgotten_first_and_who_is_there_never(
    with_database: Story[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.loop_server.nodes.MAX_NODES", 2)

    async def story(database: Database) -> None:
        hall = Hall(database)
        hall.nodes.connected("a")
        hall.nodes.connected("b")
        for name, sid in (("old", "a"), ("older", "b")):
            await hall.nodes.told(sid, "trainer", name, STATUS)
        hall.nodes.gone("b")
        await hall.nodes.told("a", "trainer", "new", STATUS)
        assert {node.id for node in hall.nodes.known()} == {"old", "new"}
        with pytest.raises(LoopRefused, match="2 nodes are connected"):
            await hall.nodes.told("a", "trainer", "one too many", STATUS)

        await hall.nodes.start()
        assert {node.id for node in hall.nodes.known()} == {"old", "new"}, "on the disk, too"

    with_database(story)


@pytest.mark.parametrize("name", ["", "a\0b", "x" * (MAX_ID + 1), "\n"])
def test_ids_that_no_database_could_hold_are_refused(with_database: Story[None], name: str) -> None:
    async def story(database: Database) -> None:
        with pytest.raises(InvalidInput, match="id of a node"):
            await Hall(database).nodes.told("sid", "trainer", name, STATUS)

    with_database(story)
