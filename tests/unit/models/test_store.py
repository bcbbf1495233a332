"""The models on a box: put, listed, found, removed, and whole whenever the power failed."""

from __future__ import annotations

import errno
import io
import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from models.bundle import open_bundle, pack
from models.bundle_zip import ZipLimits
from models.errors import BundleError, InputTooLarge, NoRoom, StorageRefused, UnknownVersion
from models.files import FileSystem
from models.store import ModelStore, StoredModel, version_key
from tests.support.crashing_files import disks_after_every_cut
from tests.support.small_bundles import WEIGHTS, make_bundle

MIB = 1024 * 1024


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def leftovers(root: Path) -> list[Path]:
    return list((root / ".staging").iterdir())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "models"


@pytest.fixture
def store(root: Path) -> ModelStore:
    return ModelStore(root)


@pytest.fixture
def a_zip(tmp_path: Path) -> Callable[..., Path]:
    def made(version: str | None = "1.0", weights: bytes = WEIGHTS, **keys: Any) -> Path:
        number = len(list(tmp_path.glob("*.zip")))
        target = tmp_path / f"model-{number}.zip"
        pack(make_bundle(tmp_path / f"bundle-{number}", version, weights, **keys), target)
        return target

    return made


class TestPutting:
    def test_a_model_that_was_put_is_listed_found_and_opened(
        self, store: ModelStore, root: Path, a_zip: Callable[..., Path]
    ) -> None:
        put = store.put_zip(a_zip("1.0"))

        folder = root / "zauberzeug" / "demo" / "litert" / "1.0"
        size = sum(path.stat().st_size for path in folder.iterdir())
        model_id = "00000000-0000-0000-0000-000000000011"
        assert put == StoredModel("zauberzeug", "demo", "litert", "1.0", model_id, folder, False, size)
        assert store.list() == [put]
        assert store.find("1.0", "zauberzeug", "demo", "litert") == put
        assert store.open(put).model.categories[0].name == "screw"
        assert store.broken() == []
        assert leftovers(root) == []

    def test_a_model_can_come_as_a_stream_or_as_a_folder(
        self, store: ModelStore, root: Path, tmp_path: Path, a_zip: Callable[..., Path]
    ) -> None:
        class Stream(io.BytesIO):
            """What comes over the network cannot be wound back."""

            def seek(self, *_: int) -> int:
                raise io.UnsupportedOperation("seek")

        streamed = store.put_zip(Stream(a_zip("1.0").read_bytes()))
        folder = make_bundle(tmp_path / "built", "1.1")
        (folder / ".DS_Store").write_bytes(b"")
        copied = store.put_folder(folder)

        assert [model.version for model in store.list()] == ["1.0", "1.1"]
        assert files_below(streamed.folder) == files_below(copied.folder) == ["model.json", "model.tflite"]
        assert leftovers(root) == []

    def test_what_the_loop_says_of_the_identity_corrects_model_json(
        self, store: ModelStore, a_zip: Callable[..., Path]
    ) -> None:
        source = a_zip(None, organization=None, project="other", trained_by="trainer-7")
        put = store.put_zip(source, organization="zauberzeug", project="demo", version="2.10")

        document = json.loads((put.folder / "model.json").read_text())
        assert put.identity == ("zauberzeug", "demo", "litert", "2.10")
        assert (document["organization"], document["project"], document["version"]) == ("zauberzeug", "demo", "2.10")
        assert document["trained_by"] == "trainer-7", "an unknown key survives"
        assert document["conf_threshold"] == 0.4

    def test_a_model_json_that_needs_no_correction_is_kept_byte_for_byte(
        self, store: ModelStore, tmp_path: Path
    ) -> None:
        folder = make_bundle(tmp_path / "built")
        text = json.dumps(json.loads((folder / "model.json").read_text()), indent=7)
        (folder / "model.json").write_text(text)
        put = store.put_folder(folder, organization="zauberzeug", version="1.0")
        assert (put.folder / "model.json").read_text() == text

    def test_the_same_again_is_no_error_and_nothing_new(self, store: ModelStore, a_zip: Callable[..., Path]) -> None:
        first = store.put_zip(a_zip("1.0"))
        assert store.put_zip(a_zip("1.0")) == first
        assert len(store.list()) == 1

    def test_other_content_under_a_stored_version_is_refused(
        self, store: ModelStore, root: Path, a_zip: Callable[..., Path]
    ) -> None:
        first = store.put_zip(a_zip("1.0"))
        with pytest.raises(StorageRefused, match=r"version 1\.0 of zauberzeug/demo in format litert is stored already"):
            store.put_zip(a_zip("1.0", weights=b"retrained"))
        assert (first.folder / "model.tflite").read_bytes() == WEIGHTS
        assert leftovers(root) == []

    def test_a_stored_model_that_rotted_is_replaced_by_a_sound_one(
        self, store: ModelStore, root: Path, a_zip: Callable[..., Path]
    ) -> None:
        first = store.put_zip(a_zip("1.0"))
        (first.folder / "model.tflite").write_bytes(b"rotten" + WEIGHTS[6:])
        with pytest.raises(BundleError, match="is damaged"):
            store.open(first)
        store.put_zip(a_zip("1.0"))
        assert store.open(first).weight_files[0].read_bytes() == WEIGHTS
        assert leftovers(root) == []

    def test_the_same_model_in_two_formats(self, store: ModelStore, a_zip: Callable[..., Path]) -> None:
        store.put_zip(a_zip("1.0"))
        store.put_zip(a_zip("1.0"), format="onnx")
        assert [model.format for model in store.list()] == ["litert", "onnx"]

    def test_two_at_once_make_one(self, store: ModelStore, root: Path, a_zip: Callable[..., Path]) -> None:
        source = a_zip("1.0")
        together = threading.Barrier(8)

        def put(_: int) -> StoredModel:
            together.wait(10)
            return store.put_zip(source)

        with ThreadPoolExecutor(8) as threads:
            assert len(set(threads.map(put, range(8)))) == 1
        assert len(store.list()) == 1
        assert leftovers(root) == []


class TestRefusing:
    @pytest.mark.parametrize("key", ["organization", "project", "format", "version"])
    def test_a_model_without_a_name_is_asked_for_it(
        self, store: ModelStore, root: Path, a_zip: Callable[..., Path], key: str
    ) -> None:
        with pytest.raises(BundleError, match=f"model.json does not say '{key}', and it was not given either"):
            store.put_zip(a_zip(**{key: None}))
        assert files_below(root) == []

    @pytest.mark.parametrize(
        ("identity", "sentence"),
        [
            ({"organization": "../../etc"}, "'../../etc' cannot be the name of organization: names must hold no path"),
            ({"organization": "/etc"}, "'/etc' cannot be the name of organization"),
            ({"organization": ".."}, "'..' cannot be the name of organization"),
            ({"organization": ".staging"}, "must not begin with a dot"),
            ({"project": "a\0b"}, "no control characters"),
            ({"project": "a\\b"}, "no path separators"),
            ({"project": " demo"}, "spaces at their ends"),
            ({"project": "d" * 300}, "200 bytes"),
            ({"format": "LiteRT"}, "'LiteRT' is no name of a format"),
            ({"format": ".."}, "is no name of a format"),
            ({"format": "a/b"}, "is no name of a format"),
            ({"version": "1.0-beta"}, "'1.0-beta' is no model version; it should be numbers with dots between"),
            ({"version": ".."}, "is no model version"),
            ({"version": "1."}, "is no model version"),
            ({"version": "1.0\n"}, "is no model version"),
            ({"version": "\u0661.\u0660"}, "is no model version"),
            ({"version": "9" * 5000}, "is no model version"),
        ],
    )
    def test_names_that_are_none(
        self, store: ModelStore, tmp_path: Path, root: Path, identity: dict[str, str], sentence: str
    ) -> None:
        bundle = make_bundle(tmp_path / "bundle")
        with pytest.raises(BundleError) as given:
            store.put_folder(bundle, **identity)  # type: ignore[arg-type]  # texts, as given above
        shutil.rmtree(bundle)
        with pytest.raises(BundleError) as written:
            store.put_folder(make_bundle(bundle, **identity))  # type: ignore[arg-type]  # texts, as given above
        assert sentence in str(given.value)
        assert str(given.value) == str(written.value)
        assert files_below(root) == []
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "data"]

    def test_a_zip_that_is_no_bundle(self, store: ModelStore, root: Path, tmp_path: Path) -> None:
        (tmp_path / "page.zip").write_bytes(b"<html>")
        with pytest.raises(BundleError, match="this is no zip"):
            store.put_zip(tmp_path / "page.zip")
        with pytest.raises(BundleError, match="cannot be read: No such file"):
            store.put_zip(tmp_path / "nowhere.zip")
        with pytest.raises(BundleError, match=r"there is no model\.json"):
            store.put_folder(tmp_path / "nowhere")
        assert files_below(root) == []
        assert leftovers(root) == []

    def test_weights_that_were_damaged_on_the_way(self, store: ModelStore, root: Path, tmp_path: Path) -> None:
        bundle = make_bundle(tmp_path / "bundle")
        (bundle / "model.tflite").write_bytes(b"half")
        pack(bundle, tmp_path / "model.zip")
        with pytest.raises(BundleError, match="is damaged or was exchanged"):
            store.put_zip(tmp_path / "model.zip")
        assert files_below(root) == []

    def test_a_stream_that_does_not_end(self, root: Path) -> None:
        class Endless(io.RawIOBase):
            given = 0

            def read(self, size: int = -1, /) -> bytes:
                self.given += size
                return bytes(size)

        endless = Endless()
        store = ModelStore(root, limits=ZipLimits(zip_bytes=3 * MIB))
        with pytest.raises(InputTooLarge, match=r"larger than 3\.0 MiB"):
            store.put_zip(endless)  # type: ignore[arg-type]  # only `read` is asked of a stream
        assert endless.given <= 4 * MIB
        assert leftovers(root) == []

    def test_a_folder_beyond_the_limits(self, root: Path, tmp_path: Path) -> None:
        bundle = make_bundle(tmp_path / "bundle")
        with pytest.raises(InputTooLarge, match=r"holds 2 files with .* a model may have 1 files"):
            ModelStore(root, limits=ZipLimits(files=1)).put_folder(bundle)
        with pytest.raises(InputTooLarge, match="a model may have 64 files with"):
            ModelStore(root, limits=ZipLimits(total_bytes=100)).put_folder(bundle)


class TestRoom:
    class Nearly(FileSystem):
        """A disk with so many bytes free, of which the store knows."""

        def __init__(self, free: int) -> None:
            self.free = free

        def free_bytes(self, folder: Path) -> int:
            return self.free

    @pytest.mark.parametrize("way", ["path", "stream", "folder"])
    def test_a_model_that_would_fill_the_disk_is_refused_before_it_is_written(
        self, root: Path, tmp_path: Path, a_zip: Callable[..., Path], way: str
    ) -> None:
        weights = bytes(2 * MIB)
        store = ModelStore(root, file_system=self.Nearly(11 * MIB), free_space_floor=10 * MIB)
        put: dict[str, Callable[[], object]] = {
            "path": lambda: store.put_zip(a_zip(weights=weights)),
            "stream": lambda: store.put_zip(io.BytesIO(a_zip(weights=weights).read_bytes())),
            "folder": lambda: store.put_folder(make_bundle(tmp_path / "built", weights=weights)),
        }
        with pytest.raises(NoRoom, match=r"10\.0 MiB must stay free, but the disk has only 11\.0 MiB left"):
            put[way]()
        assert files_below(root) == []
        assert store.put_zip(a_zip(weights=bytes(MIB // 2)))

    def test_a_long_stream_is_broken_off_where_it_would_fill_the_disk(self, root: Path) -> None:
        stream = io.BytesIO(bytes(8 * MIB))

        class Filling(FileSystem):
            def free_bytes(self, folder: Path) -> int:
                return 13 * MIB - stream.tell()

        with pytest.raises(NoRoom, match="must stay free"):
            ModelStore(root, file_system=Filling(), free_space_floor=10 * MIB).put_zip(stream)
        assert stream.tell() <= 4 * MIB
        assert leftovers(root) == []

    def test_a_disk_that_fills_up_all_the_same(self, root: Path, a_zip: Callable[..., Path]) -> None:
        class Full(FileSystem):
            def sync_file(self, file: BinaryIO) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

        with pytest.raises(NoRoom, match="the disk is full"):
            ModelStore(root, file_system=Full()).put_zip(a_zip())
        assert files_below(root) == []
        assert leftovers(root) == []

    def test_a_data_folder_that_cannot_be_written(self, tmp_path: Path, a_zip: Callable[..., Path]) -> None:
        (tmp_path / "data").write_bytes(b"a file where the folder should be")
        with pytest.raises(StorageRefused, match="could not store the model: the disk refused it"):
            ModelStore(tmp_path / "data" / "models").put_zip(a_zip())


class TestListing:
    def test_versions_come_in_the_order_of_their_numbers(self, store: ModelStore, a_zip: Callable[..., Path]) -> None:
        for version in ["1.10", "1.9", "2.0", "1.2", "10.0", "1.9.1"]:
            store.put_zip(a_zip(version))
        assert [model.version for model in store.list()] == ["1.2", "1.9", "1.9.1", "1.10", "2.0", "10.0"]

    def test_a_choice_of_organization_project_and_format(self, store: ModelStore, a_zip: Callable[..., Path]) -> None:
        store.put_zip(a_zip(), organization="a", project="p")
        store.put_zip(a_zip(), organization="a", project="q")
        store.put_zip(a_zip(), organization="b", project="p", format="onnx")
        assert [model.identity[:3] for model in store.list()] == [
            ("a", "p", "litert"),
            ("a", "q", "litert"),
            ("b", "p", "onnx"),
        ]
        assert [model.organization for model in store.list(project="p")] == ["a", "b"]
        assert [model.organization for model in store.list("b")] == ["b"]
        assert store.list("a", "p", "onnx") == store.list("../b") == []

    def test_an_empty_box_has_no_models(self, store: ModelStore) -> None:
        assert store.list() == []
        assert store.broken() == []
        assert store.sweep() == 0

    def test_broken_folders_are_named_and_disturb_nobody(
        self, store: ModelStore, root: Path, a_zip: Callable[..., Path]
    ) -> None:
        good = store.put_zip(a_zip("1.0"))
        place = good.folder.parent
        (place / "1.1").mkdir()
        shutil.copytree(good.folder, place / "1.2")
        shutil.copytree(good.folder, place / "1.3")
        (place / "1.3" / "model.tflite").unlink()
        make_bundle(place / "latest", "latest")
        # What other programs keep in such folders is none of ours:
        (root / "current_model").symlink_to(good.folder)
        (root / "alias").symlink_to(root / "zauberzeug")
        shutil.copytree(good.folder, root / ".trash" / "demo" / "litert" / "1.0")
        (root / "1.0").mkdir()
        (root / "1.0" / "model.json").write_text("{}")
        (root / "notes.txt").write_text("")

        assert store.list() == [good]
        assert [(path.name, reason[:60]) for path, reason in store.broken()] == [
            ("1.1", "there is no model.json; a bundle is a folder of model.json a"),
            ("1.2", "the folder is the place of version 1.2 of zauberzeug/demo in"),
            ("1.3", "the weight file 'model.tflite' that model.json names is not "),
            ("latest", "'latest' is no model version; it should be numbers with dots"),
        ]

    def test_an_unknown_version_tells_which_there_are(self, store: ModelStore, a_zip: Callable[..., Path]) -> None:
        store.put_zip(a_zip("1.10"))
        store.put_zip(a_zip("1.9"))
        with pytest.raises(
            UnknownVersion, match=r"no version '1\.7' of zauberzeug/demo in format litert.*: 1\.9, 1\.10$"
        ):
            store.find("1.7", "zauberzeug", "demo", "litert")
        with pytest.raises(UnknownVersion, match="there is: none at all"):
            store.find("1.9", "zauberzeug", "demo", "onnx")

    @pytest.mark.parametrize(("older", "newer"), [("1.9", "1.10"), ("1.10", "2.0"), ("0.0", "0.1"), ("1", "1.0")])
    def test_versions_are_compared_as_numbers(self, older: str, newer: str) -> None:
        assert version_key(older) < version_key(newer)


class TestRemoving:
    def test_what_comes_and_goes_is_counted(self, store: ModelStore, a_zip: Callable[..., Path]) -> None:
        put = store.put_zip(a_zip())
        assert store.changes == 1
        with pytest.raises(BundleError):
            store.put_folder(store.root)
        assert store.changes == 1
        store.remove(put)
        assert store.changes == 2

    def test_a_removed_model_is_gone(self, store: ModelStore, root: Path, a_zip: Callable[..., Path]) -> None:
        stored = store.put_zip(a_zip("1.0"))
        kept = store.put_zip(a_zip("1.1"))
        store.remove(stored)
        assert store.list() == [kept]
        assert not stored.folder.exists()
        assert leftovers(root) == []
        with pytest.raises(
            UnknownVersion, match=r"version 1\.0 of zauberzeug/demo in format litert is not on this box"
        ):
            store.remove(stored)
        with pytest.raises(UnknownVersion, match="is no longer on this box"):
            store.open(stored)

    def test_a_model_whose_files_cannot_all_be_deleted_is_no_longer_listed(
        self, root: Path, a_zip: Callable[..., Path]
    ) -> None:
        class Stubborn(FileSystem):
            def unlink(self, path: Path) -> None:
                raise OSError(errno.EIO, "Input/output error")

        stored = ModelStore(root).put_zip(a_zip())
        store = ModelStore(root, file_system=Stubborn())
        with pytest.raises(StorageRefused, match="Input/output error"):
            store.remove(stored)
        assert store.list() == []
        assert store.broken() == []
        assert ModelStore(root).sweep() == 1
        assert leftovers(root) == []


class TestTheModelThatShips:
    @pytest.fixture
    def seed(self, tmp_path: Path) -> Path:
        return make_bundle(tmp_path / "package" / "seed", "0.0", organization="detector-appliance", project="objects")

    def test_is_listed_beside_the_others_and_stays(self, root: Path, seed: Path, a_zip: Callable[..., Path]) -> None:
        store = ModelStore(root, [seed])
        store.put_zip(a_zip("1.0"))
        assert [(model.project, model.version, model.read_only) for model in store.list()] == [
            ("objects", "0.0", True),
            ("demo", "1.0", False),
        ]
        stored = store.find("0.0", "detector-appliance", "objects", "litert")
        with pytest.raises(StorageRefused, match=r"version 0\.0 .* is part of this program and cannot be removed"):
            store.remove(stored)
        assert store.open(stored).folder == seed
        assert files_below(seed) == ["model.json", "model.tflite"]

    def test_is_not_stored_a_second_time(self, root: Path, seed: Path, tmp_path: Path) -> None:
        store = ModelStore(root, [seed])
        assert store.put_folder(seed).read_only
        other = make_bundle(tmp_path / "x", "0.0", b"other", organization="detector-appliance", project="objects")
        with pytest.raises(StorageRefused, match="is stored already with other content"):
            store.put_folder(other)
        assert files_below(root) == []

    def test_when_damaged_is_reported_and_disturbs_nobody(
        self, root: Path, seed: Path, a_zip: Callable[..., Path]
    ) -> None:
        (seed / "model.tflite").unlink()
        store = ModelStore(root, [seed])
        store.put_zip(a_zip("1.0"))
        assert [model.version for model in store.list()] == ["1.0"]
        assert [path for path, _ in store.broken()] == [seed]


class TestPowerFails:
    """At every step, with the disk keeping only what was synced, or that and some of the rest."""

    def complete_versions(self, disk: Path) -> list[str]:
        """What a box that starts from this disk has; fails if anything half is listed or left."""
        store = ModelStore(disk / "models")
        store.sweep()
        staging = disk / "models" / ".staging"
        assert not staging.exists() or not list(staging.iterdir())
        assert store.broken() == []
        for stored in store.list():
            assert open_bundle(stored.folder).weight_files[0].read_bytes() == WEIGHTS
            assert files_below(stored.folder) == ["model.json", "model.tflite"]
        return [stored.version for stored in store.list()]

    @pytest.mark.parametrize("way", ["path", "stream", "folder"])
    def test_while_a_model_is_put(self, tmp_path: Path, a_zip: Callable[..., Path], way: str) -> None:
        source, folder = a_zip("1.0"), make_bundle(tmp_path / "built", "1.0")

        def before(disk: Path) -> None:
            ModelStore(disk / "models").put_zip(source, version="0.9")

        def act(files: FileSystem, disk: Path) -> None:
            store = ModelStore(disk / "models", file_system=files)
            if way == "path":
                store.put_zip(source)
            elif way == "stream":
                store.put_zip(io.BytesIO(source.read_bytes()))
            else:
                store.put_folder(folder, version="1.0")

        (tmp_path / "disks").mkdir()
        cut_short, finished = disks_after_every_cut(tmp_path / "disks", before, act)
        after_cut = {tuple(self.complete_versions(disk)) for disk in cut_short}
        assert after_cut == {("0.9",), ("0.9", "1.0")}
        assert {tuple(self.complete_versions(disk)) for disk in finished} == {("0.9", "1.0")}

    def test_while_the_first_model_is_put_with_another_name(self, tmp_path: Path, a_zip: Callable[..., Path]) -> None:
        source = a_zip(None)

        def act(files: FileSystem, disk: Path) -> None:
            ModelStore(disk / "models", file_system=files).put_zip(source, version="1.1")

        (tmp_path / "disks").mkdir()
        cut_short, finished = disks_after_every_cut(tmp_path / "disks", lambda disk: None, act)
        assert {tuple(self.complete_versions(disk)) for disk in cut_short} == {(), ("1.1",)}
        assert {tuple(self.complete_versions(disk)) for disk in finished} == {("1.1",)}

    def test_while_a_model_is_removed(self, tmp_path: Path, a_zip: Callable[..., Path]) -> None:
        source = a_zip("1.0")

        def before(disk: Path) -> None:
            ModelStore(disk / "models").put_zip(source)

        def act(files: FileSystem, disk: Path) -> None:
            store = ModelStore(disk / "models", file_system=files)
            store.remove(store.find("1.0", "zauberzeug", "demo", "litert"))

        (tmp_path / "disks").mkdir()
        cut_short, finished = disks_after_every_cut(tmp_path / "disks", before, act)
        assert {tuple(self.complete_versions(disk)) for disk in cut_short} == {(), ("1.0",)}
        assert {tuple(self.complete_versions(disk)) for disk in finished} == {()}

    def test_the_sweep_leaves_alone_what_is_being_put(self, root: Path, a_zip: Callable[..., Path]) -> None:
        swept: list[int] = []

        class SweptMeanwhile(FileSystem):
            def sync_file(self, file: BinaryIO) -> None:
                super().sync_file(file)
                swept.append(busy.sweep())

        (root / ".staging" / "of yesterday").mkdir(parents=True)
        busy = ModelStore(root, file_system=SweptMeanwhile())
        assert busy.put_zip(a_zip()).folder.is_dir()
        assert swept == [1, 0]
