"""The training that is written down: after a power cut there is all of the old or all of the new."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.errors import InvalidInput
from models.files import FILE_SYSTEM, FileSystem
from tests.support.crashing_files import disks_after_every_cut
from trainer_companion.progress import Best, Confusion
from trainer_companion.run_state import RUN, Folders, LastRun, Run, RunStore, new_run

DETAILS: dict[str, Any] = {
    "categories": [{"id": "c1", "name": "bolt"}],
    "hyperparameters": {"epochs": 3},
    "training_number": 7,
    "model_variant": "small",
}


def a_run(**given: Any) -> Run:
    return new_run("acme", "parts", DETAILS, now=1000.0).model_copy(update=given)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    best = Best(
        epoch=2,
        map50=0.5,
        map=0.3,
        conf_threshold=0.4,
        confusion_matrix={"c1": Confusion(tp=1, fp=2, fn=3)},
        bundle="/somewhere/best",
    )
    run = a_run(state="confusion_matrix_synced", best=best, uploaded={"appliance_pytorch": "m1"})
    store = RunStore(tmp_path / "data")
    assert store.read() is None
    store.write(run)
    assert store.read() == run
    assert run.model_id == "m1"


def test_a_power_cut_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    old, new = a_run(), a_run(state="data_downloaded", train_images=5)

    def before(root: Path) -> None:
        RunStore(root).write(old)

    def act(files: FileSystem, root: Path) -> None:
        RunStore(root, files).write(new)

    cut_short, finished = disks_after_every_cut(tmp_path, before, act)
    assert {disk_state(disk) for disk in cut_short} == {"initialized", "data_downloaded"}
    assert {disk_state(disk) for disk in finished} == {"data_downloaded"}


def disk_state(disk: Path) -> str:
    run = RunStore(disk).read()
    assert run is not None
    return run.state


def test_the_end_survives_a_power_cut_or_is_come_to_again(tmp_path: Path) -> None:
    last = LastRun(organization="acme", project="parts", training_number=7, ended=1.0, outcome="finished")

    def before(root: Path) -> None:
        RunStore(root).write(a_run(state="ready_for_cleanup"))

    def act(files: FileSystem, root: Path) -> None:
        RunStore(root, files).finish(last)

    cut_short, finished = disks_after_every_cut(tmp_path, before, act)
    for disk in cut_short:
        run = RunStore(disk).read()
        assert run is not None or RunStore(disk).last() == last
    for disk in finished:
        assert (RunStore(disk).read(), RunStore(disk).last()) == (None, last)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2}', b'{"id": "x", "state": "dancing"}'])
def test_a_file_that_cannot_be_understood_is_kept_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RUN).write_bytes(content)
    store = RunStore(tmp_path)
    assert store.read() is None
    assert (tmp_path / f"{RUN}.corrupt").read_bytes() == content
    assert store.read() is None


@pytest.mark.parametrize("missing", list(DETAILS))
def test_a_wish_without_something_is_refused_by_its_name(missing: str) -> None:
    details = {key: value for key, value in DETAILS.items() if key != missing}
    with pytest.raises(InvalidInput, match=missing):
        new_run("acme", "parts", details)


@pytest.mark.parametrize("wish", [None, [], "x", {**DETAILS, "training_number": "many"}])
def test_a_wish_that_is_none_is_refused(wish: Any) -> None:
    with pytest.raises(InvalidInput, match="cannot begin"):
        new_run("acme", "parts", wish)
    with pytest.raises(InvalidInput):
        new_run(None, 7, DETAILS)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "../../etc", "x" * 500, "ü" * 200, ".hidden", "a\0b"])
def test_no_name_of_the_loop_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    run = a_run(organization=name, project=name)
    folder = Folders(tmp_path).project(run)
    assert folder.parent.parent == tmp_path / "projects"
    FILE_SYSTEM.make_folders(folder)
    assert folder.resolve().is_relative_to(tmp_path / "projects")


def test_long_names_stay_different() -> None:
    folders = Folders(Path("/data"))
    first, second = a_run(project="x" * 400 + "1"), a_run(project="x" * 400 + "2")
    assert folders.project(first) != folders.project(second)
