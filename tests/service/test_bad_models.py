"""Models that are none, that are dangerous, or that do not run: refused with the reason, while the serving one serves."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.box import Box
from tests.service.bundles import document_of, model_zip, onnx_weights, zip_of
from tests.service.conftest import MakeBox
from tests.service.photographs import CAT
from tests.support.tiny_onnx import write_onnx


@pytest.fixture(scope="module")
def victim(make_box: MakeBox) -> Box:
    """The box that is given all of them."""
    box = make_box()
    add(box, b"a first one, so that the folders are there that any model needs")
    return box


@pytest.fixture(autouse=True)
def unharmed(victim: Box) -> Iterator[None]:
    """After every story the box serves what it served."""
    yield
    assert victim.detects(CAT.jpeg)
    assert victim.http.get("/model_version").json()["current_version"] == "0.0"


def add(box: Box, content: bytes) -> httpx.Response:
    """POST a zip."""
    return box.http.post("/api/v1/models", files={"file": ("model.zip", content)})


SMALL = b"stands for weights; nobody gets as far as loading them" * 10


def with_entry(change: Callable[[zipfile.ZipFile], None]) -> bytes:
    """A model zip with something more in it."""
    buffer = io.BytesIO(model_zip("1.0", SMALL))
    with zipfile.ZipFile(buffer, "a") as archive:
        change(archive)
    return buffer.getvalue()


def named(name: str) -> bytes:
    """A zip with a file of that name."""
    return with_entry(lambda archive: archive.writestr(zipfile.ZipInfo(name), b"#!/bin/sh\n"))


def link(target: str) -> bytes:
    """A zip with a symbolic link."""
    entry = zipfile.ZipInfo("labels.txt")
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return with_entry(lambda archive: archive.writestr(entry, target))


def bomb() -> bytes:
    """A quarter of a gigabyte of zeros in a quarter of a megabyte."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("model.json", "{}")
        with archive.open("model.onnx", "w", force_zip64=True) as entry:
            for _ in range(64):
                entry.write(bytes(4 * 2**20))
    return buffer.getvalue()


def million_entries() -> bytes:
    """A zip whose list has a million entries for the same few bytes: 70 MB of list."""
    local = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"
    entry = b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    listing = entry * 1_000_000
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, len(listing), len(local), 0)
    return local + listing + end


def liar() -> bytes:
    """A zip that says that its file is a hundred times as long as it is."""
    content = bytearray(zip_of({"model.json": json.dumps(document_of("1.0")), "model.onnx": b"weights"}))
    start = content.rindex(b"PK\x01\x02")
    content[start + 24 : start + 28] = struct.pack("<I", 700)
    return bytes(content)


def changed(version: Any = "1.0", **keys: Any) -> bytes:
    """A model zip in whose model.json keys were replaced; None removes one."""
    return model_zip(version, SMALL, **keys)


def flipped() -> bytes:
    """A model zip with another byte in the middle of the weights."""
    content = bytearray(model_zip("1.0", SMALL))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


def damaged_inference(**keys: Any) -> bytes:
    """A model zip in whose `inference` keys were replaced."""
    spec, _ = onnx_weights()
    document = document_of("1.0")
    document["inference"] = {
        **document["inference"],
        "weights": [{**spec, "sha256": hashlib.sha256(SMALL).hexdigest()}],
        **keys,
    }
    return zip_of({"model.json": json.dumps(document), spec["file"]: SMALL})


REFUSED: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "nothing": (lambda: b"", 422, "no zip"),
    "a text": (lambda: b"I am a model", 422, "no zip"),
    "a picture": (lambda: CAT.jpeg, 422, "no zip"),
    "a zip cut off": (lambda: model_zip("1.0", SMALL)[:-100], 422, "no zip"),
    "a zip with a damaged file": (flipped, 422, "damaged"),
    "an empty zip": (lambda: zip_of({}), 422, "model.json"),
    "a zip in a folder": (lambda: named("inner/"), 422, "top level"),
    "a way out": (lambda: named("../../escaped.txt"), 422, "path separators"),
    "an absolute name": (lambda: named("/tmp/escaped.txt"), 422, "path separators"),
    "a way out for Windows": (lambda: named("..\\escaped.txt"), 422, "path separators"),
    "a drive": (lambda: named("C:escaped.txt"), 422, "colon"),
    "only dots": (lambda: named(".."), 422, "names no file"),
    "a control character": (lambda: named("a\nb"), 422, "control characters"),
    "a link to a file of the system": (lambda: link("/etc/passwd"), 422, "link"),
    "a link to nowhere": (lambda: link("nowhere"), 422, "link"),
    "a name twice": (lambda: named("MODEL.JSON"), 422, "twice"),
    "a thousand times its size": (bomb, 413, "zip bomb"),
    "a million entries": (million_entries, 413, "list of files"),
    "a size that is not true": (liar, 422, "cut short"),
    "no model.json": (lambda: zip_of({"model.onnx": b"weights"}), 422, "model.json"),
    "model.json that is no JSON": (lambda: zip_of({"model.json": "{", "model.onnx": b"w"}), 422, "no valid JSON"),
    "model.json that is a list": (lambda: zip_of({"model.json": "[]", "model.onnx": b"w"}), 422, "JSON object"),
    "model.json that is no text": (lambda: zip_of({"model.json": b"\xff", "model.onnx": b"w"}), 422, "UTF-8"),
    "model.json that is nested deeply": (
        lambda: zip_of({"model.json": "[" * 100_000 + "]" * 100_000, "model.onnx": b"w"}),
        422,
        "nested",
    ),
    "model.json with NaN": (
        lambda: zip_of({"model.json": '{"conf_threshold": NaN}', "model.onnx": b"w"}),
        422,
        "no valid JSON",
    ),
    "no version": (lambda: changed(version=None), 422, "version"),
    "a version that is a word": (lambda: changed(version="newest"), 422, "version"),
    "a version that is a path": (lambda: changed(version="../1"), 422, "version"),
    "a version that is a number": (lambda: changed(version=1.5), 422, "version"),
    "an organization that is a path": (lambda: changed(organization="../../acme"), 422, "organization"),
    "no project": (lambda: changed(project=None), 422, "project"),
    "a format that is a path": (lambda: changed(format="../litert"), 422, "format"),
    "categories that are a text": (lambda: changed(categories="cat"), 422, "categories"),
    "a category without a name": (lambda: changed(categories=[{"id": "1"}]), 422, "name"),
    "fewer categories than classes": (lambda: changed(categories=[{"id": "1", "name": "a"}]), 422, "parallel"),
    "a threshold above one": (lambda: changed(conf_threshold=1.5), 422, "conf_threshold"),
    "a negative resolution": (lambda: changed(resolution=-1), 422, "resolution"),
    "inference of the future": (lambda: damaged_inference(version=2), 422, "too old"),
    "an unheard-of head": (lambda: damaged_inference(head="../head"), 422, "head"),
    "no weights": (lambda: damaged_inference(weights=[]), 422, "weights"),
    "weights that are not there": (
        lambda: zip_of({"model.json": json.dumps(document_of("1.0"))}),
        422,
        "not in the bundle",
    ),
    "weights elsewhere": (
        lambda: damaged_inference(weights=[{**onnx_weights()[0], "file": "../../etc/passwd"}]),
        422,
        "file",
    ),
    "weights that are others": (
        lambda: damaged_inference(weights=[{**onnx_weights()[0], "sha256": "0" * 64}]),
        422,
        "sha256",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_zip_that_is_no_sound_model_is_refused_and_leaves_nothing(victim: Box, case: str) -> None:
    make, status, word = REFUSED[case]
    before = victim.tree()

    answer = add(victim, make())

    assert answer.status_code == status, answer.text
    assert word in answer.json()["detail"]
    assert victim.tree() == before
    assert not Path("/tmp/escaped.txt").exists()
    assert victim.http.get("/api/v1/models").json()["broken"] == []


def test_a_form_with_two_models_or_none_is_refused(victim: Box) -> None:
    twice = [("file", ("a.zip", b"a")), ("file", ("b.zip", b"b"))]
    assert victim.http.post("/api/v1/models", files=twice).status_code == 422
    assert victim.http.post("/api/v1/models", files={"model": b"a"}).status_code == 422


FAILING: dict[str, tuple[str, Callable[[], bytes]]] = {
    "weights of noise": ("2.1", lambda: model_zip("2.1", hashlib.sha256(b"noise").digest() * 1000)),
    "weights cut off": ("2.2", lambda: model_zip("2.2", onnx_weights()[1][:500_000])),
    "an unknown head": ("2.3", lambda: damaged_version("2.3", head="crystal_ball")),
    "the wrong head": ("2.4", lambda: damaged_version("2.4", head="detr")),
    "an input of another size": ("2.5", lambda: damaged_version("2.5", size=(64, 64))),
}


def constant(folder: Path, boxes: float, rows: int = 20, count: int = 20) -> bytes:
    """ONNX weights that answer every picture with the same outputs."""
    outputs = {
        "boxes": np.full((1, rows, 4), boxes, np.float32),
        "classes": np.zeros((1, 20), np.float32),
        "scores": np.full((1, 20), 0.9, np.float32),
        "count": np.full((1,), count, np.float32),
    }
    return write_onnx(folder / "constant.onnx", (1, 300, 300, 3), outputs, dtype="uint8").read_bytes()


@pytest.mark.parametrize(
    ("version", "boxes", "rows"), [("2.6", float("nan"), 20), ("2.7", float("inf"), 20), ("2.8", 0.5, 7)]
)
def test_a_model_that_answers_nonsense_does_not_get_to_serve(
    victim: Box, tmp_path: Path, version: str, boxes: float, rows: int
) -> None:
    assert add(victim, model_zip(version, constant(tmp_path, boxes, rows))).status_code == 201

    victim.http.put("/model_version", content=version)
    victim.wait_until(lambda: victim.http.get("/about").json()["error"] is not None)

    about = victim.http.get("/about").json()
    assert (about["model_info"]["version"], about["target_model"]) == ("0.0", None)
    victim.http.put("/model_version", content="follow_loop")
    assert victim.http.delete(f"/api/v1/models/{version}").status_code == 200


def damaged_version(version: str, *, head: str = "ssd_postprocessed", size: tuple[int, int] = (300, 300)) -> bytes:
    """Weights that are whole, described wrongly."""
    spec, weights = onnx_weights()
    document = document_of(version)
    spec["input"] = {**spec["input"], "width": size[0], "height": size[1]}
    document["inference"] = {**document["inference"], "head": head, "weights": [spec]}
    return zip_of({"model.json": json.dumps(document), spec["file"]: weights})


@pytest.mark.parametrize("case", FAILING)
def test_a_model_that_does_not_run_leaves_the_serving_one_serving_and_says_why(victim: Box, case: str) -> None:
    version, make = FAILING[case]
    assert add(victim, make()).status_code == 201

    assert victim.http.put("/model_version", content=version).json() == "OK"
    victim.wait_until(lambda: victim.http.get("/about").json()["error"] is not None)

    about = victim.http.get("/about").json()
    assert f"Model {version} could not be brought into service" in about["error"]
    assert about["model_info"]["version"] == "0.0"
    assert about["target_model"] is None, "it is not tried again and again"
    assert victim.http.get("/healthz").json() == {"status": "degraded", "reason": about["error"]}
    assert victim.http.get("/readyz").status_code == 200
    failure = victim.http.get("/api/v1/models").json()["failures"][-1]
    assert failure["model_id"] == document_of(version)["id"]
    assert failure["reason"] in about["error"]
    assert victim.http.put("/model_version", content="follow_loop").json() == "OK"
    assert victim.http.delete(f"/api/v1/models/{version}").status_code == 200
