"""Models go into the loop and come out of it, as people, trainers, converters and detectors do it."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from access import walk
from appliance.loop_server.app import ROUTERS
from appliance.loop_server.numbering import ROUTE_WORDS
from appliance.loop_server.rights import PROJECT
from appliance.throttle import Throttle
from models.bundle import open_bundle, pack, unpack
from tests.service.loop_server.shop import NO_SUCH_ID, Shop, described, model_zip, unzipped, zip_bytes
from tests.service.running_loop import RunningLoop
from tests.support.small_bundles import CATEGORIES, make_bundle


@pytest.fixture
def shop(loop: RunningLoop) -> Shop:
    """An empty project of the test's own."""
    return Shop(loop)


def blobs(loop: RunningLoop) -> int:
    """How many files lie in the storage."""
    return len(list(loop.services.blobs.names()))


def test_a_bundle_goes_in_and_comes_out_as_a_model_that_devices_open(shop: Shop, tmp_path: Path) -> None:
    pack(make_bundle(tmp_path / "made", organization="elsewhere", our_own=[1]), tmp_path / "made.zip")

    uploaded = shop.upload("litert", (tmp_path / "made.zip").read_bytes())
    (tmp_path / "got.zip").write_bytes(shop.download(uploaded).content)

    unpack(tmp_path / "got.zip", tmp_path / "got")
    bundle = open_bundle(tmp_path / "got")
    assert bundle.identity == ("workshop", shop.project, "litert", "1.0")
    assert (bundle.model_id, bundle.model.host) == (uploaded["id"], shop.loop.settings.host)
    document = described((tmp_path / "got.zip").read_bytes())
    assert (document["categories"], document["our_own"]) == (CATEGORIES, [1])
    assert shop.models() == [uploaded]
    assert uploaded["version"] == "1.0"
    assert uploaded["formats"] == ["litert"]
    assert uploaded["host"] == shop.loop.settings.host
    assert uploaded["created"].startswith("20")


def test_each_upload_is_the_next_major_version(shop: Shop) -> None:
    assert [shop.upload()["version"] for _ in range(3)] == ["1.0", "2.0", "3.0"]
    assert [model["version"] for model in shop.models()] == ["1.0", "2.0", "3.0"]


def test_the_same_file_twice_makes_two_models_that_both_can_be_had(shop: Shop) -> None:
    first, second = shop.upload(), shop.upload()
    assert first["id"] != second["id"]
    assert described(shop.download(first).content)["version"] == "1.0"
    assert described(shop.download(second).content)["version"] == "2.0"


def test_models_are_listed_by_format(shop: Shop) -> None:
    a, b = shop.upload("litert"), shop.upload("onnx")
    assert shop.put(f"models/{a['id']}/onnx/file", {"model.onnx": b"x"}).status_code == 200
    assert [model["version"] for model in shop.models(format="litert")] == ["1.0"]
    assert [model["version"] for model in shop.models(format="onnx")] == ["1.0", "2.0"]
    assert shop.models(format="tflite") == []
    assert shop.models()[0]["formats"] == ["litert", "onnx"]
    assert b["formats"] == ["onnx"]


def test_a_base_model_needs_no_description(shop: Shop) -> None:
    uploaded = shop.upload("appliance_pytorch", b"tensors", name="pretrained.pt")
    files = unzipped(shop.download(uploaded, "appliance_pytorch").content)
    assert files["pretrained.pt"] == b"tensors"
    zipped = shop.upload("appliance_pytorch", zip_bytes({"a.pt": b"1", "b.yaml": b"2"}))
    assert sorted(unzipped(shop.download(zipped, "appliance_pytorch").content)) == ["a.pt", "b.yaml", "model.json"]


def test_the_download_is_named_so_that_two_detectors_on_a_machine_do_not_share_a_folder(shop: Shop) -> None:
    """Upstream takes what stands after `filename=`, strips quotes, and unpacks into /tmp under that name."""
    uploaded = shop.upload()
    names = set()
    for _ in range(2):
        answer = shop.download(uploaded)
        assert answer.headers["content-type"] == "application/zip"
        name = answer.headers["Content-Disposition"].split("filename=")[1].strip('"')
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
        assert re.fullmatch(shop.project + r"-1\.0-litert-[0-9a-f]{12}\.zip", name)
        names.add(name)
    assert len(names) == 2


def test_strangers_may_download_but_not_without_end(
    loop: RunningLoop, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded = shop.upload("litert", model_zip(bytes(1_500_000)))
    path = f"{shop.path}/models/{uploaded['id']}/litert/file"
    device = loop.client(("203.0.113.9", 40000))
    monkeypatch.setattr(loop.services, "open_requests", Throttle(3, time.monotonic))
    answers = [device.get(path) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert shop.download(uploaded).status_code == 200, "who is known is not bounded"

    monkeypatch.setattr(loop.services, "open_requests", Throttle(100, time.monotonic))
    monkeypatch.setattr(loop.services, "open_megabytes", Throttle(3, time.monotonic))
    device = loop.client(("198.51.100.9", 40000))
    assert [device.get(path).status_code for _ in range(4)] == [200, 200, 429, 429], "bytes count, too"


class TestResuming:
    """A download that broke off goes on where it was."""

    @pytest.fixture
    def uploaded(self, shop: Shop) -> dict[str, Any]:
        return shop.upload("litert", model_zip(bytes(range(256)) * 8000))

    def test_in_pieces_it_is_the_same(self, shop: Shop, uploaded: dict[str, Any]) -> None:
        whole = shop.download(uploaded)
        assert whole.headers["accept-ranges"] == "bytes"
        assert int(whole.headers["content-length"]) == len(whole.content) > 300_000
        etag = whole.headers["etag"]

        first = shop.download(uploaded, Range="bytes=0-99999")
        rest = shop.download(uploaded, Range="bytes=100000-", **{"If-Range": etag})
        assert (first.status_code, rest.status_code) == (206, 206)
        assert first.headers["content-range"] == f"bytes 0-99999/{len(whole.content)}"
        assert rest.headers["content-range"] == f"bytes 100000-{len(whole.content) - 1}/{len(whole.content)}"
        assert first.content + rest.content == whole.content
        assert shop.download(uploaded, Range="bytes=-10").content == whole.content[-10:]

    def test_what_has_changed_meanwhile_comes_whole(self, shop: Shop, uploaded: dict[str, Any]) -> None:
        etag = shop.download(uploaded).headers["etag"]
        changed = shop.put(f"models/{uploaded['id']}/litert/file", {"model.json": b"{}", "w": bytes(200_000)})
        assert changed.status_code == 200
        answer = shop.download(uploaded, Range="bytes=100000-", **{"If-Range": etag})
        assert answer.status_code == 200
        assert unzipped(answer.content)["w"] == bytes(200_000)
        assert answer.headers["etag"] != etag

    def test_what_begins_behind_the_end(self, shop: Shop, uploaded: dict[str, Any]) -> None:
        size = len(shop.download(uploaded).content)
        answer = shop.download(uploaded, Range=f"bytes={size}-")
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")


def test_a_converter_adds_a_format_and_may_do_so_again(shop: Shop, loop: RunningLoop) -> None:
    uploaded = shop.upload("onnx", model_zip(resolution=320, categories=CATEGORIES, own=1))
    before = blobs(loop)

    for weights in (b"first", b"better"):
        answer = shop.put(f"models/{uploaded['id']}/litert/file", {"model.tflite": weights})
        assert answer.status_code == 200
        assert answer.json()["formats"] == ["litert", "onnx"]

    got = shop.download(uploaded, "litert").content
    assert unzipped(got)["model.tflite"] == b"better"
    document = described(got)
    assert (document["version"], document["id"]) == ("1.0", uploaded["id"])
    assert (document["format"], document["resolution"], document["categories"]) == ("litert", 320, CATEGORIES)
    assert blobs(loop) == before + 1, "what was replaced is removed"


def test_a_converter_of_the_old_days_finds_what_it_has_to_convert(loop: RunningLoop, shop: Shop) -> None:
    """learning-loop-node up to 0.9 looks through every project once a minute."""
    shop.http.post(f"{shop.path}/categories", json={"name": "screw"}).raise_for_status()
    source, done = shop.upload("onnx"), shop.upload("onnx")
    shop.put(f"models/{done['id']}/litert/file", {"model.tflite": b"converted before"})

    converted = []
    for project in loop.http.get("/api/projects").json()["projects"]:
        if (project["organization_id"], project["project_id"]) != (shop.organization, shop.project):
            continue
        resource = f"/api{project['resource']}"
        assert [category["name"] for category in loop.http.get(resource).json()["categories"]] == ["screw"]
        for model in loop.http.get(f"{resource}/models").json()["models"]:
            if model["version"] is None or "onnx" not in model["formats"] or "litert" in model["formats"]:
                continue
            weights = unzipped(shop.download(model, "onnx").content)["weights.bin"]
            files = [("files", ("model.tflite", weights)), ("files", ("model.json", b"{}"))]
            assert loop.http.put(f"{resource}/models/{model['id']}/litert/file", files=files).status_code == 200
            converted.append(model["id"])
    assert converted == [source["id"]]
    assert {tuple(model["formats"]) for model in shop.models()} == {("litert", "onnx")}


@pytest.mark.parametrize("format", ["Litert", "..", "a%20b", "%2e", *sorted(ROUTE_WORDS)])
def test_what_cannot_name_a_format_is_refused_and_nothing_is_kept(shop: Shop, loop: RunningLoop, format: str) -> None:
    before = blobs(loop)
    answer = shop.try_upload(format, model_zip())
    assert answer.status_code in {404, 405, 422}
    assert answer.json()["detail"]
    uploaded = shop.upload()
    answer = shop.put(f"models/{uploaded['id']}/{format}/file", {"model.json": b"{}"})
    assert answer.status_code in {404, 405, 422}
    assert blobs(loop) == before + 1


def test_no_route_of_a_project_could_be_taken_for_a_format(loop: RunningLoop) -> None:
    """A format named like a route would never be reached, or would hide it."""
    paths = [path for router in ROUTERS for _, path in walk(router(loop.services).routes)]
    words = {path.removeprefix(f"{PROJECT}/").split("/")[0] for path in paths if path.startswith(f"{PROJECT}/")}
    assert {"models", "deployment", "{format}"} <= words
    assert words - {"{format}"} <= ROUTE_WORDS


HOSTILE = {
    "no zip": b"<html>",
    "a path upwards": zip_bytes({"../../evil": b"x", "model.json": b"{}"}),
    "an absolute path": zip_bytes({"/etc/cron.d/x": b"x"}),
    "a folder": zip_bytes({"model/model.json": b"{}"}),
    "no JSON": zip_bytes({"model.json": b"{"}),
    "not an object": zip_bytes({"model.json": b"[]"}),
    "wrong types": zip_bytes({"model.json": b'{"resolution": "big"}'}),
    "a bomb": zip_bytes({"model.json": b"{}", "w": bytes(40_000_000)}),
    "many files": zip_bytes({f"f{number}": b"" for number in range(65)}),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_zip_is_refused_in_words_and_leaves_nothing(shop: Shop, loop: RunningLoop, what: str) -> None:
    before = blobs(loop)
    answer = shop.try_upload("litert", HOSTILE[what])
    assert answer.status_code == (413 if what in {"a bomb", "many files"} else 422)
    assert len(answer.json()["detail"]) > 20
    assert shop.models() == []
    assert blobs(loop) == before
    assert list((loop.settings.data_folder / "incoming").iterdir()) == []
    assert shop.upload()["version"] == "1.0", "no number is used up"


def test_what_is_no_form_is_refused(shop: Shop) -> None:
    for answer in (
        shop.http.post(f"{shop.path}/litert", content=b"zip"),
        shop.http.post(f"{shop.path}/litert", files={"file": b"x"}),
        shop.http.post(f"{shop.path}/litert", data={"files": "x"}),
    ):
        assert answer.status_code == 422
        assert "curl -F 'files=@model.zip'" in answer.json()["detail"]


def test_too_large_models_are_refused_before_they_are_read(tmp_path: Path) -> None:
    with RunningLoop(tmp_path, max_model_mb=1) as small:
        assert Shop(small).try_upload("litert", bytes(3_000_000)).status_code == 413


@pytest.mark.parametrize("project", ["/api/workshop/projects/nothing", "/api/nobody/projects/parts1"])
def test_an_unknown_project_is_said_to_be_one(shop: Shop, project: str) -> None:
    form = {"files": ("m.zip", model_zip())}
    for answer in (
        shop.http.get(f"{project}/models"),
        shop.http.post(f"{project}/litert", files=form),
        shop.http.get(f"{project}/models/{NO_SUCH_ID}/litert/file"),
        shop.http.get(f"{project}/deployment/target"),
        shop.http.put(f"{project}/trainings/1/models/latest/litert/file", files=form),
    ):
        assert answer.status_code == 404
        assert "no project" in answer.json()["detail"]


def test_unknown_models_and_formats_say_what_there_is(shop: Shop) -> None:
    uploaded = shop.upload()
    unknown = shop.download({"id": NO_SUCH_ID})
    assert (unknown.status_code, "no model" in unknown.text) == (404, True)
    other = shop.download(uploaded, "onnx")
    assert (other.status_code, "it has litert" in other.text) == (404, True)
    assert shop.put(f"models/{NO_SUCH_ID}/onnx/file", {"model.json": b"{}"}).status_code == 404


def test_models_of_other_projects_are_out_of_reach(loop: RunningLoop, shop: Shop) -> None:
    other = Shop(loop)
    uploaded = shop.upload()
    assert other.download(uploaded).status_code == 404
    assert other.put(f"models/{uploaded['id']}/onnx/file", {"model.json": b"{}"}).status_code == 404
    assert other.http.put(f"{other.path}/deployment/target", json={"model_uuid": uploaded["id"]}).status_code == 404
    assert other.http.delete(f"{other.path}/models/{uploaded['id']}").status_code == 404
    assert shop.models() == [uploaded]


def test_uploads_at_once_all_get_a_number_of_their_own(shop: Shop) -> None:
    answers: list[Any] = []

    def upload(number: int) -> None:
        answers.append(shop.try_upload("litert", model_zip(str(number).encode() * 1000)))

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [answer.status_code for answer in answers] == [200] * 4, [answer.text for answer in answers]
    models = shop.models()
    assert sorted(model["version"] for model in models) == ["1.0", "2.0", "3.0", "4.0"]
    for model in models:
        assert described(shop.download(model).content)["version"] == model["version"], "the zip says the same"


def test_a_deleted_model_is_gone_and_its_number_is_not_used_again(shop: Shop, loop: RunningLoop) -> None:
    shop.upload()
    before = blobs(loop)
    second = shop.upload()
    assert shop.http.delete(f"{shop.path}/models/{second['id']}").json() == {"id": second["id"]}
    assert shop.download(second).status_code == 404
    assert [model["version"] for model in shop.models()] == ["1.0"]
    assert blobs(loop) == before
    assert shop.upload()["version"] == "3.0"
    assert shop.http.delete(f"{shop.path}/models/{second['id']}").status_code == 404


class TestDeployment:
    """What detectors shall run."""

    def test_a_model_is_deployed_by_id_or_version_and_withdrawn(self, shop: Shop) -> None:
        first, second = shop.upload(), shop.upload()
        target = f"{shop.path}/deployment/target"
        assert shop.http.get(target).status_code == 404

        deployed = {"model_uuid": first["id"], "version": "1.0"}
        assert shop.http.put(target, json={"model_uuid": first["id"]}).json() == deployed
        assert shop.http.get(target).json() == deployed
        assert shop.http.put(target, json={"version": "2.0"}).json()["model_uuid"] == second["id"]
        assert shop.http.get(target).json() == {"model_uuid": second["id"], "version": "2.0"}
        assert shop.http.delete(target).status_code == 200
        assert shop.http.get(target).status_code == 404

    @pytest.mark.parametrize(
        ("wish", "status"),
        [
            ({"model_uuid": NO_SUCH_ID}, 404),
            ({"version": "9.9"}, 404),
            ({}, 422),
            ({"model_uuid": NO_SUCH_ID, "version": "1.0"}, 422),
            ({"model_uuid": 7}, 422),
        ],
    )
    def test_what_is_no_model_changes_nothing(self, shop: Shop, wish: dict[str, Any], status: int) -> None:
        shop.upload()
        shop.http.put(f"{shop.path}/deployment/target", json={"version": "1.0"})
        answer = shop.http.put(f"{shop.path}/deployment/target", json=wish)
        assert answer.status_code == status
        assert shop.http.get(f"{shop.path}/deployment/target").json()["version"] == "1.0"

    def test_a_deployed_model_cannot_be_deleted(self, shop: Shop) -> None:
        uploaded = shop.upload()
        shop.http.put(f"{shop.path}/deployment/target", json={"version": "1.0"})
        answer = shop.http.delete(f"{shop.path}/models/{uploaded['id']}")
        assert (answer.status_code, "deploy another one" in answer.text) == (409, True)
        assert shop.download(uploaded).status_code == 200


def test_models_are_there_after_a_restart(tmp_path: Path) -> None:
    with RunningLoop(tmp_path) as loop:
        shop = Shop(loop)
        uploaded = shop.upload()
        shop.http.put(f"{shop.path}/deployment/target", json={"version": "1.0"})
        before = shop.download(uploaded)
    with RunningLoop(tmp_path) as loop:
        path = shop.path
        assert loop.http.get(f"{path}/models").json()["models"] == [uploaded]
        after = loop.http.get(f"{path}/models/{uploaded['id']}/litert/file")
        assert (after.content, after.headers["etag"]) == (before.content, before.headers["etag"])
        assert loop.http.get(f"{path}/deployment/target").json()["model_uuid"] == uploaded["id"]
