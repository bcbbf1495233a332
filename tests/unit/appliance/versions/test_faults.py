"""Deployment targets that are of no use: what serves goes on, people see why, and corrected bytes are taken at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.errors import ModelFailed, OutputsImplausible
from models.store import StoredModel
from tests.support.looped_box import MIB, LoopedBox
from tests.support.scripted_loop import ScriptedLoop, id_of, weights_of, zip_of, zipped
from tests.support.small_bundles import model_json
from tests.support.virtual_time import in_virtual_time


def without_model_json() -> bytes:
    return zip_of({"model.tflite": weights_of("1.1")})


def in_a_folder() -> bytes:
    return zip_of({"model/model.json": b"{}", "model/model.tflite": b"weights"})


def cut_off() -> bytes:
    return zipped("1.1")[:-40]


def exchanged_weights() -> bytes:
    document = model_json("1.1", weights_of("1.1"), id=id_of("1.1"))
    return zip_of({"model.json": json.dumps(document).encode(), "model.tflite": weights_of("others")})


BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "no zip": (lambda: b"<html>I am a web page</html>", "no zip"),
    "nothing at all": (lambda: b"", "no zip"),
    "a zip cut off": (cut_off, "no zip"),
    "no model.json": (without_model_json, "no model.json"),
    "not at the top level": (in_a_folder, "path separators"),
    "exchanged weights": (exchanged_weights, "sha256"),
    "another project": (lambda: zipped("1.1", project="kitchens"), "'project' is 'kitchens', not 'demo'"),
    "another organization": (lambda: zipped("1.1", organization="acme"), "'organization' is 'acme', not 'zauberzeug'"),
    "another format": (lambda: zipped("1.1", format="onnx"), "'format' is 'onnx', not 'litert'"),
    "another version": (lambda: zipped("1.2", id=id_of("1.1")), "'version' is '1.2', not '1.1'"),
    "another model": (lambda: zipped("1.1", id=id_of("7")), "'id' is"),
    "inference of the future": (lambda: zipped("1.1", inference={"version": 2}), "too old for this model"),
}

FAILING: dict[str, tuple[Exception, str]] = {
    "weights that do not load": (ModelFailed("It does not load as litert/cpu/2: bad magic number"), "bad magic number"),
    "weights that crash": (
        ModelFailed("The model's process died while loading it. It was ended by signal 11"),
        "ended by signal 11",
    ),
    "weights that hang": (ModelFailed("The model did not load within 120 s"), "did not load within 120 s"),
    "weights that return rubbish": (OutputsImplausible("Output 'scores' holds NaN"), "holds NaN"),
}

CORRECTED = zipped("1.1", weights=weights_of("1.1 corrected"))


async def story_of_a_fault(
    box: LoopedBox, loop: ScriptedLoop, sentence: str, correct: Callable[[], None], *, downloads: int = 1
) -> None:
    """From a box that serves 1.0 over a target 1.1 that is of no use to one that serves 1.1."""
    loop.deploy("1.1")
    await box.until(lambda: box.versions.error is not None)
    for _ in range(2):
        assert sentence in str(box.versions.error)
        assert (box.state, box.versions.update.version) == ("failed", "1.1")
        assert box.supervisor.loaded == ["0.0", "1.0"], "1.0 was not even loaded anew"
        assert loop.downloads("1.1") == downloads
        [failure] = box.versions.state.failures
        assert (failure.model_id, failure.version) == (id_of("1.1"), "1.1")
        assert sentence in failure.reason
        await asyncio.sleep(600)
    assert not list((box.disk / "data" / "downloads").iterdir()), "what is of no use takes no room"
    assert box.versions.local_versions == ["0.0", "1.0"]
    correct()
    assert await box.serves("1.1") < 7, "corrected bytes are taken at once"
    assert (box.versions.error, box.versions.state.failures) == (None, ())


@pytest.mark.parametrize("case", BROKEN)
@in_virtual_time
async def test_a_target_that_is_no_model(tmp_path: Path, loop: ScriptedLoop, case: str) -> None:
    make, sentence = BROKEN[case]
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        loop.offer("1.1", make())
        await story_of_a_fault(box, loop, sentence, lambda: loop.offer("1.1", CORRECTED))


@pytest.mark.parametrize("case", FAILING)
@in_virtual_time
async def test_a_target_that_does_not_run(tmp_path: Path, loop: ScriptedLoop, case: str) -> None:
    error, sentence = FAILING[case]
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        loop.publish("1.1")
        box.supervisor.failing["1.1"] = error

        def correct() -> None:
            box.supervisor.failing.clear()
            loop.offer("1.1", CORRECTED)

        await story_of_a_fault(box, loop, sentence, correct)


@pytest.mark.parametrize("case", ["no zip", "no model.json", "another version"])
@in_virtual_time
async def test_a_fault_is_remembered_over_a_restart(tmp_path: Path, loop: ScriptedLoop, case: str) -> None:
    make, sentence = BROKEN[case]
    loop.publish("1.0")
    loop.offer("1.1", make())
    box = LoopedBox(tmp_path, loop)
    async with box:
        await box.serves("1.0")
        loop.deploy("1.1")
        await box.until(lambda: box.versions.error is not None)
    async with box:
        await asyncio.sleep(600)
        assert sentence in str(box.versions.error)
        assert (box.supervisor.version, loop.downloads("1.1")) == ("1.0", 1)
        loop.offer("1.1", CORRECTED)
        assert await box.serves("1.1") < 7


@in_virtual_time
async def test_a_loop_that_tells_nothing_of_its_files_is_asked_for_the_same_bytes_a_few_times_a_day(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    loop.publish("1.0")
    loop.tells_what_it_has = False
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        loop.publish("1.1")
        box.supervisor.failing["1.1"] = ModelFailed("It returns NaN")
        await box.until(lambda: box.versions.error is not None)
        await asyncio.sleep(10)
        box.look_seldom()
        before = loop.sent
        await asyncio.sleep(5.9 * 3600)
        assert loop.sent == before, "it was left before the model came"
        await asyncio.sleep(7 * 3600)
        assert loop.sent - before == 2 * len(loop.files[id_of("1.1"), "litert"])
        assert box.supervisor.tried.count("1.1") == 1, "the same bytes are known"
        box.supervisor.failing.clear()
        loop.offer("1.1", CORRECTED)
        await box.serves("1.1", seconds=6 * 3600 + 60)


@in_virtual_time
async def test_a_loop_that_packs_its_zips_anew_each_time_does_not_keep_the_box_busy(
    tmp_path: Path, loop: ScriptedLoop
) -> None:
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        packed = 0

        def anew(request: httpx.Request) -> httpx.Response:
            nonlocal packed
            packed += 1
            document = model_json("1.1", weights_of("1.1"), id=id_of("1.1"))
            content = zip_of(
                {
                    "model.json": json.dumps(document).encode(),
                    "model.tflite": weights_of("1.1"),
                    "when.txt": str(packed).encode(),
                }
            )
            headers = {"etag": f'"{packed}"', "content-length": str(len(content))}
            return httpx.Response(200, headers=headers, content=b"" if request.method == "HEAD" else content)

        loop.publish("1.1")
        loop.file_answer = anew
        box.look_seldom()
        box.supervisor.failing["1.1"] = ModelFailed("It returns NaN")
        await asyncio.sleep(24 * 3600)
        assert box.supervisor.version == "1.0"
        assert "It returns NaN" in str(box.versions.error)
        assert loop.downloads("1.1") < 40
        assert len(box.versions.state.failures) == 1, "it is one and the same model"
        assert box.versions.local_versions == ["0.0", "1.0"]


@in_virtual_time
async def test_the_same_zip_under_another_etag_is_not_even_unpacked(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        loop.publish("1.1")
        box.supervisor.failing["1.1"] = ModelFailed("It returns NaN")
        await box.until(lambda: box.versions.error is not None)
        content, unpacked, put_zip = loop.files[id_of("1.1"), "litert"], 0, box.store.put_zip

        def counting(*arguments: Any, **options: Any) -> StoredModel:
            nonlocal unpacked
            unpacked += 1
            return put_zip(*arguments, **options)

        box.store.put_zip = counting  # type: ignore[method-assign] # what unpacks, and counts
        headers = {"etag": '"another"', "content-length": str(len(content))}
        loop.file_answer = lambda request: httpx.Response(
            200, headers=headers, content=b"" if request.method == "HEAD" else content
        )
        await box.until(lambda: loop.downloads("1.1") == 2)
        await asyncio.sleep(600)
        assert (loop.downloads("1.1"), unpacked, box.supervisor.tried.count("1.1")) == (2, 0, 1)
        assert "It returns NaN" in str(box.versions.error)


@in_virtual_time
async def test_a_file_larger_than_any_model_is_not_asked_for_again(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        loop.publish("1.1", size=MIB)
        headers = {"etag": '"huge"', "content-length": str(10**15)}
        loop.file_answer = lambda request: httpx.Response(200, headers=headers)
        await asyncio.sleep(3600)
        assert "no room for model 1.1" in str(box.versions.error)
        assert loop.downloads("1.1") == 0


@in_virtual_time
async def test_while_the_loop_is_away_a_fault_is_still_told(tmp_path: Path, loop: ScriptedLoop) -> None:
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        loop.offer("1.1", b"no zip")
        loop.deploy("1.1")
        await box.until(lambda: box.versions.error is not None)
        loop.away = httpx.ConnectError("Connection refused")
        await asyncio.sleep(600)
        assert "no zip" in str(box.versions.error)
        assert box.connection.condition.state == "away"


@in_virtual_time
async def test_another_model_under_the_name_of_one_that_came_before(tmp_path: Path, loop: ScriptedLoop) -> None:
    """A project was made anew in the Loop, and its versions begin again."""
    loop.publish("1.0")
    async with LoopedBox(tmp_path, loop) as box:
        await box.serves("1.0")
        await box.prove()
        loop.publish("1.1")
        await box.serves("1.1")
        await box.prove()
        loop.models.clear()
        loop.files.clear()
        other = "00000000-0000-0000-0000-0000000000ff"
        loop.files[other, "litert"] = zipped("1.1", id=other, weights=weights_of("of the new project"))
        loop.models.append({"id": other, "version": "1.1", "formats": ["litert"]})
        loop.target = {"model_uuid": other, "version": "1.1"}
        await box.until(lambda: box.versions.error is not None)
        assert "another one than the model of this name on this box" in str(box.versions.error)
        assert box.supervisor.version == "1.1"
        await asyncio.sleep(1200)
        assert loop.count(f"/models/{other}/litert/file") == 0, "it is not downloaded in vain"

        loop.publish("1.2")
        await box.serves("1.2")
        await box.prove()
        loop.publish("1.3")
        await box.serves("1.3")
        await box.prove()
        loop.target = {"model_uuid": other, "version": "1.1"}
        await box.until(lambda: box.supervisor.version == "1.1", seconds=601)
        assert box.supervisor.serving is not None
        assert box.supervisor.serving.bundle.model_id == other


@in_virtual_time
async def test_a_model_that_somebody_brought_is_not_exchanged_for_the_loops(tmp_path: Path, loop: ScriptedLoop) -> None:
    async with LoopedBox(tmp_path, loop) as box:
        mine = tmp_path / "mine.zip"
        mine.write_bytes(zipped("1.0", id="mine", weights=weights_of("mine")))
        await box.versions.add(mine)
        loop.publish("1.0")
        await box.until(lambda: box.versions.error is not None)
        assert "another one than the model of this name on this box" in str(box.versions.error)
        [model] = [model for model in box.store.list() if model.version == "1.0"]
        assert model.id == "mine"


@in_virtual_time
async def test_the_target_that_somebody_brought_is_not_downloaded(tmp_path: Path, loop: ScriptedLoop) -> None:
    async with LoopedBox(tmp_path, loop) as box:
        mine = tmp_path / "mine.zip"
        mine.write_bytes(zipped("1.0"))
        loop.list_model("1.0")
        loop.deploy("1.0")
        await box.until(lambda: box.state == "waiting_for_format")
        await box.versions.add(mine)
        assert await box.serves("1.0") < 1
        assert loop.count("/file") == 0
