"""Real worker processes, killed, stopped and misused, while pictures come on."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from appliance.inference.choosing import Chooser
from appliance.inference.supervisor import Counters, InferenceLimits, Picture, Seen, Supervisor
from models.bundle import Bundle, open_bundle
from models.errors import ImageUnreadable, InputTooLarge, ModelFailed, OutputsImplausible, WorkerLost
from models.load import cpu_threads
from models.zoo import seed_folder
from tests.service.photographs import CAT
from tests.support.unruly_runtime import install, picture, unruly_bundle

SIMPLE = f"unruly/cpu/{cpu_threads()[-1]}"
"""A forced way: nothing is measured, and nothing else is tried."""


@pytest.fixture(scope="module", autouse=True)
def _unruly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The runtime `unruly` is installed, for this process and for those that it starts."""
    site = tmp_path_factory.mktemp("site")
    install(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        patch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
        patch.setenv("UNRULY_PLUG", str(site / "plugged in"))
        yield


@pytest.fixture
def plug() -> Iterator[Path]:
    """The file that stands for an accelerator."""
    path = Path(os.environ["UNRULY_PLUG"])
    yield path
    path.unlink(missing_ok=True)


def in_real_time(story: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run the story; afterwards no process, no open file and no unheard complaint may be left of it."""

    @wraps(story)
    def test(*args: Any, **kwargs: Any) -> None:
        others, files = children(), open_files()  # a box of other tests may run beside this one
        complaints: list[str] = []

        async def told() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))
            await story(*args, **kwargs)

        asyncio.run(told(), debug=True)
        gc.collect()
        assert children() - others == set()
        assert complaints == []
        assert open_files() <= files

    return test


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def children() -> set[psutil.Process]:
    """Of this process, those included that have died and were not waited for."""
    return set(psutil.Process().children(recursive=True))


@asynccontextmanager
async def serving(
    bundle: Bundle, cache: Path, wanted: str = SIMPLE, *, deadline: float = 60.0, **limits: Any
) -> AsyncIterator[Supervisor]:
    """A supervisor with real processes that serves the bundle."""
    chooser = Chooser(cache, wanted, deadline=deadline)
    supervisor = Supervisor(chooser, cache, InferenceLimits(**{"load_deadline": deadline, **limits}))
    try:
        await supervisor.load(bundle)
        yield supervisor
    finally:
        await supervisor.close()


def names(seen: Seen) -> list[str]:
    """Of what was found in boxes."""
    return [box["category_name"] for box in seen.detections["box_detections"]]


def pid(supervisor: Supervisor) -> int:
    assert supervisor.worker is not None
    return supervisor.worker.pid


async def another_worker(supervisor: Supervisor, than: int, seconds: float = 20.0) -> int:
    """The process id of the successor, once it serves."""
    until = time.monotonic() + seconds
    while supervisor.worker is None or supervisor.worker.pid == than:
        assert time.monotonic() < until, "no worker has taken over"
        await asyncio.sleep(0.02)
    return supervisor.worker.pid


def is_gone(process: int, seconds: float) -> bool:
    """Whether a process that is not our child ends within so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


# ---------------------------------------------------------------------- under load


class Clients:
    """Some that ask one picture after the other, until they are told to stop."""

    def __init__(self, supervisor: Supervisor, look: bytes, expected: str) -> None:
        self.answers = 0
        self._supervisor = supervisor
        self._look = look
        self._expected = expected
        self._going_on = True

    async def __aenter__(self) -> Clients:
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(6)]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._going_on = False
        await asyncio.gather(*self._tasks, return_exceptions=kind is not None)

    async def _ask(self) -> None:
        while self._going_on:
            seen = await self._supervisor.detect(Picture(self._look), 30.0)
            assert self._expected in names(seen)
            self.answers += 1

    async def until(self, answers: int) -> None:
        """Return when so many more answers have come."""
        goal = self.answers + answers
        while self.answers < goal:
            await asyncio.sleep(0.01)


@in_real_time
async def test_workers_are_killed_stopped_and_reloaded_under_load_and_no_picture_is_lost(tmp_path: Path) -> None:
    """With the seed model, measured and chosen as on any box."""
    bundle = open_bundle(seed_folder())
    async with serving(bundle, tmp_path, "auto", inference_deadline=1.5) as supervisor:
        assert supervisor.serving is not None
        assert supervisor.serving.degraded is None
        assert {str(way.choice).split("/")[0] for way in supervisor.serving.ways.measured} == {"litert", "onnx"}
        async with Clients(supervisor, CAT.jpeg, "cat") as clients:
            await clients.until(12)
            for _ in range(3):
                worker = pid(supervisor)
                os.kill(worker, signal.SIGKILL)
                await another_worker(supervisor, worker)
                await clients.until(12)
            worker = pid(supervisor)
            await supervisor.reload()
            assert pid(supervisor) != worker
            await clients.until(12)
            worker = pid(supervisor)
            os.kill(worker, signal.SIGSTOP)
            await another_worker(supervisor, worker)
            await clients.until(12)
        counters = supervisor.counters
        assert (counters.restarts, counters.hangs, counters.swaps) == (4, 1, 1)
        assert counters.refused_full == counters.refused_old == 0


@in_real_time
async def test_what_a_terminal_or_a_service_manager_sends_to_all_is_for_the_server(tmp_path: Path) -> None:
    async with serving(unruly_bundle(tmp_path / "1.0"), tmp_path) as supervisor:
        worker = pid(supervisor)
        os.kill(worker, signal.SIGINT)
        os.kill(worker, signal.SIGTERM)
        assert names(await supervisor.detect(Picture(picture()), 10.0)) == ["thing"]
        assert pid(supervisor) == worker


@in_real_time
async def test_pictures_of_every_size_and_kind_reach_the_worker(tmp_path: Path) -> None:
    async with serving(unruly_bundle(tmp_path / "1.0"), tmp_path, max_image_bytes=20 * 2**20) as supervisor:
        large = np.full((1500, 2000, 3), 30, np.uint8)  # 9 MB: more than fits into the memory that is shared
        raw = Picture(large.data.cast("B"), {"dtype": "uint8", "shape": [1500, 2000, 3]})
        seen = await supervisor.detect(raw, 10.0)
        assert (seen.width, seen.height) == (2000, 1500)
        [box] = seen.detections["box_detections"]
        assert (box["x"], box["y"], box["width"], box["height"]) == (500, 375, 1000, 750)
        small = np.full((3, 4), 30, np.uint8)
        seen = await supervisor.detect(Picture(small.tobytes(), {"dtype": "uint8", "shape": [3, 4]}), 10.0)
        assert (seen.width, seen.height) == (4, 3)
        assert set(seen.timings) == {"wait", "decode", "inference", "postprocess"}
        with pytest.raises(ImageUnreadable):
            await supervisor.detect(Picture(b""), 10.0)
        with pytest.raises(ImageUnreadable):
            await supervisor.detect(Picture(b"text"), 10.0)
        with pytest.raises(ImageUnreadable):
            await supervisor.detect(Picture(b"123", {"dtype": "object", "shape": [1, 1, 3]}), 10.0)
        with pytest.raises(InputTooLarge):
            await supervisor.detect(Picture(bytes(21 * 2**20)), 10.0)
        assert supervisor.counters == Counters()


# ---------------------------------------------------------------------- own logic that misbehaves


@in_real_time
async def test_a_picture_that_aborts_the_process_is_told_so_and_the_others_are_answered(tmp_path: Path) -> None:
    async with serving(unruly_bundle(tmp_path / "1.0"), tmp_path) as supervisor:
        kinds = ["", "abort", "", ""]
        looks = [supervisor.detect(Picture(picture(kind)), 30.0) for kind in kinds]
        outcomes = await asyncio.gather(*looks, return_exceptions=True)
        assert isinstance(outcomes[1], WorkerLost)
        assert [names(seen) for seen in outcomes if isinstance(seen, Seen)] == [["thing"]] * 3
        assert supervisor.counters.restarts == 2
        assert names(await supervisor.detect(Picture(picture()), 10.0)) == ["thing"]


@in_real_time
async def test_a_picture_that_hangs_is_given_up_after_two_deadlines(tmp_path: Path) -> None:
    async with serving(unruly_bundle(tmp_path / "1.0"), tmp_path, inference_deadline=0.7) as supervisor:
        with pytest.raises(WorkerLost):
            await supervisor.detect(Picture(picture("hang")), 30.0)
        assert (supervisor.counters.hangs, supervisor.counters.restarts) == (2, 2)
        assert names(await supervisor.detect(Picture(picture()), 10.0)) == ["thing"]


@in_real_time
async def test_nonsense_of_a_model_is_an_error_of_that_picture(tmp_path: Path) -> None:
    async with serving(unruly_bundle(tmp_path / "1.0"), tmp_path) as supervisor:
        worker = pid(supervisor)
        with pytest.raises(OutputsImplausible, match="NaN"):
            await supervisor.detect(Picture(picture("nan")), 10.0)
        with pytest.raises(OutputsImplausible, match=r"shape \(3, 3\)"):
            await supervisor.detect(Picture(picture("shape")), 10.0)
        assert pid(supervisor) == worker


@in_real_time
async def test_a_runtime_that_raises_is_replaced_and_what_it_raised_is_told(tmp_path: Path) -> None:
    async with serving(unruly_bundle(tmp_path / "1.0"), tmp_path) as supervisor:
        worker = pid(supervisor)
        with pytest.raises(ModelFailed, match="unruly failed: ZeroDivisionError: own logic has bugs, too"):
            await supervisor.detect(Picture(picture("raise")), 30.0)
        assert await another_worker(supervisor, worker) != worker
        assert names(await supervisor.detect(Picture(picture()), 10.0)) == ["thing"]


@in_real_time
async def test_a_new_model_that_is_no_good_is_refused_and_the_old_one_serves_on(tmp_path: Path) -> None:
    async with serving(unruly_bundle(tmp_path / "1.0"), tmp_path) as supervisor:
        worker = pid(supervisor)
        refusals = {
            "abort": r"died while loading it\. It was ended by signal 6",
            "exit": r"died while loading it\. It ended with exit status 7",
            "raise": "cannot load cpu.json: ZeroDivisionError: own logic has bugs, too",
        }
        for how, words in refusals.items():
            with pytest.raises(ModelFailed, match=words):
                await supervisor.load(unruly_bundle(tmp_path / how, load={"*": how}))
        for how, words in {"nan": "NaN", "shape": r"shape \(3, 3\)", "raise": "own logic has bugs"}.items():
            with pytest.raises(ModelFailed, match=words):
                await supervisor.load(unruly_bundle(tmp_path / f"infer-{how}", infer=how))
        seen = await supervisor.detect(Picture(picture()), 10.0)
        assert seen.detections["box_detections"][0]["model_name"] == "1.0"
        assert pid(supervisor) == worker


@in_real_time
async def test_a_new_model_that_hangs_while_it_loads_is_given_up(tmp_path: Path) -> None:
    async with serving(unruly_bundle(tmp_path / "1.0"), tmp_path, load_deadline=3.0) as supervisor:
        with pytest.raises(ModelFailed, match="did not load within 3 s"):
            await supervisor.load(unruly_bundle(tmp_path / "2.0", load={"*": "hang"}))
        assert names(await supervisor.detect(Picture(picture()), 10.0)) == ["thing"]


@in_real_time
async def test_ways_that_abort_or_hang_while_they_are_measured_are_skipped_and_remembered(tmp_path: Path) -> None:
    bundle = unruly_bundle(tmp_path / "1.0", load={"unruly/cpu/2": "abort", "unruly/cpu/3": "hang"})
    for _ in range(2):
        started = time.monotonic()
        async with serving(bundle, tmp_path / "cache", "auto", deadline=3.0) as supervisor:
            assert supervisor.serving is not None
            assert str(supervisor.serving.choice) == "unruly/cpu/1"
            reasons = {str(way.choice): way.reason or "" for way in supervisor.serving.ways.measured}
            assert reasons["unruly/cpu/1"] == ""
            assert reasons["unruly/cpu/2"].startswith("killed the process that tried it. It was ended by signal 6")
            assert reasons["unruly/cpu/3"] == "did not come to an end within 3 s"
            took = time.monotonic() - started
    assert took < 3.0  # the second time nothing was measured


@in_real_time
async def test_an_accelerator_is_pulled_out_and_plugged_in_again(
    tmp_path: Path, plug: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.inference.serving.LOOK_AGAIN", 0.3)
    plug.touch()
    bundle = unruly_bundle(tmp_path / "1.0", accelerators=["edgetpu", "cpu"])
    async with serving(bundle, tmp_path, "unruly/edgetpu") as supervisor:
        assert supervisor.serving is not None
        assert (str(supervisor.serving.choice), supervisor.serving.degraded) == ("unruly/edgetpu/1", None)
        async with Clients(supervisor, picture(), "thing") as clients:
            await clients.until(5)
            plug.unlink()
            while supervisor.serving.degraded is None:
                await asyncio.sleep(0.02)
            assert supervisor.serving.choice.accelerator == "cpu"
            await clients.until(5)
            plug.touch()
            while supervisor.serving.degraded is not None:
                await asyncio.sleep(0.02)
            assert str(supervisor.serving.choice) == "unruly/edgetpu/1"
            await clients.until(5)


# ---------------------------------------------------------------------- a server that dies

SERVER = """
    import asyncio, sys
    from pathlib import Path
    from appliance.inference.choosing import Chooser
    from appliance.inference.supervisor import InferenceLimits, Picture, Supervisor
    from models.bundle import open_bundle

    async def main(folder, wanted, look):
        supervisor = Supervisor(Chooser(Path(folder), wanted), Path(folder), InferenceLimits())
        loading = asyncio.ensure_future(supervisor.load(open_bundle(Path(folder))))
        if look:
            await loading
            asyncio.ensure_future(supervisor.detect(Picture(Path(look).read_bytes()), 10.0))
        await asyncio.sleep(3600)

    asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("state", "load", "wanted", "look"),
    [
        ("while it waits for pictures", "", SIMPLE, ""),
        ("while it looks at one that hangs", "", SIMPLE, "hang"),
        ("while it loads a model that hangs", "hang", SIMPLE, None),
        ("while it measures a way that hangs", "hang", "auto", None),
    ],
    ids=["waiting", "looking", "loading", "measuring"],
)
def test_a_worker_ends_by_itself_when_the_server_dies(
    tmp_path: Path, state: str, load: str, wanted: str, look: str | None
) -> None:
    bundle = unruly_bundle(tmp_path / "1.0", load={"*": load})
    file = tmp_path / "picture.jpg"
    file.write_bytes(picture(look or ""))
    arguments = [str(bundle.folder), wanted, str(file) if look is not None else ""]
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(SERVER), *arguments]) as server:
        until = time.monotonic() + 30.0
        while not (workers := psutil.Process(server.pid).children()) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(1.5)  # it is in that state by then
        server.kill()
    [worker] = workers
    assert is_gone(worker.pid, 2.0), f"the worker outlives the server {state}"
