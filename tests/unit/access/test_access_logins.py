"""Where people log in: what administrators, users and nameless nodes may do, and how long a password may take."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from access import (
    Access,
    AccessMiddleware,
    AccessPolicy,
    AccessTable,
    Caller,
    Evidence,
    Kind,
    Login,
    Reason,
    Refusals,
    Right,
    SocketCallers,
    WayIn,
    caller_in,
)
from models.errors import AccessDenied

STRANGER = "203.0.113.9"

TABLE = AccessTable({f"GET /{right.value.replace(' ', '-')}": right for right in Right}, {"speak": Right.NODE})


def recognise(evidence: Evidence) -> Login | Reason | None:
    for text in evidence.texts(b"cookie"):
        return Login(Kind(text), f"the {text}") if text in {"administrator", "user", "node"} else Reason(text)
    return None


def policy() -> AccessPolicy:
    return AccessPolicy(
        TABLE,
        WayIn("Log in.", 'Basic realm="here"'),
        open_detection=False,
        recognise=recognise,
    )


def scope(path: str, cookie: str | None = None, client: str = STRANGER) -> dict[str, Any]:
    headers = [(b"host", b"localhost")] + ([(b"cookie", cookie.encode())] if cookie else [])
    return {"type": "http", "method": "GET", "path": path, "client": (client, 4711), "headers": headers}


@pytest.mark.parametrize(
    ("cookie", "rights"),
    [
        (None, {"open"}),
        ("login", {"open"}),
        ("node", {"open", "detect", "node"}),
        ("user", {"open", "detect", "node", "change or see"}),
        ("administrator", {"open", "detect", "node", "change or see", "administrate"}),
    ],
)
def test_what_each_of_them_may_do(cookie: str | None, rights: set[str]) -> None:
    allowed = set()
    for right in Right:
        caller, refusal = policy().judge(scope("/" + right.value.replace(" ", "-"), cookie))
        if refusal is None:
            allowed.add(right.value)
        else:
            assert refusal.status == (401 if caller.is_stranger else 403)
    assert allowed == rights


def test_this_machine_needs_no_login_and_a_wrong_one_does_not_harm_it() -> None:
    caller, refusal = policy().judge(scope("/administrate", "login", client="127.0.0.1"))
    assert (caller.kind, refusal) == (Kind.LOOPBACK, None)


@pytest.mark.parametrize(
    ("cookie", "status", "words"),
    [
        (None, 401, "203.0.113.9 is in no trusted network"),
        ("login", 401, "User name and password are not known here, or the session is over. Log in."),
        ("tries", 429, "Too many wrong passwords came from 203.0.113.9 lately; try again in a minute. Log in."),
        ("node", 403, "A node that has logged in without a name may not do this; log in as somebody who may."),
        ("user", 403, "A user may not do this; log in as somebody who may."),
    ],
)
def test_a_refusal_says_what_would_help(cookie: str | None, status: int, words: str) -> None:
    _, refusal = policy().judge(scope("/administrate", cookie))
    assert refusal is not None
    assert refusal.status == status
    assert words in refusal.sentence


class Server:
    """The middleware, with somebody who checks passwords."""

    def __init__(self) -> None:
        self.prepared: list[str] = []
        self.known: set[str] = set()
        self.reached: list[MutableMapping[str, Any]] = []
        deciding = AccessPolicy(TABLE, WayIn("Log in.", "Basic"), recognise=self.recognise)
        self.access = Access(deciding, Refusals(lambda: 0.0))

    def recognise(self, evidence: Evidence) -> Login | Reason | None:
        words = evidence.texts(b"authorization")
        if not words:
            return None
        return Login(Kind.USER, words[0]) if words[0] in self.known else Reason.LOGIN

    async def prepare(self, evidence: Evidence, address: str) -> None:
        await asyncio.sleep(0)
        self.prepared.append(address)
        self.known |= {word for word in evidence.texts(b"authorization") if word != "wrong"}

    def ask(self, path: str, word: str, client: str = STRANGER) -> list[MutableMapping[str, Any]]:
        request = scope(path, client=client)
        request["headers"].append((b"authorization", word.encode()))
        sent: list[MutableMapping[str, Any]] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.reached.append(scope)

        async def receive() -> MutableMapping[str, Any]:
            raise AssertionError("the middleware has no business with the body")

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        asyncio.run(AccessMiddleware(app, self.access, self.prepare)(request, receive, send))
        return sent


def test_a_password_is_checked_before_anybody_is_refused_and_only_then() -> None:
    server = Server()
    assert server.ask("/change-or-see", "right") == []
    assert caller_in(server.reached[0]) == Caller(Kind.USER, STRANGER, user_name="right")
    assert server.prepared == [STRANGER]
    server.ask("/change-or-see", "right")  # known by now
    server.ask("/open", "wrong")
    server.ask("/change-or-see", "wrong", client="127.0.0.1")
    server.ask("/administrate", "right")  # no password would help
    assert server.prepared == [STRANGER]
    start, body = server.ask("/change-or-see", "wrong")
    assert (start["status"], server.prepared) == (401, [STRANGER] * 2)
    assert (b"www-authenticate", b"Basic") in start["headers"]
    assert json.loads(body["body"])["detail"].endswith("Log in.")


def test_who_tries_too_often_is_told_when_to_come_back() -> None:
    server = Server()
    server.access.policy = policy()
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def never(*_: Any) -> Any:
        raise AssertionError("not to be called")

    asyncio.run(AccessMiddleware(never, server.access)(scope("/node", "tries"), never, send))
    assert sent[0]["status"] == 429
    assert (b"retry-after", b"60") in sent[0]["headers"]


def test_a_session_counts_for_events_as_long_as_it_holds() -> None:
    access = Access(policy(), Refusals(lambda: 0.0))
    sockets = SocketCallers(access)
    assert sockets.connected("sid", scope("/ws/socket.io/", "node")).kind is Kind.NODE
    assert sockets.demand("sid", "speak").kind is Kind.NODE
    with pytest.raises(AccessDenied, match="A node that has logged in without a name may not do this"):
        sockets.demand("sid", "anything else")


class Talk:
    """A WebSocket to a page whose session can end, from the side of the server."""

    def __init__(self, cookie: str, path: str) -> None:
        self.words = {cookie}
        self.looked = 0
        self.arriving: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self.sent: list[MutableMapping[str, Any]] = []
        self.heard: list[MutableMapping[str, Any]] = []
        self.page: asyncio.Queue[str] = asyncio.Queue()
        table = AccessTable({"WEBSOCKET /open": Right.OPEN}, {})
        deciding = AccessPolicy(table, WayIn("Log in.", "Basic"), recognise=self.recognise)
        self._middleware = AccessMiddleware(self.app, Access(deciding, Refusals(lambda: 0.0)), look_again=0.01)
        self._scope = {**scope(path, cookie), "type": "websocket"}

    def recognise(self, evidence: Evidence) -> Login | Reason | None:
        self.looked += 1
        known = any(text in self.words for text in evidence.texts(b"cookie"))
        return Login(Kind.ADMINISTRATOR, "") if known else Reason.LOGIN

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

        async def tell() -> None:
            while True:
                await send({"type": "websocket.send", "text": await self.page.get()})

        telling = asyncio.create_task(tell())
        while not self.heard or self.heard[-1]["type"] != "websocket.disconnect":
            self.heard.append(await receive())
        telling.cancel()

    async def run(self, story: Any) -> None:
        async def send(message: MutableMapping[str, Any]) -> None:
            self.sent.append(message)
            if message["type"] == "websocket.close":
                await self.arriving.put({"type": "websocket.disconnect", "code": message["code"]})

        talking = asyncio.create_task(self._middleware(self._scope, self.arriving.get, send))
        await story()
        await asyncio.wait_for(talking, 10)

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.mark.parametrize("first", ["the page is told", "the visitor acts"])
def test_when_a_session_ends_its_open_page_is_told_nothing_more_and_can_do_nothing_more(first: str) -> None:
    async def main() -> None:
        talk = Talk("mine", "/change-or-see")

        async def story() -> None:
            await talk.page.put("a picture")
            await talk.arriving.put({"type": "websocket.receive", "text": "a tap"})
            await talk.settle()
            talk.words.clear()
            if first == "the page is told":
                await talk.page.put("another picture")
                await talk.page.put("and another")
            else:
                await talk.arriving.put({"type": "websocket.receive", "text": "another tap"})

        await talk.run(story)
        assert [each.get("text") for each in talk.sent if each["type"] == "websocket.send"] == ["a picture"]
        assert [each.get("text") for each in talk.heard if each["type"] == "websocket.receive"] == ["a tap"]
        assert [each["code"] for each in talk.sent if each["type"] == "websocket.close"] == [1008]

    asyncio.run(main())


def test_when_a_session_ends_its_open_page_is_closed_though_nothing_passes() -> None:
    async def main() -> None:
        talk = Talk("mine", "/change-or-see")

        async def story() -> None:
            await talk.settle()
            talk.words.clear()

        await talk.run(story)
        assert [each["type"] for each in talk.heard] == ["websocket.disconnect"]
        assert [each["code"] for each in talk.sent if each["type"] == "websocket.close"] == [1008]

    asyncio.run(main())


def test_a_socket_whose_session_holds_is_left_alone_however_long_it_is_silent() -> None:
    async def main() -> None:
        talk = Talk("mine", "/change-or-see")

        async def story() -> None:
            before = talk.looked
            while talk.looked < before + 5:
                await asyncio.sleep(0.001)
            await talk.arriving.put({"type": "websocket.receive", "text": "a tap"})
            await talk.settle()
            await talk.arriving.put({"type": "websocket.disconnect", "code": 1000})

        await talk.run(story)
        assert [each["type"] for each in talk.heard] == ["websocket.receive", "websocket.disconnect"]
        assert talk.sent == [{"type": "websocket.accept"}]

    asyncio.run(main())


def test_a_question_that_waits_for_its_answer_is_refused_as_soon_as_the_session_ends() -> None:
    words, sent, left = {"mine"}, [], []

    def who(evidence: Evidence) -> Login | Reason | None:
        return Login(Kind.ADMINISTRATOR, "") if evidence.texts(b"cookie")[0] in words else Reason.LOGIN

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        words.clear()
        try:
            await asyncio.Event().wait()  # a poll on which nothing is told
        finally:
            left.append(True)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    access = Access(AccessPolicy(TABLE, WayIn("Log in.", "Basic"), recognise=who), Refusals(lambda: 0.0))
    middleware = AccessMiddleware(app, access, look_again=0.01)
    asyncio.run(asyncio.wait_for(middleware({**scope("/change-or-see", "mine"), "method": "GET"}, receive, send), 10))
    assert [each.get("status") for each in sent] == [401, None]
    assert left, "nothing is left behind"


def test_a_socket_that_is_open_to_everybody_stays_open() -> None:
    async def main() -> None:
        talk = Talk("mine", "/open")

        async def story() -> None:
            await talk.settle()
            talk.words.clear()
            await talk.page.put("the news")
            await talk.settle()
            await talk.arriving.put({"type": "websocket.disconnect", "code": 1000})

        await talk.run(story)
        assert [each.get("text") for each in talk.sent if each["type"] == "websocket.send"] == ["the news"]

    asyncio.run(main())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_question_that_was_open_when_the_session_ended_is_not_answered_but_what_was_done_is(method: str) -> None:
    words = {"mine"}

    def who(evidence: Evidence) -> Login | Reason | None:
        return Login(Kind.ADMINISTRATOR, "") if evidence.texts(b"cookie")[0] in words else Reason.LOGIN

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        words.clear()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a picture"})

    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    deciding = AccessPolicy(TABLE, WayIn("Log in.", "Basic"), recognise=who)
    asked = {**scope("/change-or-see", "mine"), "method": method}
    asyncio.run(AccessMiddleware(app, Access(deciding, Refusals(lambda: 0.0)))(asked, receive, send))
    if method == "GET":
        assert [each.get("status") for each in sent] == [401, None]
        assert b"a picture" not in sent[-1]["body"]
    else:
        assert sent[-1]["body"] == b"a picture"


def test_a_browser_is_sent_to_the_entrance_and_is_no_refusal() -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def never(*_: Any) -> Any:
        raise AssertionError("not to be called")

    access = Access(policy(), Refusals(lambda: 0.0))
    middleware = AccessMiddleware(never, access, entrance=lambda scope: "/login" if scope["path"] == "/node" else None)
    asyncio.run(middleware(scope("/node"), never, send))
    assert (sent[0]["status"], dict(sent[0]["headers"])[b"location"]) == (303, b"/login")
    assert access.refusals.snapshot() == []
    asyncio.run(middleware(scope("/administrate"), never, send))
    assert sent[2]["status"] == 401
    assert len(access.refusals.snapshot()) == 1
    asyncio.run(middleware({**scope("/node"), "headers": [(b"host", b"evil.example")]}, never, send))
    assert sent[4]["status"] == 403, "who comes under another name gets no page"
