"""Claiming the box, logging in and out: who may, and how often somebody may be wrong.

claimed    from                               what it takes
no         loopback, a trusted network        nothing: whoever is there sets the first password
no         anywhere else                      the one-time code that the first start says
yes        anywhere                           the password opens a session
yes        this machine                       may set or clear the password without knowing it
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable

from access import Caller, Evidence, Kind, Login, Reason
from appliance.hashing import MAX_PASSWORD, Hashing, check_password
from appliance.passwords import SET_HERE, Kept, PasswordFile, make_code, plain
from appliance.sessions import Sessions, presented
from appliance.signing import secret_in
from appliance.throttle import Throttle
from models.errors import AccessDenied, InvalidInput, SettingsInvalid, StorageRefused, TooManyTries, WrongPassword
from models.uninterrupted import in_thread, to_its_end

SIGNING_KEY_FILE = "session.key"
"""Name inside the data folder."""

WRONG_PER_MINUTE = 6
"""Wrong passwords and codes that one network may send in a minute."""

WITHOUT_CODE = frozenset({Kind.LOOPBACK, Kind.TRUSTED})
"""Who may claim the box without the code."""

log = logging.getLogger(__name__)


class Logins:
    """One box's password and sessions. `clock` counts seconds; `announce` tells whoever starts the box a sentence."""

    def __init__(
        self,
        passwords: PasswordFile,
        sessions: Sessions,
        clock: Callable[[], float],
        announce: Callable[[str], None],
        hashing: Hashing | None = None,
    ) -> None:
        self.sessions = sessions
        self.problem: str | None = None
        """Why nobody can log in, as a sentence; None if somebody can."""
        self._passwords = passwords
        self._announce = announce
        self._hashing = hashing or Hashing(at_once=1)  # strangers shall not take the processor from detection
        self._tries = Throttle(WRONG_PER_MINUTE, clock)
        self._kept = Kept()
        self._changing = asyncio.Lock()

    @property
    def claimed(self) -> bool:
        """Whether there is a password; a file that cannot be understood may hold one."""
        return self._kept.password is not None or self.problem is not None

    async def start(self) -> None:
        """Read what is kept; an unclaimed box gets its code, which is said this once.

        A disk that refuses keeps no box from detecting: what cannot be stored holds until the next start.
        """
        try:
            self._kept = await asyncio.to_thread(self._passwords.load)
        except SettingsInvalid as error:
            self.problem = str(error)
            log.error("%s", error)
        path, files = self._passwords.path.with_name(SIGNING_KEY_FILE), self._passwords.files
        try:
            secret = await asyncio.to_thread(secret_in, path, files)
        except StorageRefused as error:
            log.error("sessions end with the next start: %s", error)
            secret = secrets.token_bytes()
        await self.sessions.start(secret, self._kept.fingerprint)
        if not self.claimed and self._kept.code is None:
            code = make_code()
            self._kept = Kept(code=await self._hashing.hash(plain(code)))
            try:
                await asyncio.to_thread(self._passwords.save, self._kept)
            except StorageRefused as error:
                log.error("the one-time code holds until the next start: %s", error)
            self._say(code)

    async def close(self) -> None:
        """Write down what is still to be written."""
        await self.sessions.close()

    def recognise(self, evidence: Evidence) -> Login | Reason | None:
        """See `access.Recognise`."""
        if presented(evidence) is None:
            return None
        return Login(Kind.ADMINISTRATOR, "") if self.sessions.find(evidence) is not None else Reason.LOGIN

    def remark(self) -> str:
        """What strangers are told besides, as things stand."""
        if self.problem is not None:
            return self.problem
        if self.claimed:
            return "People log in at /login."
        return (
            "Nobody has set a password for this box yet: that is done at /claim, with the code that its first start said "
            f"in the log, or with `{SET_HERE}` on the box."
        )

    def needs_code(self, caller: Caller) -> bool:
        """Whether this caller needs the one-time code to claim the box."""
        return caller.kind not in WITHOUT_CODE

    async def log_in(self, password: str, caller: Caller, agent: str = "") -> str:
        """Open a session; the value of its cookie. Raises `WrongPassword`, `TooManyTries`, `AccessDenied`."""
        if not self.claimed:
            raise AccessDenied("Nobody has set a password for this box yet: claim it first, at /claim.")
        await self._demand(password, caller)
        return await self.sessions.open(caller.address, agent)

    async def claim(self, password: str, code: str, caller: Caller, agent: str = "") -> str:
        """Set the first password, and open a session; the value of its cookie.

        Raises `AccessDenied` where there is a password, `InvalidInput` for one that is too short, `WrongPassword` for a wrong
        code, `TooManyTries`, `StorageRefused`.
        """
        self._refuse_claimed()
        check_password(password)
        if self.needs_code(caller) and not await self._try(self._kept.code, plain(code), caller):
            raise WrongPassword(
                "That is not the one-time code: the first start of the box said it in its log. On the box itself "
                f"`{SET_HERE}` works without."
            )
        async with self._changing:
            self._refuse_claimed()  # somebody else may have been quicker
            await self._keep(Kept(password=await self._hashing.hash(password)))
        log.info("the box was claimed from %s", caller.address or "somewhere")
        return await self.sessions.open(caller.address, agent)

    def needs_current(self, caller: Caller) -> bool:
        """Whether this caller has to know the password to set another one."""
        return self.claimed and caller.kind is not Kind.LOOPBACK

    async def change(self, password: str, current: str, caller: Caller, session: str | None = None) -> int:
        """Set another password, which ends every session but the one of the id `session`, that of who asks; how many.

        The first one is set as `claim` does. On this machine the current one need not be known. Raises as `claim`.
        """
        check_password(password)
        if not self.claimed and self.needs_code(caller):
            raise AccessDenied("Nobody has set a password for this box yet: claim it first, with the code, at /claim.")
        if self.needs_current(caller):
            await self._demand(current, caller)
        async with self._changing:
            ended = await self._keep(Kept(password=await self._hashing.hash(password)), session)
        log.info("the password was set from %s; %d sessions have ended", caller.address or "somewhere", ended)
        return ended

    async def clear(self, current: str, caller: Caller) -> str:
        """Take the password away, which ends every session; the new one-time code. Raises as `change`."""
        if self.needs_current(caller):
            await self._demand(current, caller)
        elif not self.claimed and self.needs_code(caller):
            raise InvalidInput("Nobody has set a password for this box yet, so there is none to take away.")
        code = make_code()
        async with self._changing:
            await self._keep(Kept(code=await self._hashing.hash(plain(code))))
        log.warning("the password was cleared from %s; every session has ended", caller.address or "somewhere")
        return code

    def _say(self, code: str) -> None:
        self._announce(
            f"Nobody has set a password for this box yet. From another machine that takes the one-time code {code} (at "
            f"/claim); on this one `{SET_HERE}` works without. Until then other machines can change nothing."
        )

    async def _keep(self, kept: Kept, session: str | None = None) -> int:
        return await to_its_end(self._replace(kept, session))

    async def _replace(self, kept: Kept, session: str | None) -> int:
        await in_thread(self._passwords.save, kept)
        self._kept, self.problem = kept, None
        return await self.sessions.end_all(kept.fingerprint, but=session)

    def _refuse_claimed(self) -> None:
        if self.problem is not None:
            raise AccessDenied(self.problem)
        if self.claimed:
            raise AccessDenied("This box has a password already: log in with it, then it can be changed.")

    async def _demand(self, password: str, caller: Caller) -> None:
        if self.problem is not None:
            raise AccessDenied(self.problem)
        if not await self._try(self._kept.password, password, caller):
            raise WrongPassword(
                f"That is not the password. Whoever forgot it sets another one on the box: `{SET_HERE}`."
            )

    async def _try(self, hashed: str | None, text: str, caller: Caller) -> bool:
        """Whether that is it. A try counts before its outcome is known: else many at once would count for none."""
        wait = self._tries.wait(caller.address)
        if wait:
            raise TooManyTries("Too many wrong tries came from your network; wait a little", wait)
        self._tries.take(caller.address)
        kept = self._kept
        right = hashed is not None and len(text) <= MAX_PASSWORD and await self._hashing.matches(hashed, text)
        if right and kept is self._kept:  # and nobody changed it meanwhile
            self._tries.take(caller.address, -1.0)
        else:
            right = False
            log.warning("a wrong password or code came from %s", caller.address or "somewhere")
        return right
