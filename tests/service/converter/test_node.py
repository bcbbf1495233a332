"""The converter as a node beside the embedded loop, with an own pair of formats that is installed as a package."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial
from pathlib import Path

import pytest

from converter_companion import pairs
from converter_companion.node import ConverterNode
from converter_companion.page import Watching
from converter_companion.pairs.base import Work
from converter_companion.settings import ConverterSettings
from models.errors import BundleError, NotApplicable
from tests.service.converter.converters import TEXTS, node, until
from tests.service.loop_server.pictures import jpeg
from tests.service.loop_server.shop import Shop, described, model_zip, unzipped, zip_bytes
from tests.service.running_loop import RunningLoop
from tests.support.raw_server import on_loopback


def test_within_a_minute_a_model_has_the_other_format_too(loop: RunningLoop, shop: Shop, tmp_path: Path) -> None:
    uploaded = shop.upload("format_a", zip_bytes(TEXTS), "my_model.zip")
    assert [each["id"] for each in shop.models(format="format_a")] == [uploaded["id"]]
    assert shop.models(format="format_b") == []
    shop.upload("another", model_zip())

    async def story() -> None:
        async with node(loop, tmp_path):
            [listed] = await until("format_b", lambda: shop.models(format="format_b"))
            assert (listed["id"], sorted(listed["formats"])) == (uploaded["id"], ["format_a", "format_b"])

    on_loopback(story)()
    data = shop.download(uploaded, "format_b").content
    assert unzipped(data)["greeting.txt"] == b"HELLO"
    document = described(data)
    assert (document["format"], document["version"], document["own"]) == ("format_b", "1.0", 7)


def test_every_project_that_it_may_see_is_looked_at(loop: RunningLoop, tmp_path: Path) -> None:
    shops = [Shop(loop), Shop(loop, "another-organization")]
    for shop in shops:
        shop.upload("format_a", zip_bytes(TEXTS))

    async def story() -> None:
        async with node(loop, tmp_path):
            for shop in shops:
                await until("format_b", partial(shop.models, format="format_b"))

    on_loopback(story)()


def test_what_cannot_be_converted_is_remembered_and_tried_again_when_its_file_changed(
    loop: RunningLoop, shop: Shop, tmp_path: Path
) -> None:
    broken = shop.upload("format_a", model_zip())

    async def story() -> None:
        async with node(loop, tmp_path) as first:
            await until("a failure", lambda: first.memory.failures)
            [(key, failure)] = first.memory.failures.items()
            assert broken["id"] in key
            assert "at least one text file" in failure.reason
            assert first.recent[0].reason == failure.reason
            assert first.status()["failed"] == 1
            tried = len(first.recent)
            looked_at = first.looked_at
            await until("more looks", lambda: first.looked_at != looked_at)
            await until("still more", lambda: first.looked_at != looked_at)
            assert len(first.recent) == tried, "it is not tried again and again"
        async with node(loop, tmp_path) as second:
            await until("a look", lambda: second.looked_at)
            assert second.recent == [], "nor after a restart"
            answer = await asyncio.to_thread(shop.put, f"models/{broken['id']}/format_a/file", TEXTS)
            assert answer.is_success, answer.text
            await until("format_b", lambda: shop.models(format="format_b"))
            await until("a clean memory", lambda: not second.memory.failures)

    on_loopback(story)()


def test_a_pair_that_is_not_for_a_network_is_no_failure_and_not_tried_again(
    loop: RunningLoop, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import text_converter  # type: ignore[import-not-found] # installed for this test

    tried: list[str] = []

    def refuse(_self: object, work: Work) -> None:
        tried.append(str(work.source.folder))
        raise NotApplicable("Poems become no format_b. Devices read them as format_a.")

    monkeypatch.setattr(text_converter.TextConverter, "convert", refuse)
    caplog.set_level(logging.INFO, "converter_companion.node")
    uploaded = shop.upload("format_a", zip_bytes(TEXTS))

    def of_ours(made: ConverterNode) -> bool:
        return any(uploaded["id"] in key for key in made.memory.failures)

    async def story() -> None:
        async with node(loop, tmp_path) as made:
            await until("what is not for it", lambda: of_ours(made))
            looked_at = await until("the end of the look", lambda: made.looked_at)
            view = await Watching(made).feed.now()
            title = f"Version 1.0 of {shop.organization}/{shop.project} from format_a to format_b"
            [shown] = view.unfit
            assert shown.reason == "Poems become no format_b. Devices read them as format_a."
            assert title in shown.titles
            assert (view.failures, view.recent) == ((), ())
            assert view.condition.sentence.startswith("Idle: everything is converted.")
            assert (made.status()["failed"], made.status()["not_applicable"]) == (0, len(shown.titles))
            # More pictures help what failed, but not this.
            picture = [("files", ("image_a.json", b"{}")), ("files", ("image_a.jpg", jpeg()))]
            answer = await asyncio.to_thread(lambda: shop.http.post(f"{shop.path}/images", files=picture))
            assert answer.is_success, answer.text
            await until("more looks", lambda: made.looked_at != looked_at)
        async with node(loop, tmp_path) as made:
            await until("a look", lambda: made.looked_at)
            assert len(tried) == len(shown.titles)
            deleted = await asyncio.to_thread(shop.http.delete, shop.path)
            assert deleted.is_success, deleted.text
            await until("nothing to remember", lambda: not of_ours(made))

    on_loopback(story)()
    said = [each for each in caplog.records if uploaded["id"] in each.getMessage() or "Poems" in each.getMessage()]
    assert {each.levelname for each in said} == {"INFO"}
    words = f"version 1.0 of {shop.organization}/{shop.project} from format_a to format_b"
    assert len([each for each in said if f"not for this network: {words}: Poems" in each.getMessage()]) == 1


def test_what_failed_and_was_made_by_somebody_else_is_no_matter_any_more(
    loop: RunningLoop, shop: Shop, tmp_path: Path
) -> None:
    broken = shop.upload("format_a", model_zip())

    async def story() -> None:
        async with node(loop, tmp_path) as made:
            await until("a failure", lambda: [key for key in made.memory.failures if broken["id"] in key])
            answer = await asyncio.to_thread(shop.put, f"models/{broken['id']}/format_b/file", TEXTS)
            assert answer.is_success, answer.text
            await until("a clean memory", lambda: not [key for key in made.memory.failures if broken["id"] in key])

    on_loopback(story)()


def test_what_failed_is_tried_again_at_once_when_a_person_says_so(
    loop: RunningLoop, shop: Shop, tmp_path: Path
) -> None:
    shop.upload("format_a", model_zip())

    async def story() -> None:
        async with node(loop, tmp_path, poll_seconds=3600) as made:
            watching = Watching(made)
            await until("the end of the look", lambda: made.looked_at)
            view = await watching.feed.now()
            title = f"Version 1.0 of {shop.organization}/{shop.project} from format_a to format_b"
            [failed] = [each for each in view.failures if each.title == title]
            assert failed.reason in {each.reason for each in view.recent}
            assert "not work" in view.condition.sentence
            tried = len(made.recent)

            await watching.try_again(failed.key)

            await until("another try", lambda: len(made.recent) > tried)
            assert made.recent[0].task.key == failed.key

    on_loopback(story)()


def test_a_project_with_more_pictures_is_worth_another_try(loop: RunningLoop, shop: Shop, tmp_path: Path) -> None:
    shop.upload("format_a", model_zip())

    async def story() -> None:
        async with node(loop, tmp_path) as made:
            await until("a failure", lambda: made.memory.failures)
            tried = len(made.recent)
            picture = [("files", ("image_a.json", b"{}")), ("files", ("image_a.jpg", jpeg()))]
            answer = await asyncio.to_thread(lambda: shop.http.post(f"{shop.path}/images", files=picture))
            assert answer.is_success, answer.text
            await until("another try", lambda: len(made.recent) > tried)

    on_loopback(story)()


def test_an_own_converter_that_was_changed_is_tried_again(
    loop: RunningLoop, shop: Shop, site: Path, tmp_path: Path
) -> None:
    """By the next process: this one runs what it has loaded, and would blame the new one for it."""
    shop.upload("format_a", model_zip())

    async def story() -> None:
        async with node(loop, tmp_path) as made:
            looked_at = await until("the end of a look", lambda: made.looked_at)
            assert made.memory.failures
            tried = len(made.recent)
            os.utime(site / "text_converter.py")
            await until("another look", lambda: made.looked_at != looked_at)
            assert len(made.recent) == tried
        pairs.edition.cache_clear()  # as a new process begins
        async with node(loop, tmp_path) as made:
            await until("another try", lambda: len(made.recent) > 0)

    on_loopback(story)()


def test_a_pair_that_nobody_converts_is_named_with_those_that_there_are() -> None:
    with pytest.raises(BundleError, match=r"Nothing converts format_b to format_a; there is .*format_a-to-format_b"):
        pairs.converter("format_b", "format_a")


def test_an_own_converter_that_raises_anything_ends_its_conversion_only(
    loop: RunningLoop, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import text_converter

    def explode(self: object, work: object) -> None:
        raise ZeroDivisionError("a bug of its own")

    with monkeypatch.context() as patched:
        patched.setattr(text_converter.TextConverter, "convert", explode)
        shop.upload("format_a", zip_bytes(TEXTS))

        async def story() -> None:
            async with node(loop, tmp_path) as made:
                await until("a failure", lambda: made.memory.failures)
                [failure] = made.memory.failures.values()
                assert "The conversion to format_b failed: ZeroDivisionError: a bug of its own" in failure.reason

        on_loopback(story)()


def test_a_loop_that_is_away_is_told_and_asked_again(shop: Shop, loop: RunningLoop, tmp_path: Path) -> None:
    async def story() -> None:
        settings = ConverterSettings(data_folder=tmp_path, loop_host="127.0.0.1:9", poll_seconds=0.05)
        made = ConverterNode(settings, restart=lambda: None)
        await made.start()
        await made.connection.switch(True)
        try:
            trouble = await until("trouble", lambda: made.trouble)
            assert "127.0.0.1:9" in trouble
            assert made.memory.failures == {}
        finally:
            await made.close()
            await made.connection.close()

    on_loopback(story)()
