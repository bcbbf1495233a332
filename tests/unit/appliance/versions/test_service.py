"""Wishes for a model, and what becomes of them."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import Callable, Coroutine
from datetime import datetime, timezone
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from appliance.versions import state as state_file
from appliance.versions.selection import Scope
from appliance.versions.service import Versions, failures_in_words
from appliance.versions.swapping import PROVEN_ANSWERS
from models.bundle import Bundle, open_bundle
from models.errors import ModelFailed, ModelUpdating, NoModel, StorageRefused, UnknownVersion
from models.files import FILE_SYSTEM, FileSystem
from models.store import ModelStore
from tests.support.scripted_supervisor import ScriptedSupervisor
from tests.support.small_bundles import make_bundle

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)
ANYBODY = Scope(None, None, ("litert", "onnx"))


def story(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run it in an event loop, which ends with everything closed. It has a `desk`."""

    @wraps(test)
    def run(desk: Desk, **others: Any) -> None:
        async def told() -> None:
            try:
                await test(desk=desk, **others)
            finally:
                await desk.versions.close()

        asyncio.run(asyncio.wait_for(told(), 20))

    return run


class SmallDisk(FileSystem):
    """Takes everything, until it is full."""

    full = False

    def create_exclusive(self, path: Path) -> Any:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().create_exclusive(path)


class Desk:
    """A store with a seed model and what is put into it, and `Versions` over it, which can be made anew: a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        seed = make_bundle(folder / "seed", "0.0", organization="detector-appliance", project="everyday-objects")
        self.store = ModelStore(folder / "models", [seed], free_space_floor=0)
        self.disk = SmallDisk()
        self.loader = ScriptedSupervisor()
        self.versions = self.made()

    def made(self, **settings: Any) -> Versions:
        """As after a restart of the program."""
        settings = {"scope": ANYBODY, "appliance_version": "1", "files": self.disk, "now": lambda: NOW, **settings}
        scope, files = settings.pop("scope"), settings.pop("files")
        self.versions = Versions(self.store, self.loader, scope, self.folder / "versions.json", files, **settings)
        return self.versions

    def add(self, version: str, **keys: Any) -> None:
        """Put a model into the store."""
        weights = hashlib.sha256(version.encode()).digest() * 8
        source = self.folder / f"source-{version}-{len(list(self.folder.iterdir()))}"
        made = {"id": f"id of {version}", **keys}
        self.store.put_folder(make_bundle(source, version, weights, **made))

    async def restart(self, **settings: Any) -> Versions:
        """End the program and start it again."""
        await self.versions.close()
        versions = self.made(**settings)
        await versions.start()
        return versions

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the others work until it is so."""
        for _ in range(2000):
            if condition():
                return
            await asyncio.sleep(0.001)
        raise AssertionError(f"it did not come to that: {self.versions.state}, error: {self.versions.error}")

    async def use(self, version: str) -> None:
        """Have this version serve."""
        await self.versions.set_mode(version)
        await self.until(lambda: self.serving == version)

    @property
    def serving(self) -> str | None:
        """The version that serves by the state."""
        return self.versions.current.version if self.versions.current else None


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A fresh box."""
    return Desk(tmp_path)


@story
async def test_a_fresh_box_serves_the_seed_model(desk: Desk) -> None:
    assert desk.versions.operation_mode == "startup"

    await desk.versions.start()

    assert (desk.serving, desk.versions.operation_mode, desk.versions.error) == ("0.0", "idle", None)
    assert desk.versions.target is None


@story
async def test_a_wish_is_answered_at_once_and_fulfilled_later(desk: Desk) -> None:
    desk.add("1.0")
    await desk.restart()
    await desk.use("0.0")
    desk.loader.door.clear()

    await desk.versions.set_mode("1.0")

    told = await desk.versions.response()
    assert (told.current_version, told.target_version, told.version_control) == ("0.0", "1.0", "specific_version")
    desk.loader.door.set()
    await desk.until(lambda: desk.serving == "1.0")


@story
async def test_the_newest_wish_counts(desk: Desk) -> None:
    desk.add("1.0")
    desk.add("1.1")
    await desk.restart()
    await desk.use("0.0")
    desk.loader.door.clear()
    desk.loader.waiting.clear()
    await desk.versions.set_mode("1.0")
    await desk.loader.waiting.wait()

    await desk.versions.set_mode("1.1")
    desk.loader.door.set()

    await desk.until(lambda: desk.serving == "1.1")
    assert desk.versions.state.chosen == "1.1"


@story
async def test_an_unknown_version_changes_nothing(desk: Desk) -> None:
    await desk.versions.start()
    before = desk.versions.state

    with pytest.raises(UnknownVersion):
        await desk.versions.set_mode("9.9")

    assert desk.versions.state == before


@story
async def test_a_model_that_fails_is_remembered_by_its_bytes_and_not_tried_again(desk: Desk) -> None:
    desk.add("1.0")
    desk.loader.failing["1.0"] = ModelFailed("Its outputs are all NaN")
    await desk.versions.start()

    assert desk.serving == "0.0", "the newest is tried first, and the seed model serves in its place"
    assert "Its outputs are all NaN" in str(desk.versions.error)
    [failure] = desk.versions.state.failures
    assert (failure.model_id, failure.reason, failure.when) == ("id of 1.0", "Its outputs are all NaN", NOW)
    assert failures_in_words([failure])[0]["reason"] == "Its outputs are all NaN"

    desk.loader.failing.clear()
    await desk.restart()
    assert desk.loader.loaded == ["0.0", "0.0"], "it was not even tried"

    await desk.restart(appliance_version="2")
    assert desk.serving == "0.0", "what served serves again"
    await desk.use("1.0")
    assert desk.versions.state.failures == (), "a person has said so, and it works"


@story
async def test_what_was_chosen_and_failed_is_not_tried_at_the_next_start_but_is_if_nothing_else_works(
    desk: Desk,
) -> None:
    desk.add("1.0")
    desk.loader.failing["1.0"] = ModelFailed("It does not load")
    await desk.versions.start()
    await desk.versions.set_mode("1.0")
    await desk.until(lambda: desk.versions.error is not None and desk.versions.target is None)

    await desk.restart()
    await desk.until(lambda: desk.versions.error is not None)
    assert (desk.serving, desk.versions.target, desk.loader.loaded[-1]) == ("0.0", None, "0.0")
    assert desk.versions.error == "Model 1.0 is not tried again as it is: It does not load"

    desk.loader.failing = {"0.0": ModelFailed("The seed model is broken, too")}
    await desk.restart()
    assert desk.serving == "1.0"


@story
async def test_a_wish_while_the_disk_is_being_looked_at_is_not_given_up_for_what_failed_before(desk: Desk) -> None:
    desk.add("1.0")
    desk.loader.failing["1.0"] = ModelFailed("It does not load")
    await desk.versions.start()
    desk.loader.failing.clear()
    look = desk.versions._updater._disk.look
    targets: list[object] = []

    async def slowly() -> Any:
        seen = await look()
        if not targets:
            targets.append(None)
            await desk.versions.set_mode("1.0")
        targets.append(desk.versions.target)
        return seen

    desk.versions._updater._disk.look = slowly  # type: ignore[method-assign] # somebody asks at the worst moment
    desk.versions.set_operation_mode("idle")
    await desk.until(lambda: desk.serving == "1.0")
    assert all(target is not None for target in targets[1:])
    assert desk.versions.target is not None
    assert desk.versions.error is None


@story
async def test_a_box_on_which_no_model_works_starts_and_says_why(desk: Desk) -> None:
    desk.loader.failing["0.0"] = ModelFailed("There is no runtime on this box")

    await desk.versions.start()

    assert desk.serving is None
    assert desk.versions.operation_mode == "idle"
    assert "There is no runtime on this box" in str(desk.versions.error)
    desk.loader.failing.clear()
    await desk.use("0.0")


@story
async def test_a_damaged_model_is_passed_over(desk: Desk) -> None:
    desk.add("1.0")
    [stored] = desk.store.list("zauberzeug")
    (stored.folder / "model.tflite").write_bytes(b"not what it was")

    await desk.versions.start()

    assert desk.serving == "0.0"
    assert desk.versions.state.failures[0].model_id == "id of 1.0"


@story
async def test_a_refusal_for_the_moment_is_no_failure_of_the_model(desk: Desk) -> None:
    desk.add("1.0")
    await desk.versions.start()
    await desk.use("0.0")
    desk.loader.failing["1.0"] = ModelUpdating("updating model to version 7")

    await desk.versions.set_mode("1.0")

    await desk.until(lambda: desk.versions.error is not None)
    assert desk.versions.state.failures == ()


@story
async def test_what_nobody_foresaw_ends_neither_the_worker_nor_what_serves(desk: Desk) -> None:
    desk.add("1.0")
    await desk.restart()
    await desk.use("0.0")
    desk.loader.failing["1.0"] = RuntimeError("a bug")

    await desk.versions.set_mode("1.0")
    await desk.until(lambda: "RuntimeError" in str(desk.versions.error))

    assert desk.serving == "0.0"
    desk.loader.failing.clear()
    await desk.use("1.0")


@story
async def test_a_full_disk_refuses_a_wish_and_keeps_no_model_from_serving(desk: Desk) -> None:
    desk.disk.full = True
    await desk.versions.start()
    assert desk.serving == "0.0", "what serves, serves"

    with pytest.raises(StorageRefused):
        await desk.versions.set_mode("pause")

    assert desk.versions.state.mode == "follow_loop"
    desk.disk.full = False
    await desk.versions.set_mode("pause")
    assert state_file.load(desk.folder / "versions.json", FILE_SYSTEM).mode == "pause"


@story
async def test_a_model_that_serves_although_the_disk_became_full_meanwhile_serves(desk: Desk) -> None:
    desk.add("1.0")
    await desk.restart()
    await desk.use("0.0")
    desk.loader.door.clear()
    desk.loader.waiting.clear()
    await desk.versions.set_mode("1.0")
    await desk.loader.waiting.wait()

    desk.disk.full = True
    desk.loader.door.set()

    await desk.until(lambda: desk.serving == "1.0")
    desk.disk.full = False
    await desk.use("0.0")


@story
async def test_changes_at_the_same_time_lose_nothing(desk: Desk) -> None:
    """Modes are set while a model is being brought into service: neither overwrites the other in the file."""
    desk.add("1.0")
    await desk.restart()
    for number in range(20):
        version = ("0.0", "1.0")[number % 2]
        await desk.versions.set_mode(version)
        await asyncio.gather(
            desk.versions.set_mode(version), desk.versions.set_mode(version), desk.versions.set_mode(version)
        )
        await desk.until(lambda version=version: desk.serving == version)  # type: ignore[misc]  # bound at once
        stored = state_file.load(desk.folder / "versions.json", FILE_SYSTEM)
        assert (stored.chosen, stored.current and stored.current.version) == (version, version)


@story
async def test_the_mode_survives_a_restart_and_the_chosen_version_is_the_target_again(desk: Desk) -> None:
    desk.add("1.0")
    desk.add("1.1")
    await desk.restart()
    await desk.use("1.0")

    await desk.restart()

    told = await desk.versions.response()
    assert (told.current_version, told.target_version, told.version_control) == ("1.0", "1.0", "specific_version")


@story
async def test_a_default_of_the_settings_wins_at_start(desk: Desk) -> None:
    desk.add("1.0")
    desk.add("1.1")
    await desk.restart()
    await desk.use("1.0")

    await desk.restart(default_mode="1.1")
    assert (desk.serving, desk.versions.state.chosen) == ("1.1", "1.1")

    await desk.restart(default_mode="pause")
    assert (desk.serving, desk.versions.state.mode) == ("1.1", "pause")


@pytest.mark.parametrize("how", ["detecting", "paused"])
@story
async def test_while_nothing_may_change_a_wish_waits(desk: Desk, how: str) -> None:
    desk.add("1.0")
    await desk.restart()
    await desk.use("0.0")
    if how == "detecting":
        desk.versions.set_operation_mode("detecting")
    else:
        desk.versions.set_paused(True)
    tried = len(desk.loader.loaded)

    await desk.versions.set_mode("1.0")
    for _ in range(20):
        await asyncio.sleep(0)
    assert (len(desk.loader.loaded), desk.serving) == (tried, "0.0")

    desk.versions.set_operation_mode("idle")
    desk.versions.set_paused(False)
    await desk.until(lambda: desk.serving == "1.0")


def bundle_of(desk: Desk, version: str) -> Bundle:
    """The bundle of a stored version."""
    [stored] = [model for model in desk.store.list() if model.version == version]
    return open_bundle(stored.folder)


@story
async def test_an_unfit_model_gives_way_to_the_one_before(desk: Desk) -> None:
    desk.add("1.0")
    desk.add("1.1")
    desk.add("1.2")
    await desk.restart()
    for version in ("1.0", "1.1"):
        await desk.versions.set_mode(version)
        await desk.until(lambda version=version: desk.serving == version)  # type: ignore[misc]  # bound at once
        assert desk.loader.serving is not None
        desk.loader.serving.answers = PROVEN_ANSWERS

    desk.versions.unfit(bundle_of(desk, "1.1"), "Its worker died 5 times in a row.")

    await desk.until(lambda: desk.serving == "1.0")
    assert desk.versions.error == (
        "Model 1.1 is unfit, model 1.0 serves again. Its worker died 5 times in a row."
    )  # fmt: skip
    assert desk.versions.state.failures[-1].model_id == "id of 1.1"
    assert str(desk.versions.state.last_good).endswith("/1.0"), "the unfit one is nothing to go back to"
    await desk.restart()
    assert desk.serving == "1.0", "the start does not try the unfit one, though it was chosen"


@story
async def test_one_unfit_model_after_the_other_ends_at_the_seed_model(desk: Desk) -> None:
    desk.add("1.0")
    desk.add("1.1")
    await desk.restart()
    assert desk.serving == "1.1"

    desk.versions.unfit(bundle_of(desk, "1.1"), "It dies.")
    await desk.until(lambda: desk.serving == "1.0")
    desk.versions.unfit(bundle_of(desk, "1.0"), "It dies, too.")

    await desk.until(lambda: desk.serving == "0.0")


@story
async def test_what_takes_over_from_an_unfit_model_is_what_is_gone_back_to_from_then_on(desk: Desk) -> None:
    desk.add("1.0")
    desk.add("1.1")
    await desk.restart()
    for version in ("1.0", "1.1"):
        await desk.versions.set_mode(version)
        await desk.until(lambda version=version: desk.serving == version)  # type: ignore[misc]  # bound at once
    desk.loader.failing["1.0"] = ModelFailed("It does not load any more")

    desk.versions.unfit(bundle_of(desk, "1.1"), "It dies.")

    await desk.until(lambda: desk.serving == "0.0")
    assert str(desk.versions.state.last_good).endswith("/0.0")


@story
async def test_a_failed_model_that_a_person_has_asked_for_is_tried_though_the_power_went_meanwhile(desk: Desk) -> None:
    desk.add("1.0")
    desk.loader.failing["1.0"] = ModelFailed("It does not load")
    await desk.versions.start()
    desk.loader.failing.clear()
    desk.loader.door.clear()

    await desk.versions.set_mode("1.0")
    desk.loader.door.set()
    await desk.restart()

    assert desk.serving == "1.0"


@story
async def test_that_a_model_is_unfit_which_serves_no_more_is_only_remembered(desk: Desk) -> None:
    desk.add("1.0")
    await desk.restart()
    unfit = bundle_of(desk, "1.0")
    await desk.use("0.0")

    desk.versions.unfit(unfit, "It died.")

    await desk.until(lambda: bool(desk.versions.state.failures))
    assert (desk.serving, desk.versions.error) == ("0.0", None)


@story
async def test_if_no_other_model_works_that_is_said(desk: Desk) -> None:
    await desk.versions.start()
    desk.loader.failing["0.0"] = NoModel("gone")
    desk.add("1.0")
    desk.loader.failing["1.0"] = ModelFailed("broken")

    desk.versions.unfit(bundle_of(desk, "0.0"), "It dies.")

    await desk.until(lambda: "no other model on this box works" in str(desk.versions.error))


@story
async def test_what_serves_or_shall_serve_is_not_removed(desk: Desk) -> None:
    desk.add("1.0")
    desk.add("1.1")
    await desk.restart()
    assert desk.serving == "1.1"
    desk.loader.door.clear()
    await desk.versions.set_mode("1.0")

    for version in ("1.1", "1.0"):
        with pytest.raises(StorageRefused, match="choose another one before removing it"):
            await desk.versions.remove(version)

    desk.loader.door.set()
    await desk.until(lambda: desk.serving == "1.0")
    assert (await desk.versions.remove("1.1")).version == "1.1"
    assert desk.versions.local_versions == ["0.0", "1.0"]
    with pytest.raises(StorageRefused):
        await desk.versions.remove("0.0")


@story
async def test_a_wish_for_what_is_removed_meanwhile_is_refused(desk: Desk) -> None:
    desk.add("1.0")
    await desk.restart()
    await desk.use("0.0")
    desk.versions.set_paused(True)
    await desk.versions.set_mode("1.0")
    [stored] = [model for model in desk.store.list() if model.version == "1.0"]
    desk.store.remove(stored)

    desk.versions.set_paused(False)

    await desk.until(lambda: desk.versions.error is not None)
    assert (desk.serving, desk.versions.state.failures) == ("0.0", ())


@story
async def test_reset_brings_back_the_seed_model_alone(desk: Desk) -> None:
    desk.add("1.0")
    await desk.restart()
    await desk.use("1.0")

    await desk.versions.reset()

    assert (desk.serving, desk.versions.local_versions) == ("0.0", ["0.0"])
    assert desk.versions.state.mode == "follow_loop"
    assert (desk.versions.state.last_good, desk.versions.state.failures) == (None, ())
