"""A backup is whole, comes back as it was, and nothing hostile in one reaches the disk."""

from __future__ import annotations

import errno
import io
import json
import stat
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from appliance.api_keys import ApiKeys
from appliance.system import backup, restore
from appliance.system.restore import Preview
from models.errors import DetectorApplianceError, InvalidInput, NoRoom
from models.files import FILE_SYSTEM, FileSystem
from models.zoo import seed_folder
from tests.support.crashing_files import disks_after_every_cut

ID = "2026-11-22_14-00-00.000001"
OLD, NEW = b"queue_depth = 5\n", b"queue_depth = 9\n"


def picture(data: Path, item_id: str = ID, text: bytes = b"a picture") -> Path:
    folder = data / "outbox" / "normal" / item_id
    folder.mkdir(parents=True)
    (folder / f"image_{item_id}.jpg").write_bytes(text)
    (folder / f"image_{item_id}.json").write_text("{}")
    return folder


def seeded(data: Path) -> Path:
    """A model in its place: the seed's model.json says which that is."""
    source = seed_folder()
    said = json.loads((source / "model.json").read_text())
    target = Path(data, "models", said["organization"], said["project"], said["format"], said["version"])
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_file():
            (target / path.name).write_bytes(path.read_bytes())
    return target


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder in which a box has lived."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "settings.toml").write_bytes(OLD)
    (folder / "uuids.json").write_text('{"robot-7": "1234"}')
    ApiKeys(folder / "api_keys.json").create("lift")
    (folder / "sessions.json").write_text("{}")
    (folder / "cache").mkdir()
    picture(folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put_back(data: Path, archive: Path, files: FileSystem = FILE_SYSTEM) -> Preview:
    preview = restore.stage(data, archive, files)
    restore.decide(data, files)
    return preview


def test_state_comes_back_and_nothing_else_is_in_it(data: Path, tmp_path: Path) -> None:
    made = backup.make(data, tmp_path / "robot.tar")
    assert sorted(made.state) == ["api_keys.json", "settings.toml", "uuids.json"]
    assert stat.S_IMODE((tmp_path / "robot.tar").stat().st_mode) == 0o600
    other = tmp_path / "other"
    other.mkdir()
    (other / "settings.toml").write_bytes(NEW)

    preview = put_back(other, tmp_path / "robot.tar")

    assert (preview.replaced, sorted(preview.new)) == (["settings.toml"], ["api_keys.json", "uuids.json"])
    assert contents(other) == {name: (data / name).read_bytes() for name in made.state}
    assert stat.S_IMODE((other / "api_keys.json").stat().st_mode) == 0o600


def test_models_and_pictures_come_back_and_what_is_there_stays(data: Path, tmp_path: Path) -> None:
    model = seeded(data)
    backup.make(data, tmp_path / "all.tar", ["models", "outbox"])
    other = tmp_path / "other"
    picture(other, text=b"acknowledged since")
    picture(other, "2026-11-22_15-00-00.000001")

    preview = put_back(other, tmp_path / "all.tar")

    assert (preview.models, preview.models_there, preview.pictures, preview.pictures_there) == (1, 0, 0, 1)
    assert contents(other / model.relative_to(data)) == contents(model)
    assert (other / "outbox/normal" / ID / f"image_{ID}.jpg").read_bytes() == b"acknowledged since"
    assert not list(other.rglob(".*")), "nothing is left behind"


def test_nothing_is_touched_before_it_is_decided(data: Path, tmp_path: Path) -> None:
    backup.make(data, tmp_path / "robot.tar")
    (data / "settings.toml").write_bytes(NEW)
    before = contents(data)

    restore.stage(data, tmp_path / "robot.tar")
    assert {name: text for name, text in contents(data).items() if not name.startswith(".restore")} == before
    restore.discard(data)

    assert contents(data) == before


def test_pictures_that_are_sent_meanwhile_are_no_error(data: Path, tmp_path: Path) -> None:
    (data / "outbox/normal" / ID / f"image_{ID}.json").unlink()

    backup.make(data, tmp_path / "all.tar", ["outbox"])
    preview = put_back(tmp_path / "other", tmp_path / "all.tar")

    assert preview.pictures == 0
    assert not (tmp_path / "other/outbox").exists()


def test_a_power_cut_leaves_an_old_backup_or_none_but_never_half_of_one(tmp_path: Path) -> None:
    def before(root: Path) -> None:
        (root / "data").mkdir()
        (root / "data/settings.toml").write_bytes(OLD)

    cut, done = disks_after_every_cut(
        tmp_path, before, lambda files, root: backup.make(root / "data", root / "robot.tar", files=files)
    )

    for number, disk in enumerate(cut + done):
        if (disk / "robot.tar").exists():
            assert put_back(tmp_path / f"into-{number}", disk / "robot.tar").new == ["settings.toml"]


def test_a_power_cut_in_a_restore_leaves_all_of_the_old_or_all_of_the_new(data: Path, tmp_path: Path) -> None:
    backup.make(data, tmp_path / "robot.tar", ["outbox"])

    def before(root: Path) -> None:
        (root / "settings.toml").write_bytes(NEW)
        (root / "uuids.json").write_text("{}")

    (tmp_path / "disks").mkdir()
    cut, done = disks_after_every_cut(
        tmp_path / "disks", before, lambda files, root: put_back(root, tmp_path / "robot.tar", files)
    )

    old = {"settings.toml": NEW, "uuids.json": b"{}"}
    new = {name: text for name, text in contents(data).items() if name != "sessions.json"}
    seen = []
    for disk in cut:
        restore.finish(disk)  # the next start
        assert contents(disk) in (old, new), disk
        seen.append(contents(disk) == new)
    assert True in seen
    assert False in seen
    for disk in done:
        restore.finish(disk)
        assert contents(disk) == new


class Full(FileSystem):
    """A disk with no room for more."""

    def write_file(self, path: Path, chunks: Iterable[bytes]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def free_bytes(self, folder: Path) -> int:
        return 10**12


def test_a_full_disk_is_said_and_changes_nothing(data: Path, tmp_path: Path) -> None:
    backup.make(data, tmp_path / "robot.tar")
    before = contents(data)

    with pytest.raises(NoRoom):
        restore.stage(data, tmp_path / "robot.tar", Full())
    with pytest.raises(NoRoom, match="has not that much"):
        restore.stage(data, tmp_path / "robot.tar", floor=10**18)
    restore.finish(data)

    assert contents(data) == before


def entry(name: str, content: bytes = b"{}", **more: object) -> tuple[tarfile.TarInfo, bytes]:
    made = tarfile.TarInfo(name)
    made.size = len(content)
    for key, value in more.items():
        setattr(made, key, value)
    return made, content


def sums(*entries: tuple[tarfile.TarInfo, bytes]) -> tuple[tarfile.TarInfo, bytes]:
    import hashlib

    return entry(
        "sums.json", json.dumps({each.name: hashlib.sha256(text).hexdigest() for each, text in entries}).encode()
    )


HEAD = entry("backup.json", b'{"version": 1}')


def archive(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as made:
        for each, content in entries:
            made.addfile(each, io.BytesIO(content))
    return path


HOSTILE: dict[str, Callable[[], list[tuple[tarfile.TarInfo, bytes]]]] = {
    "a path out of the folder": lambda: [HEAD, e := entry("../evil"), sums(e)],
    "an absolute path": lambda: [HEAD, e := entry("/etc/passwd"), sums(e)],
    "a path out of the models": lambda: [HEAD, e := entry("models/a/b/c/../../../evil"), sums(e)],
    "dots that are as many as a model's path": lambda: [HEAD, e := entry("models/../../../../evil"), sums(e)],
    "dots in a model's path": lambda: [HEAD, e := entry("models/a/../c/1.0/model.json"), sums(e)],
    "dots as a picture": lambda: [HEAD, e := entry("outbox/normal/../image_...jpg"), sums(e)],
    "a file of the program": lambda: [HEAD, e := entry("appliance.lock"), sums(e)],
    "the decision itself": lambda: [HEAD, e := entry(".restore/decided"), sums(e)],
    "a link": lambda: [HEAD, entry("settings.toml", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
    "a hard link": lambda: [HEAD, entry("settings.toml", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
    "a device": lambda: [HEAD, entry("settings.toml", b"", type=tarfile.CHRTYPE)],
    "a folder": lambda: [HEAD, entry("models", b"", type=tarfile.DIRTYPE)],
    "the same twice": lambda: [HEAD, e := entry("uuids.json"), e, sums(e)],
    "no head": lambda: [e := entry("uuids.json"), sums(e)],
    "another version": lambda: [entry("backup.json", b'{"version": 2}')],
    "no end": lambda: [HEAD, entry("uuids.json")],
    "more after the end": lambda: [HEAD, e := entry("uuids.json"), sums(e), entry("settings.toml", b"")],
    "other bytes": lambda: [HEAD, entry("uuids.json", b'{"a": "b"}'), sums(entry("uuids.json"))],
    "a file too few": lambda: [HEAD, sums(entry("uuids.json"))],
    "settings that are none": lambda: [HEAD, e := entry("settings.toml", b"no_such_thing = 1"), sums(e)],
    "settings that cannot be used": lambda: [HEAD, e := entry("settings.toml", b"queue_depth = -1"), sums(e)],
    "another data folder": lambda: [HEAD, e := entry("settings.toml", b'data_folder = "/etc"'), sums(e)],
    "keys that are none": lambda: [HEAD, e := entry("api_keys.json", b'{"keys": 3}'), sums(e)],
    "uuids that are none": lambda: [HEAD, e := entry("uuids.json", b"[" * 100_000), sums(e)],
    "versions that are none": lambda: [HEAD, e := entry("versions.json", b'{"mode": 3}'), sums(e)],
    "a model that is none": lambda: [HEAD, e := entry("models/a/b/litert/1.0/model.json"), sums(e)],
    "a head that is deep": lambda: [entry("backup.json", b"[" * 4000)],
    "sums that are deep": lambda: [HEAD, entry("sums.json", b"[" * 100_000)],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_nothing_hostile_is_taken(data: Path, tmp_path: Path, what: str) -> None:
    path = archive(tmp_path / "hostile.tar", *HOSTILE[what]())
    before = {**contents(tmp_path), **contents(data)}

    with pytest.raises(InvalidInput):
        restore.stage(data, path)
    restore.finish(data)

    assert {**contents(tmp_path), **contents(data)} == before


@pytest.mark.parametrize("cut", [0, 100, 512, 1024, 1600, 3000])
def test_an_archive_that_is_cut_off_is_refused(data: Path, tmp_path: Path, cut: int) -> None:
    backup.make(data, tmp_path / "robot.tar")
    short = tmp_path / "short.tar"
    short.write_bytes((tmp_path / "robot.tar").read_bytes()[:cut])

    with pytest.raises(InvalidInput):
        restore.stage(data, short)


def test_what_is_no_archive_or_not_there_is_said(data: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("I am no backup" * 100)
    with pytest.raises(InvalidInput, match="no backup of an appliance"):
        restore.stage(data, tmp_path / "text")
    with pytest.raises(DetectorApplianceError):
        restore.stage(data, tmp_path / "nowhere")
