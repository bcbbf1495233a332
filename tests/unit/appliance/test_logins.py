"""Who may claim a box, log in and change its password, and how often somebody may be wrong; the clock is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from access import Caller, Evidence, Kind, Login, Reason
from appliance.hashing import MAX_WAITING, Hashing
from appliance.logins import WRONG_PER_MINUTE, Logins
from appliance.passwords import FILE_NAME, PasswordFile, clear_password, make_code, plain, set_password
from appliance.sessions import COOKIE, Sessions
from appliance.sessions import FILE_NAME as SESSIONS_FILE
from models.errors import AccessDenied, InvalidInput, StorageRefused, TooManyTries, WrongPassword
from models.files import FILE_SYSTEM, FileSystem
from tests.support.crashing_files import disks_after_every_cut
from tests.support.held_threads import Held, HeldFiles

HERE = Caller(Kind.LOOPBACK, "127.0.0.1")
TRUSTED = Caller(Kind.TRUSTED, "198.51.100.4")
KEY = Caller(Kind.KEY, "203.0.113.9", key_name="robot-7")
STRANGER = Caller(Kind.STRANGER, "203.0.113.7", reason=Reason.NETWORK)
NEIGHBOUR = Caller(Kind.STRANGER, "203.0.113.8", reason=Reason.NETWORK)
LOGGED_IN = Caller(Kind.ADMINISTRATOR, "203.0.113.7", user_name="")
PASSWORD, OTHER = "correct horse", "battery staple"

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class House:
    """A data folder with logins that are started anew for each story."""

    def __init__(self, folder: Path, files: FileSystem = FILE_SYSTEM) -> None:
        self.now = 1_700_000_000.0
        self.said: list[str] = []
        self.file = PasswordFile(folder / FILE_NAME, files)
        self.folder = folder
        self.hashing = Hashing(QUICK, at_once=1)

    async def start(self) -> Logins:
        sessions = Sessions(self.folder / SESSIONS_FILE, self.file.files, lambda: self.now)
        logins = Logins(self.file, sessions, lambda: self.now, self.said.append, self.hashing)
        await logins.start()
        return logins

    def run(self, story: Callable[[Logins], Awaitable[None]]) -> None:
        async def told() -> None:
            logins = await self.start()
            await story(logins)
            await logins.close()

        asyncio.run(told())


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def claimed(house: House) -> House:
    set_password(house.file, PASSWORD, QUICK)
    return house


def known(logins: Logins, cookie: str) -> Login | Reason | None:
    return logins.recognise(Evidence("203.0.113.7", {b"cookie": [f"{COOKIE}={cookie}".encode()]}))


@pytest.mark.parametrize("caller", [HERE, TRUSTED], ids=lambda caller: caller.kind.value)
def test_who_may_do_everything_by_address_needs_no_code(house: House, caller: Caller) -> None:
    async def story(logins: Logins) -> None:
        assert not logins.needs_code(caller)
        cookie = await logins.claim(PASSWORD, "", caller)
        assert known(logins, cookie) == Login(Kind.ADMINISTRATOR, "")
        assert logins.claimed

    house.run(story)


@pytest.mark.parametrize("caller", [STRANGER, KEY, LOGGED_IN], ids=lambda caller: caller.kind.value)
def test_all_others_need_the_code(house: House, caller: Caller) -> None:
    async def story(logins: Logins) -> None:
        code = house.said[0].split("code ")[1].split()[0]
        for wrong in ("", "aaaa-aaaa", code[:-1], code + "2", "x" * 10_000):
            with pytest.raises(WrongPassword):
                await logins.claim(PASSWORD, wrong, caller)
            house.now += 60
        for act in (logins.change(PASSWORD, "", caller), logins.log_in(PASSWORD, caller)):
            with pytest.raises(AccessDenied):
                await act
        assert not logins.claimed
        await logins.claim(PASSWORD, f"  {code.replace('-', '').upper()}\n", caller)
        assert logins.claimed

    house.run(story)


def test_the_code_is_said_once_and_counts_once(house: House) -> None:
    async def story(logins: Logins) -> None:
        assert len(house.said) == 1
        code = house.said[0].split("code ")[1].split()[0]
        assert code not in house.file.path.read_text()
        await logins.claim(PASSWORD, code, STRANGER)
        with pytest.raises(AccessDenied, match="has a password already"):
            await logins.claim(OTHER, code, STRANGER)

    async def nothing(_logins: Logins) -> None:
        pass

    house.run(nothing)
    house.run(story)
    house.run(nothing)
    assert len(house.said) == 1


def test_of_two_who_claim_at_once_one_has_the_box(house: House) -> None:
    async def story(logins: Logins) -> None:
        both = [logins.claim(PASSWORD, "", HERE), logins.claim(OTHER, "", TRUSTED)]
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert [type(each) for each in outcomes if not isinstance(each, str)] == [AccessDenied]
        winner = PASSWORD if isinstance(outcomes[0], str) else OTHER
        await logins.log_in(winner, STRANGER)

    house.run(story)


def test_a_code_has_room_for_guesses_and_nothing_that_is_misread() -> None:
    codes = {make_code() for _ in range(500)}
    assert len(codes) == 500
    letters = set("".join(plain(code) for code in codes))
    assert not letters & set("01ilo")
    assert {len(plain(code)) for code in codes} == {8}


def test_wrong_tries_come_ever_slower_and_patience_helps(claimed: House) -> None:
    async def story(logins: Logins) -> None:
        for _ in range(WRONG_PER_MINUTE):
            with pytest.raises(WrongPassword):
                await logins.log_in("a guess", STRANGER)
        with pytest.raises(TooManyTries) as slowed:
            await logins.log_in(PASSWORD, STRANGER)
        assert slowed.value.retry_after == pytest.approx(60 / WRONG_PER_MINUTE)
        await logins.log_in(PASSWORD, NEIGHBOUR)
        house_now = claimed.now
        claimed.now += slowed.value.retry_after - 0.1
        with pytest.raises(TooManyTries):
            await logins.log_in(PASSWORD, STRANGER)
        claimed.now = house_now + slowed.value.retry_after + 0.1
        await logins.log_in(PASSWORD, STRANGER)

    claimed.run(story)


def test_many_at_once_count_like_one_after_the_other(claimed: House) -> None:
    async def story(logins: Logins) -> None:
        guesses = [logins.log_in(f"guess number {n}", STRANGER) for n in range(MAX_WAITING)]
        outcomes = await asyncio.gather(*guesses, return_exceptions=True)
        assert sum(isinstance(each, WrongPassword) for each in outcomes) == WRONG_PER_MINUTE
        assert sum(isinstance(each, TooManyTries) for each in outcomes) == MAX_WAITING - WRONG_PER_MINUTE

    claimed.run(story)


def test_who_is_right_is_never_slowed_down(claimed: House) -> None:
    async def story(logins: Logins) -> None:
        for _ in range(3 * WRONG_PER_MINUTE):
            await logins.log_in(PASSWORD, STRANGER)

    claimed.run(story)


def test_guessing_the_current_password_is_as_slow(claimed: House) -> None:
    async def story(logins: Logins) -> None:
        for _ in range(WRONG_PER_MINUTE):
            with pytest.raises(WrongPassword):
                await logins.change(OTHER, "a guess", LOGGED_IN)
        with pytest.raises(TooManyTries):
            await logins.clear(PASSWORD, LOGGED_IN)

    claimed.run(story)


@pytest.mark.parametrize("caller", [TRUSTED, KEY, LOGGED_IN], ids=lambda caller: caller.kind.value)
def test_from_elsewhere_the_password_changes_for_who_knows_it(claimed: House, caller: Caller) -> None:
    async def story(logins: Logins) -> None:
        cookie = await logins.log_in(PASSWORD, STRANGER)
        with pytest.raises(WrongPassword):
            await logins.change(OTHER, "", caller)
        with pytest.raises(WrongPassword):
            await logins.clear("", caller)
        assert known(logins, cookie) == Login(Kind.ADMINISTRATOR, "")
        await logins.change(OTHER, PASSWORD, caller)
        assert known(logins, cookie) is Reason.LOGIN
        with pytest.raises(WrongPassword):
            await logins.log_in(PASSWORD, STRANGER)
        await logins.log_in(OTHER, STRANGER)

    claimed.run(story)


def test_a_login_that_is_being_checked_when_the_password_changes_opens_nothing(claimed: House) -> None:
    async def story(logins: Logins) -> None:
        checked, go_on = asyncio.Event(), asyncio.Event()
        matches = claimed.hashing.matches

        async def slow(hashed: str, password: str) -> bool:
            right = await matches(hashed, password)
            checked.set()
            await go_on.wait()
            return right

        claimed.hashing.matches = slow  # type: ignore[method-assign]
        late = asyncio.create_task(logins.log_in(PASSWORD, STRANGER))
        await checked.wait()
        await logins.change(OTHER, "", HERE)
        go_on.set()
        with pytest.raises(WrongPassword):
            await late
        assert logins.sessions.list() == ()

    claimed.run(story)


def test_what_is_set_while_no_server_runs_counts_and_ends_the_sessions(claimed: House) -> None:
    cookies: list[str] = []

    async def log_in(logins: Logins) -> None:
        cookies.append(await logins.log_in(PASSWORD, STRANGER))

    async def out(logins: Logins) -> None:
        assert known(logins, cookies[0]) is Reason.LOGIN
        await logins.log_in(OTHER, STRANGER)

    claimed.run(log_in)
    set_password(claimed.file, OTHER, QUICK)
    claimed.run(out)
    code = clear_password(claimed.file, QUICK)

    async def claim(logins: Logins) -> None:
        assert known(logins, cookies[0]) is Reason.LOGIN
        assert not logins.claimed
        await logins.claim(PASSWORD, code, STRANGER)

    claimed.run(claim)
    assert claimed.said == [], "the command has said it"


@pytest.mark.parametrize("password", ["", "seven77", "x" * 256])
def test_what_is_too_short_or_too_long_is_no_password(house: House, password: str) -> None:
    async def story(logins: Logins) -> None:
        for act in (logins.claim(password, "", HERE), logins.change(password, "", HERE)):
            with pytest.raises(InvalidInput, match="8 to 255"):
                await act
        assert not logins.claimed

    house.run(story)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2}', b'{"password": 5}', b"\xff"])
def test_a_file_that_cannot_be_understood_opens_nothing_but_is_replaced_here(house: House, content: bytes) -> None:
    house.file.path.write_bytes(content)

    async def story(logins: Logins) -> None:
        assert logins.claimed, "a damaged file does not make the box anybody's"
        assert "appliance password set" in logins.remark()
        for act in (
            logins.claim(PASSWORD, "", HERE),
            logins.claim(PASSWORD, "aaaa-aaaa", STRANGER),
            logins.log_in(PASSWORD, STRANGER),
            logins.change(PASSWORD, "", TRUSTED),
            logins.clear("", LOGGED_IN),
        ):
            with pytest.raises(AccessDenied, match="Nobody can log in"):
                await act
        await logins.change(PASSWORD, "", HERE)
        await logins.log_in(PASSWORD, STRANGER)

    house.run(story)
    assert house.said == []


class Refusing(FileSystem):
    """A disk that takes nothing."""

    def write_atomically(self, path: Path, data: bytes) -> None:
        raise OSError(30, "Read-only file system")


def test_a_disk_that_refuses_keeps_no_box_from_starting(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    house = House(tmp_path, Refusing())

    async def story(logins: Logins) -> None:
        code = house.said[0].split("code ")[1].split()[0]
        with pytest.raises(StorageRefused):
            await logins.claim(PASSWORD, code, STRANGER)
        assert not logins.claimed, "nothing was stored, so nothing has changed"

    house.run(story)
    assert "the one-time code holds until the next start" in caplog.text


def test_nothing_that_is_secret_is_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")

    async def story(logins: Logins) -> None:
        cookie = await logins.claim(PASSWORD, "", HERE)
        with pytest.raises(WrongPassword):
            await logins.log_in("my other secret", STRANGER)
        known(logins, cookie)
        code = await logins.clear(PASSWORD, STRANGER)
        for secret in (PASSWORD, "my other secret", cookie, code, "argon2"):
            assert secret not in caplog.text

    house.run(story)
    assert "wrong password or code came from 203.0.113.7" in caplog.text


def test_the_power_fails_while_the_password_changes_then_it_is_the_old_one_or_the_new(tmp_path: Path) -> None:
    def password(disk: Path) -> str | None:
        return PasswordFile(disk / FILE_NAME, FILE_SYSTEM).load().password

    def is_(disk: Path, wanted: str) -> bool:
        hashed = password(disk)
        assert hashed is not None
        try:
            return QUICK.verify(hashed, wanted)
        except Exception:
            return False

    cut_short, finished = disks_after_every_cut(
        tmp_path,
        lambda disk: set_password(PasswordFile(disk / FILE_NAME, FILE_SYSTEM), PASSWORD, QUICK),
        lambda files, disk: set_password(PasswordFile(disk / FILE_NAME, files), OTHER, QUICK),
    )
    assert all(is_(disk, PASSWORD) or is_(disk, OTHER) for disk in cut_short)
    assert all(is_(disk, OTHER) for disk in finished)


def test_who_leaves_while_a_password_is_stored_has_set_it(tmp_path: Path) -> None:
    """What this program knows is what the file says."""
    held = Held()
    set_password(PasswordFile(tmp_path / FILE_NAME, FILE_SYSTEM), PASSWORD, QUICK)
    house = House(tmp_path, HeldFiles(held, "remember", FILE_NAME))

    async def story(logins: Logins) -> None:
        assert not await held.cancelled(logins.change(OTHER, PASSWORD, LOGGED_IN))
        assert await logins.log_in(OTHER, STRANGER)

    house.run(story)
