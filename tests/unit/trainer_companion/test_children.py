"""Child processes that say lines, and what becomes of them."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace

import pytest

from models.files import FILE_SYSTEM
from tests.support.held_threads import Held, HeldFiles
from trainer_companion import children
from trainer_companion.children import GROUP_FILE, LAUNCHER, LOG_FILE, Child, ChildFailed, end_leftover

FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""

WORKERS = """
import signal, subprocess, sys
worker = '''
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("worker was asked", flush=True), sys.exit(0)))
print("ready", flush=True)
time.sleep(600)
'''
signal.signal(signal.SIGTERM, lambda *_: print("launcher was asked", flush=True))
sys.exit(subprocess.call([sys.executable, "-c", worker]))
"""

NOBODY = 2**22 + 1
"""No process has this number: it is above the most that there may be."""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def until_gone(*pids: int) -> None:
    end = time.monotonic() + 30
    while any(map(alive, pids)):
        assert time.monotonic() < end, "it lives"
        time.sleep(0.01)


async def said_by(child: Child, silence: float = 30.0) -> list[str]:
    async with aclosing(child.lines(silence)) as lines:
        return [line.decode().rstrip() async for line in lines]


def run(folder: Path, program: str, *arguments: str) -> tuple[list[str], str | None]:
    async def story() -> tuple[list[str], str | None]:
        child = Child(folder)
        try:
            await child.start([sys.executable, "-c", program, *arguments], os.environ)
            lines = await said_by(child)
            await child.note([line.encode() + b"\n" for line in lines])
            return lines, child.verdict()
        finally:
            await child.end()

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("print('a'); print('b')", None),
        ("raise SystemExit(3)", "ended with status 3"),
        ("import os; os.kill(os.getpid(), 11)", "ended by signal 11"),
        ("raise ValueError('odd boxes')", "ValueError: odd boxes"),
        ("print('RuntimeError: CUDA out of memory. Tried'); raise SystemExit(1)", "graphics card is out of memory"),
        ("print('CUDA error: invalid device ordinal'); raise SystemExit(1)", "graphics card not found"),
    ],
)
def test_how_it_ended_is_a_sentence(tmp_path: Path, program: str, verdict: str | None) -> None:
    _, found = run(tmp_path, program)
    assert (verdict is None) == (found is None)
    assert verdict is None or verdict in str(found)
    assert not (tmp_path / GROUP_FILE).exists()


def test_what_it_says_is_kept_for_people(tmp_path: Path) -> None:
    lines, _ = run(tmp_path, "import sys; print('hello'); print('trouble', file=sys.stderr)")
    assert sorted(lines) == ["hello", "trouble"]
    assert "trouble" in (tmp_path / LOG_FILE).read_text()


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    lines, verdict = run(tmp_path, "print('x' * 5_000_000); print('after')")
    assert verdict is None
    assert lines[-1].endswith("after")
    assert sum(map(len, lines)) < 5_000_000


def test_silence_ends_it(tmp_path: Path) -> None:
    async def story() -> None:
        child = Child(tmp_path)
        await child.start([sys.executable, "-c", "print('a', flush=True); import time; time.sleep(600)"], os.environ)
        with pytest.raises(ChildFailed, match="said nothing"):
            await said_by(child, 5.0)
        assert not child.is_running

    asyncio.run(story())


def test_it_may_be_killed_while_it_is_heard_with_all_that_belong_to_it(tmp_path: Path) -> None:
    async def story() -> int:
        child = Child(tmp_path)
        await child.start([sys.executable, "-c", FAMILY], os.environ)
        async with aclosing(child.lines(30.0)) as lines:
            grandchild = int(await anext(lines))
            killing = asyncio.create_task(child.kill())
            assert [line async for line in lines] == []
            await killing
        assert "signal 9" in str(child.verdict())
        return grandchild

    until_gone(asyncio.run(story()))


def test_what_a_killed_node_left_running_is_ended_before_the_same_work_begins(tmp_path: Path) -> None:
    async def story() -> list[int]:
        left = Child(tmp_path)
        await left.start([sys.executable, "-c", FAMILY], os.environ)
        async with aclosing(left.lines(30.0)) as lines:
            grandchild = int(await anext(lines))
            assert left._process is not None
            pids = [left._process.pid, grandchild]
            assert all(map(alive, pids))
            next_one = Child(tmp_path)  # of the node that was started again
            await next_one.start([sys.executable, "-c", "print('begun')"], os.environ)
            assert await said_by(next_one) == ["begun"]
            assert [line async for line in lines] == []
        await next_one.end()
        return pids

    until_gone(*asyncio.run(story()))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"group": 1}', '{"group": 1, "boot": "", "started": 0}'])
def test_a_note_that_is_none_ends_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / GROUP_FILE).write_text(content)
    end_leftover(tmp_path)


def test_the_number_of_another_process_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / GROUP_FILE).write_text(f'{{"group": {os.getpid()}, "boot": "another", "started": 1}}')
    end_leftover(tmp_path)  # this test would not live to see its end


def test_of_a_launcher_the_workers_are_asked_to_end(tmp_path: Path) -> None:
    async def story() -> list[str]:
        child = Child(tmp_path)
        await child.start([sys.executable, "-c", WORKERS, LAUNCHER], os.environ)
        said = []
        async with aclosing(child.lines(30.0)) as lines:
            async for line in lines:
                said.append(line.decode().strip())
                if said == ["ready"]:
                    child.ask_to_end()
        assert child.verdict() is None
        await child.end()
        return said

    assert asyncio.run(story()) == ["ready", "worker was asked"]


def test_a_program_that_is_not_there_is_said(tmp_path: Path) -> None:
    async def story() -> None:
        child = Child(tmp_path)
        with pytest.raises(ChildFailed, match="cannot be started"):
            await child.start([str(tmp_path / "missing")], os.environ)
        await child.end()

    asyncio.run(story())


@pytest.mark.parametrize("ticks", range(6))
def test_a_cancellation_that_comes_together_with_a_line_is_not_lost(tmp_path: Path, ticks: int) -> None:
    async def story() -> None:
        reader = asyncio.StreamReader()
        child = Child(tmp_path)
        child._process = SimpleNamespace(stdout=reader)  # type: ignore[assignment] # all that listening needs

        async def listen() -> None:
            async with aclosing(child.lines(100.0)) as lines:
                async for _ in lines:
                    pass

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0.01)
        reader.feed_data(b"a line\n")
        for _ in range(ticks):
            await asyncio.sleep(0)
        listening.cancel()
        await asyncio.wait([listening], timeout=5)
        assert listening.cancelled()

    asyncio.run(story())


@pytest.mark.parametrize("ticks", range(6))
def test_a_cancellation_that_comes_together_with_the_end_is_not_lost(tmp_path: Path, ticks: int) -> None:
    async def story() -> None:
        reader, over = asyncio.StreamReader(), asyncio.Event()
        child = Child(tmp_path)
        process = SimpleNamespace(stdout=reader, returncode=None, pid=NOBODY, wait=over.wait)
        child._process = process  # type: ignore[assignment] # all that ending needs

        async def end() -> None:
            await child.end()
            await asyncio.sleep(60)  # it goes on with something else

        ending = asyncio.create_task(end())
        await asyncio.sleep(0.01)
        reader.feed_eof()
        over.set()
        for _ in range(ticks):
            await asyncio.sleep(0)
        ending.cancel()
        await asyncio.wait([ending], timeout=5)
        assert ending.cancelled()

    asyncio.run(story())


@pytest.mark.parametrize("what", ["the group", "a line", "the leftover"])
def test_a_child_that_is_left_off_is_not_written_about_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Its folder may be cleared by then."""
    held = Held()
    child = Child(tmp_path, HeldFiles(held, "remember", GROUP_FILE) if what == "the group" else FILE_SYSTEM)
    if what != "the group":
        monkeypatch.setattr(children, "_append" if what == "a line" else "end_leftover", lambda *_: held.here())

    async def work() -> None:
        try:
            if what == "a line":
                await child.note([b"a line"])
            else:
                await child.start([sys.executable, "-c", "pass"], {})
        finally:
            await child.end()

    async def story() -> None:
        assert not await held.cancelled(work())

    asyncio.run(story())
    assert not (tmp_path / GROUP_FILE).exists()
