"""What the box remembers of its model versions over restarts, power cuts and damaged files."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

import pytest

from appliance.versions.reference import ModelReference
from appliance.versions.state import MAX_FAILURES, STATE_FILE, RememberedFailure, VersionState, load, save
from models.errors import NoRoom, StorageRefused
from models.files import FILE_SYSTEM, FileSystem
from tests.support.crashing_files import disks_after_every_cut

NOON = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)


def reference(version: str) -> ModelReference:
    return ModelReference(organization="zauberzeug", project="weeds", format="litert", version=version)


def failure(model_id: str = "m1", fingerprint: str = "a" * 64, reason: str = "It returned NaN.") -> RememberedFailure:
    return RememberedFailure(
        model_id=model_id,
        format="litert",
        fingerprint=fingerprint,
        appliance_version="0.1.0",
        reason=reason,
        when=NOON,
    )


OLD = VersionState(current=reference("1.9"), last_good=reference("1.9"))
NEW = VersionState(
    mode="specific_version",
    chosen="1.10",
    current=reference("1.10"),
    last_good=reference("1.9"),
    failures=(failure(),),
)


def test_a_new_box_follows_the_loop(tmp_path: Path) -> None:
    state = load(tmp_path / STATE_FILE, FILE_SYSTEM)
    assert state == VersionState(mode="follow_loop", chosen=None, current=None, last_good=None, failures=())
    assert list(tmp_path.iterdir()) == []


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "data" / STATE_FILE
    save(path, OLD, FILE_SYSTEM)
    save(path, NEW, FILE_SYSTEM)
    assert load(path, FILE_SYSTEM) == NEW
    assert [each.name for each in path.parent.iterdir()] == [STATE_FILE]


def test_a_power_cut_at_any_step_of_saving_leaves_the_old_state_or_the_new(tmp_path: Path) -> None:
    cut_short, finished = disks_after_every_cut(
        tmp_path,
        before=lambda root: save(root / STATE_FILE, OLD, FILE_SYSTEM),
        act=lambda files, root: save(root / STATE_FILE, NEW, files),
    )
    found = [load(disk / STATE_FILE, FILE_SYSTEM) for disk in cut_short]
    assert OLD in found
    assert NEW in found
    assert all(state in (OLD, NEW) for state in found)
    assert [load(disk / STATE_FILE, FILE_SYSTEM) for disk in finished] == [NEW] * len(finished)


@pytest.mark.parametrize(
    ("label", "content"),
    [
        ("cut off", b'{"mode": "follow_lo'),
        ("empty", b""),
        ("zeros, as some file systems leave them", b"\0" * 4096),
        ("not UTF-8", b'{"mode": "\xff"}'),
        ("a mode that does not exist", b'{"mode": "sometimes"}'),
        ("a specific version without saying which", b'{"mode": "specific_version"}'),
        ("a chosen version in another mode", b'{"mode": "pause", "chosen": "1.0"}'),
        ("an incomplete model", b'{"current": {"version": "1.0"}}'),
        ("far too large", b" " * (1 << 20) + b"{}"),
        ("deeply nested", b"[" * 100_000),
    ],
)
def test_a_damaged_file_is_kept_aside_and_the_box_starts_as_if_new(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, label: str, content: bytes
) -> None:
    path = tmp_path / STATE_FILE
    path.write_bytes(content)
    with caplog.at_level(logging.ERROR):
        state = load(path, FILE_SYSTEM)
    assert state.model_copy(update={"problem": None}) == VersionState(), label
    assert state.problem is not None
    assert "versions.json.corrupt-1" in state.problem
    assert state.problem in caplog.messages
    assert (tmp_path / "versions.json.corrupt-1").read_bytes() == content
    assert load(path, FILE_SYSTEM) == VersionState(), "a second start finds nothing wrong"


def test_damaged_files_do_not_pile_up(tmp_path: Path) -> None:
    path = tmp_path / STATE_FILE
    for number in range(20):
        path.write_text(f"damaged {number}")
        load(path, FILE_SYSTEM)
    kept = sorted(tmp_path.iterdir())
    assert [each.name for each in kept] == [f"versions.json.corrupt-{number}" for number in range(1, 10)]
    assert [each.read_text() for each in (kept[0], kept[-1])] == ["damaged 0", "damaged 19"]


def test_what_was_wrong_with_the_file_is_told_until_the_restart_but_not_stored(tmp_path: Path) -> None:
    path = tmp_path / STATE_FILE
    path.write_text("damaged")
    state = load(path, FILE_SYSTEM).in_mode("pause").remembering(failure())
    assert state.problem is not None
    save(path, state, FILE_SYSTEM)
    assert load(path, FILE_SYSTEM) == VersionState(mode="pause", failures=(failure(),))


def test_keys_of_a_newer_program_do_not_stop_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / STATE_FILE
    path.write_text('{"mode": "pause", "mood": "sunny"}')
    assert load(path, FILE_SYSTEM) == VersionState(mode="pause")


def test_the_chosen_version_goes_with_its_mode() -> None:
    state = OLD.in_mode("specific_version", "1.9")
    assert (state.mode, state.chosen, state.current) == ("specific_version", "1.9", OLD.current)
    assert state.in_mode("pause").chosen is None
    with pytest.raises(ValueError, match="only specific_version"):
        OLD.in_mode("specific_version")
    with pytest.raises(ValueError, match="only specific_version"):
        OLD.in_mode("pause", "1.9")


def test_a_failed_model_is_not_tried_again_until_something_changes() -> None:
    state = VersionState().remembering(failure())
    known = state.failure("m1", "litert", "a" * 64, "0.1.0")
    assert known is not None
    assert known.reason == "It returned NaN."
    assert state.failure("m1", "litert", "b" * 64, "0.1.0") is None, "other bytes"
    assert state.failure("m1", "onnx", "a" * 64, "0.1.0") is None, "another format"
    assert state.failure("m2", "litert", "a" * 64, "0.1.0") is None, "another model"
    assert state.failure("m1", "litert", "a" * 64, "0.2.0") is None, "the appliance was upgraded"
    assert state.forgetting("m1").failure("m1", "litert", "a" * 64, "0.1.0") is None, "a person said so"
    assert state.forgetting("m2") == state


def test_a_model_that_fails_again_is_remembered_once_with_its_latest_reason() -> None:
    state = VersionState().remembering(failure()).remembering(failure("m2")).remembering(failure(reason="It hung."))
    assert [(each.model_id, each.reason) for each in state.failures] == [("m2", "It returned NaN."), ("m1", "It hung.")]


def test_a_zip_that_comes_once_more_is_known_with_the_model_that_was_in_it() -> None:
    loaded = failure().model_copy(update={"zip_sha256": "z", "offer": "etag a"})
    again = failure(fingerprint="").model_copy(update={"zip_sha256": "z", "offer": "etag b"})
    [known] = VersionState().remembering(loaded).remembering(again).failures
    assert (known.fingerprint, known.zip_sha256, known.offer) == ("a" * 64, "z", "etag b")


def test_bytes_that_never_came_are_told_apart_by_what_the_loop_said_of_them() -> None:
    state = VersionState()
    for offer in ("etag a", "etag b", "etag a"):
        state = state.remembering(failure(fingerprint="").model_copy(update={"offer": offer}))
    assert [each.offer for each in state.failures] == ["etag b", "etag a"]


def test_what_is_gone_back_to_has_proven_itself() -> None:
    state = VersionState().serving(reference("1.0"), NOON)
    assert (state.current, state.last_good, state.on_probation) == (reference("1.0"), None, False), "nothing was before"
    state = state.serving(reference("1.1"), NOON)
    assert (state.last_good, state.on_probation) == (reference("1.0"), True)
    state = state.serving(reference("1.2"), NOON)
    assert (state.last_good, state.on_probation) == (reference("1.0"), True), "1.1 had not proven itself"
    state = state.committed().serving(reference("1.3"), NOON)
    assert state.last_good == reference("1.2")
    state = state.serving(reference("1.2"), NOON, proven=True)
    assert (state.last_good, state.on_probation) == (reference("1.2"), False), "what it replaces is unfit"


def test_a_flood_of_failures_forgets_the_oldest_and_shortens_their_words(tmp_path: Path) -> None:
    state = VersionState()
    for number in range(MAX_FAILURES * 3):
        state = state.remembering(failure(f"m{number}", reason="x" * 100_000))
    assert [each.model_id for each in state.failures] == [f"m{number}" for number in range(100, 150)]
    save(tmp_path / STATE_FILE, state, FILE_SYSTEM)
    assert load(tmp_path / STATE_FILE, FILE_SYSTEM) == state


class FullDisk(FileSystem):
    """A disk on which no byte more can be written."""

    def create_exclusive(self, path: Path) -> BinaryIO:
        raise OSError(28, "No space left on device")


def test_a_full_disk_refuses_the_new_state_and_keeps_the_old(tmp_path: Path) -> None:
    path = tmp_path / STATE_FILE
    save(path, OLD, FILE_SYSTEM)
    with pytest.raises(NoRoom, match="model versions"):
        save(path, NEW, FullDisk())
    assert load(path, FILE_SYSTEM) == OLD


def test_a_file_that_the_disk_does_not_let_be_read_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / STATE_FILE
    path.mkdir()
    with pytest.raises(StorageRefused, match="read the model versions"):
        load(path, FILE_SYSTEM)
    assert path.is_dir()
