"""From what is uploaded to the zip that is kept."""

from __future__ import annotations

import errno
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from appliance.loop_server.model_zips import (
    Belonging,
    ReceivedFile,
    StoredZip,
    document_of,
    properties_of,
    unpack_upload,
    write_zip,
)
from models.bundle import open_bundle, pack, read_document, sha256_of, unpack
from models.bundle_zip import ZipLimits
from models.errors import BundleError, DetectorApplianceError, InputTooLarge, NoRoom
from models.files import FileSystem
from tests.support.small_bundles import CATEGORIES, make_bundle

OURS = Belonging(
    id="4a4c1fe0-0000-4000-8000-000000000001",
    host="loop.workshop",
    organization="workshop",
    project="parts",
    version="3.1",
    format="litert",
)


def received(folder: Path, **files: bytes) -> list[ReceivedFile]:
    """Files as they arrived; in names, `__` stands for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number, (name, content) in enumerate(files.items()):
        (folder / f"part-{number}").write_bytes(content)
        found.append(ReceivedFile(name.replace("__", "."), folder / f"part-{number}"))
    return found


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()


def zipped(tmp_path: Path, **keys: Any) -> list[ReceivedFile]:
    """A whole bundle as somebody would upload it."""
    pack(make_bundle(tmp_path / "made", **keys), tmp_path / "upload")
    return [ReceivedFile("my model.zip", tmp_path / "upload")]


def stored(tmp_path: Path, files: list[ReceivedFile], otherwise: dict[str, Any] | None = None) -> StoredZip:
    unpack_upload(files, tmp_path / "model")
    return write_zip(tmp_path / "model", document_of(tmp_path / "model", otherwise), OURS, tmp_path / "kept.zip")


def opened(tmp_path: Path, kept: StoredZip) -> dict[str, Any]:
    """What a device finds in the zip."""
    unpack(kept.path, tmp_path / "device")
    return read_document(tmp_path / "device")


def test_a_zip_is_told_whose_it_is_and_keeps_all_else(tmp_path: Path) -> None:
    kept = stored(tmp_path, zipped(tmp_path, organization="somebody else", host=None, our_own={"deep": [1]}))

    document = opened(tmp_path, kept)
    assert {key: document[key] for key in vars(OURS)} == vars(OURS)
    assert document["categories"] == CATEGORIES
    assert (document["resolution"], document["model_size"], document["conf_threshold"]) == (320, "small", 0.4)
    assert document["our_own"] == {"deep": [1]}
    bundle = open_bundle(tmp_path / "device")
    assert bundle.model.inference is not None, "the device runs what was uploaded"
    assert (kept.size, kept.sha256) == (kept.path.stat().st_size, sha256_of(kept.path))


def test_files_one_by_one_make_the_same_zip(tmp_path: Path) -> None:
    kept = stored(
        tmp_path / "a", received(tmp_path / "a", model__json=as_json({"resolution": 640}), best__pt=b"weights")
    )

    document = opened(tmp_path, kept)
    assert document == {"resolution": 640, "categories": [], **vars(OURS)}
    assert (tmp_path / "device" / "best.pt").read_bytes() == b"weights"
    with zipfile.ZipFile(kept.path) as archive:
        assert archive.namelist() == ["best.pt", "model.json"], "flat, as detectors move files"
        assert '"format": "litert"' in archive.read("model.json").decode()


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    kept = [
        stored(tmp_path / name, received(tmp_path / name, model__json=b'{"a": 1}', best__pt=b"w"))
        for name in ("a", "b")
    ]
    assert kept[0].sha256 == kept[1].sha256


def test_another_version_can_be_written_over(tmp_path: Path) -> None:
    """Where two uploads took the same number, one of them takes the next."""
    unpack_upload(zipped(tmp_path), tmp_path / "model")
    document = document_of(tmp_path / "model", None)
    write_zip(tmp_path / "model", document, OURS, tmp_path / "kept.zip")
    again = Belonging(**{**vars(OURS), "version": "3.2"})
    kept = write_zip(tmp_path / "model", document, again, tmp_path / "kept.zip")
    assert opened(tmp_path, kept)["version"] == "3.2"


def test_a_base_model_may_come_without_a_description(tmp_path: Path) -> None:
    """Pretrained weights know no categories of the project; PyTorch's files are zips inside and stay whole."""
    weights = tmp_path / "weights"
    with zipfile.ZipFile(weights, "w") as archive:
        archive.writestr("archive/data.pkl", b"tensors")
    before = weights.read_bytes()

    kept = stored(tmp_path, [ReceivedFile("yolo.pt", weights)], otherwise={})

    assert opened(tmp_path, kept) == {"categories": [], **vars(OURS)}
    assert (tmp_path / "device" / "yolo.pt").read_bytes() == before


def test_a_further_format_without_a_description_takes_over_the_models(tmp_path: Path) -> None:
    known = {"categories": CATEGORIES, "resolution": 320}
    kept = stored(tmp_path, received(tmp_path, model__onnx=b"weights"), otherwise=known)
    assert opened(tmp_path, kept) == {**known, **vars(OURS)}


def test_where_a_description_must_be_its_absence_is_said(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"there is no model\.json"):
        stored(tmp_path, received(tmp_path, best__pt=b"weights"))


def test_a_description_that_is_there_counts_even_where_it_need_not_be(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.json is no valid JSON"):
        stored(tmp_path, received(tmp_path, model__json=b"{", best__pt=b"weights"), otherwise={})


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("resolution", "large", "'resolution'"),
        ("resolution", -1, "'resolution'"),
        ("resolution", 320.5, "'resolution'"),
        ("model_size", 7, "'model_size'"),
        ("conf_threshold", 2, "'conf_threshold'"),
        ("conf_threshold", "high", "'conf_threshold'"),
        ("categories", "screw", "'categories'"),
        ("categories", [{"name": "screw"}], "'categories.0.id'"),
        ("categories", [{"id": 1, "name": "screw"}], "'categories.0.id'"),
        ("categories", [{"id": "1", "name": "screw", "type": "smell"}], "'categories.0.type'"),
    ],
)
def test_types_that_would_make_a_detector_drop_the_model_are_refused_by_name(
    tmp_path: Path, key: str, value: Any, expected: str
) -> None:
    with pytest.raises(BundleError, match=expected):
        stored(tmp_path, received(tmp_path, model__json=as_json({key: value}), w=b""))


@pytest.mark.parametrize(
    ("said", "expected"),
    [({"resolution": 320.0}, 320), ({"resolution": "640"}, 640), ({"resolution": None}, None)],
)
def test_types_that_can_be_corrected_are(tmp_path: Path, said: dict[str, Any], expected: int | None) -> None:
    kept = stored(tmp_path, received(tmp_path, model__json=as_json({**said, "categories": None}), w=b""))
    document = opened(tmp_path, kept)
    assert document["resolution"] == expected
    assert type(document["resolution"]) is type(expected)
    assert document["categories"] == []


def test_what_a_trainer_does_not_know_of_a_category_is_left_out(tmp_path: Path) -> None:
    """Upstream's trainers write every property of a category, with null where they have none."""
    category = {"id": "1", "name": "screw", "type": None, "hotkey": None, "color": "#123456"}
    kept = stored(tmp_path, received(tmp_path, model__json=as_json({"categories": [category]}), w=b""))
    assert opened(tmp_path, kept)["categories"] == [{"id": "1", "name": "screw", "color": "#123456"}]


def test_what_holds_in_every_format_is_known_apart(tmp_path: Path) -> None:
    document = {"id": "x", "format": "onnx", "resolution": 320, "categories": CATEGORIES, "model_size": None, "own": 1}
    assert properties_of(document) == {"resolution": 320, "categories": CATEGORIES}


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["../model.json"], "no path separators"),
        (["a\\b"], "no path separators"),
        (["c:x"], "no colon"),
        ([""], "names no file"),
        (["a\nb"], "control characters"),
        ([".bashrc"], "begin with a dot"),
        (["model.json", "MODEL.json"], "comes twice"),
        (["caf\u00e9", "cafe\u0301"], "comes twice"),
    ],
)
def test_names_that_could_lead_astray_are_refused_before_anything_is_moved(
    tmp_path: Path, names: list[str], reason: str
) -> None:
    files = [
        ReceivedFile(name, file.path) for name, file in zip(names, received(tmp_path, a=b"1", b=b"2"), strict=False)
    ]
    with pytest.raises(BundleError, match=reason):
        unpack_upload(files, tmp_path / "model")
    assert all(file.path.exists() for file in files)
    assert not (tmp_path / "model").exists()


def test_too_many_and_too_large_files_are_refused(tmp_path: Path) -> None:
    files = received(tmp_path, a=b"12345", b=b"12345", c=b"12345")
    with pytest.raises(InputTooLarge, match="3 files came; a model may have 2"):
        unpack_upload(files, tmp_path / "model", ZipLimits(files=2))
    with pytest.raises(InputTooLarge, match="together"):
        unpack_upload(files, tmp_path / "model", ZipLimits(total_bytes=14))
    with pytest.raises(BundleError, match="No file came"):
        unpack_upload([], tmp_path / "model")


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04 cut off"])
def test_what_is_called_a_zip_and_is_none(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BundleError, match="this is no zip"):
        unpack_upload(received(tmp_path, model__ZIP=content), tmp_path / "model")


def test_a_zip_with_a_folder_inside_says_what_would_be_right(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr("my model/model.json", b"{}")
    with pytest.raises(BundleError, match="path separators"):
        unpack_upload([ReceivedFile("x.zip", tmp_path / "x")], tmp_path / "model")


class FullDisk(FileSystem):
    """A disk that is full from the step `from_step` on."""

    def __init__(self, from_step: int) -> None:
        self._left = from_step

    def _step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def make_folder(self, folder: Path) -> None:
        self._step()
        super().make_folder(folder)

    def sync_file(self, file: Any) -> None:
        self._step()
        super().sync_file(file)


def test_a_full_disk_is_said_wherever_it_fills_up(tmp_path: Path) -> None:
    for step in range(20):
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        disk = FullDisk(step)
        files = zipped(tmp_path)
        try:
            unpack_upload(files, tmp_path / "model", file_system=disk)
            document = document_of(tmp_path / "model", None)
            write_zip(tmp_path / "model", document, OURS, tmp_path / "kept.zip", disk)
        except DetectorApplianceError as error:
            assert isinstance(error, NoRoom)
            assert not (tmp_path / "kept.zip").exists()
        else:
            assert step >= 4, "the disk never was full"
            return
    raise AssertionError("it never came to an end")
