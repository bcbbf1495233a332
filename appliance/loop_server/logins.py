"""Who has logged in: signed cookies, and HTTP Basic.

A cookie holds the user's name, the fingerprint of the password and the end of the session, signed with a secret that
lies in the data folder. A login with neither name nor password is a detector's: its cookie names nobody.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable

from starlette.requests import cookie_parser

from access import Evidence, Kind, Login, Reason
from appliance.loop_server.users import User, Users
from appliance.signing import Signer
from appliance.throttle import Throttle
from models.errors import LoginFailed, LoopBusy

log = logging.getLogger(__name__)

COOKIE = "loop_session"
SESSION_SECONDS = 30 * 24 * 3600
WRONG_PER_MINUTE = 30
"""Wrong passwords that one network may send in a minute."""

MAX_REMEMBERED = 1024
_MAX_CREDENTIALS = 2048  # characters of a Basic header


class Logins:
    """Opens sessions and recognises them. `clock` is in seconds since 1970.

    What `prepare` has found out of Basic credentials is remembered under a keyed hash of them, so that a password is hashed
    once and not with each request.
    """

    def __init__(self, users: Users, clock: Callable[[], float]) -> None:
        self._users = users
        self._clock = clock
        self._signer: Signer | None = None
        self._wrong = Throttle(WRONG_PER_MINUTE, clock)
        self._salt = secrets.token_bytes(32)
        self._basic: OrderedDict[bytes, User | Reason] = OrderedDict()

    def sign_with(self, secret: bytes) -> None:
        """Before the first session."""
        self._signer = Signer(secret)

    async def log_in(self, name: str, password: str, address: str) -> str:
        """The cookie of a new session; nothing given at all is a detector's login. Raises `LoginFailed`, `LoopBusy`."""
        if not name and not password:
            return self._cookie("", "")
        user = await self._verify(name, password, address)
        return self._cookie(user.name, user.fingerprint)

    async def prepare(self, evidence: Evidence, address: str) -> None:
        """Check Basic credentials that are not known to be right. Never raises: `recognise` tells what came out."""
        credentials = _presented(evidence)
        if credentials is None:
            return
        found: User | Reason
        try:
            found = await self._verify(*credentials, address)
        except LoginFailed:
            found = Reason.LOGIN
        except LoopBusy:
            found = Reason.TRIES
        key = self._key(*credentials)
        self._basic[key] = found
        self._basic.move_to_end(key)
        if len(self._basic) > MAX_REMEMBERED:
            self._basic.popitem(last=False)

    def recognise(self, evidence: Evidence) -> Login | Reason | None:
        """See `access.Recognise`. Basic counts before a cookie."""
        credentials = _presented(evidence)
        if credentials is not None:
            found = self._basic.get(self._key(*credentials), Reason.LOGIN)
            if isinstance(found, User):  # and still the same, password included
                return _login(found) if self._users.find(found.name) == found else Reason.LOGIN
            return found
        for text in evidence.texts(b"cookie"):
            value = cookie_parser(text).get(COOKIE)
            if value is not None:
                return self._session(value) or Reason.LOGIN
        return None

    async def _verify(self, name: str, password: str, address: str) -> User:
        wait = self._wrong.wait(address)
        if wait:
            raise LoopBusy("Too many wrong passwords came from your network; try again later", retry_after=wait)
        self._wrong.take(address)  # before the outcome is known: else many at once would count for none
        user = await self._users.verify(name, password)
        if user is not None:
            self._wrong.take(address, -1.0)
        else:
            log.warning("wrong user name or password from %s", address)
            raise LoginFailed("User name or password are wrong")
        return user

    def _cookie(self, name: str, fingerprint: str) -> str:
        assert self._signer is not None, "sign_with comes first"
        return self._signer.sign([name, fingerprint, int(self._clock()) + SESSION_SECONDS])

    def _session(self, value: str) -> Login | None:
        assert self._signer is not None, "sign_with comes first"
        signed = self._signer.read(value)
        if not isinstance(signed, list):
            return None
        name, fingerprint, end = signed  # as `_cookie` writes it: nobody else can sign
        if end < self._clock():
            return None
        if not name:
            return Login(Kind.NODE, "")
        user = self._users.find(name)
        return _login(user) if user is not None and user.fingerprint == fingerprint else None

    def _key(self, name: str, password: str) -> bytes:
        return hmac.digest(self._salt, f"{name}:{password}".encode(), hashlib.sha256)


def _login(user: User) -> Login:
    return Login(Kind.ADMINISTRATOR if user.role == "admin" else Kind.USER, user.name)


def _presented(evidence: Evidence) -> tuple[str, str] | None:
    """User name and password of the header `Authorization: Basic …` (RFC 7617); None where there is no such thing."""
    for text in evidence.texts(b"authorization")[:1]:
        scheme, _, encoded = text.partition(" ")
        if scheme.lower() != "basic" or len(encoded) > _MAX_CREDENTIALS:
            continue
        try:
            name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            continue
        if colon:
            return name, password
    return None
