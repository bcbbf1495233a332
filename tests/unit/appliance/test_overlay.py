"""What people change on the dashboard is kept, is read again, and does not pretend to win where it does not."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance import overlay
from appliance.settings import Settings, load_settings
from models.errors import NoRoom, SettingsInvalid
from models.files import FILE_SYSTEM, FileSystem


def settings(folder: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """As a server would read them."""
    (folder / "data").mkdir(exist_ok=True)
    return load_settings(environ=environ or {}, data_dir=folder / "data", working_directory=folder, system_root=folder)


def networks(folder: Path) -> list[str]:
    """Those that are trusted after a restart."""
    return [str(network) for network in settings(folder).trusted_networks]


def test_what_is_changed_is_in_force_when_the_settings_are_read_again(tmp_path: Path) -> None:
    overlay.change(settings(tmp_path), "trusted_networks", ["192.168.4.0/24", "fd00::/64"], FILE_SYSTEM)

    assert networks(tmp_path) == ["192.168.4.0/24", "fd00::/64"]


def test_what_was_changed_before_stays(tmp_path: Path) -> None:
    hostile = 'a "quoted" name with \\ and \n and é'
    overlay.change(settings(tmp_path), "node_name", hostile, FILE_SYSTEM)
    overlay.change(settings(tmp_path), "trusted_networks", ["10.0.0.0/8"], FILE_SYSTEM)
    overlay.change(settings(tmp_path), "queue_depth", 7, FILE_SYSTEM)
    overlay.change(settings(tmp_path), "open_detection", False, FILE_SYSTEM)

    now = settings(tmp_path)
    assert now.node_name == hostile
    assert networks(tmp_path) == ["10.0.0.0/8"]
    assert (now.queue_depth, now.open_detection) == (7, False)


def test_names_by_id_are_read_again_whatever_is_in_them(tmp_path: Path) -> None:
    names = {'a "quoted" = id, \\ and \n \x7f {': "Höhe 🙂", "usb-0:1.2": "Front 'left'", "": "x"}
    with pytest.raises(SettingsInvalid, match="at least 1 character"):
        overlay.change(settings(tmp_path), "camera_names", names, FILE_SYSTEM)
    del names[""]
    overlay.change(settings(tmp_path), "camera_names", names, FILE_SYSTEM)
    overlay.change(settings(tmp_path), "queue_depth", 7, FILE_SYSTEM)

    assert settings(tmp_path).camera_names == names
    overlay.change(settings(tmp_path), "camera_names", {}, FILE_SYSTEM)
    assert settings(tmp_path).camera_names == {}


def test_where_the_environment_has_the_last_word_that_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    fixed = settings(tmp_path, {"TRUSTED_NETWORKS": "10.0.0.0/8"})

    with pytest.raises(SettingsInvalid, match=r"TRUSTED_NETWORKS.*change it there"):
        overlay.change(fixed, "trusted_networks", ["192.168.4.0/24"], FILE_SYSTEM)
    assert networks(tmp_path) == []


def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path) -> None:
    whole = settings(tmp_path)
    path = tmp_path / "data" / "settings.toml"
    path.write_text("this is = = no TOML")

    with pytest.raises(SettingsInvalid, match=r"settings\.toml is no valid TOML"):
        overlay.change(whole, "queue_depth", 7, FILE_SYSTEM)
    assert path.read_text() == "this is = = no TOML"


class FullDisk(FileSystem):
    """Nothing fits on it."""

    def write_atomically(self, path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(NoRoom, match="store the settings"):
        overlay.change(settings(tmp_path), "queue_depth", 7, FullDisk())
    assert settings(tmp_path).queue_depth == 32
