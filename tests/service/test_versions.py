"""Which model serves: chosen by people, kept over restarts, never lost to a bad wish."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.service.box import Box, settings_for
from tests.service.bundles import model_zip
from tests.service.conftest import MakeBox
from tests.service.photographs import CAT


def add(box: Box, version: str, **keys: Any) -> dict[str, Any]:
    """Add a model that works; how it is listed."""
    answer = box.http.post("/api/v1/models", files={"file": model_zip(version, **keys)})
    assert answer.status_code == 201, answer.text
    added: dict[str, Any] = answer.json()
    return added


def choose(box: Box, word: str) -> None:
    """PUT a mode or version and wait until that version serves."""
    answer = box.http.put("/model_version", content=word)
    assert (answer.status_code, answer.json()) == (200, "OK")
    version = word.rpartition("/")[2]
    if version[0].isdigit():
        box.wait_until(lambda: versions(box)["current_version"] == version)


def serving(box: Box) -> dict[str, Any]:
    """What the box says of the model that serves."""
    model: dict[str, Any] = box.http.get("/about").json()["model_info"]
    return model


def versions(box: Box) -> dict[str, Any]:
    """GET /model_version."""
    told: dict[str, Any] = box.http.get("/model_version").json()
    return told


def test_a_model_is_added_chosen_and_serves_after_a_restart(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with Box(settings) as box:
        added = add(box, "1.1")
        assert (added["organization"], added["version"], added["current"], added["selectable"]) == (
            "acme", "1.1", False, True,
        )  # fmt: skip
        assert versions(box)["local_versions"] == ["0.0", "1.1"]
        assert serving(box)["version"] == "0.0", "nobody has asked for it"

        choose(box, "1.1")

        assert serving(box)["organization"] == "acme"
        told = versions(box)
        assert (told["current_version"], told["target_version"]) == ("1.1", "1.1")
        assert told["version_control"] == "specific_version"
        answer = box.http.post("/detect", files={"file": CAT.jpeg}, headers={"autoupload": "disabled"})
        assert answer.json()["box_detections"][0]["model_name"] == "1.1"

    with Box(settings) as box:
        assert versions(box) == told, "the same as before the restart"
        assert box.detects(CAT.jpeg)


def served(box: Box) -> dict[str, list[dict[str, Any]]]:
    """When each model served, by version."""
    return {each["version"]: each["served"] for each in box.http.get("/api/v1/models").json()["models"]}


def test_the_list_tells_when_each_model_served_and_a_restart_begins_nothing_anew(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with Box(settings) as box:
        add(box, "1.1")
        assert served(box)["1.1"] == []
        [seed] = served(box)["0.0"]
        assert seed["until"] is None
        began = seed["since"]

        choose(box, "1.1")
        before = served(box)
    assert before["0.0"] == [{"since": began, "until": before["1.1"][0]["since"]}]

    with Box(settings) as box:
        assert served(box) == before
        choose(box, "detector-appliance/everyday-objects/litert/0.0")
        after = served(box)
        assert [each["until"] for each in after["0.0"]] == [None, before["1.1"][0]["since"]]
        assert after["1.1"] == [{**before["1.1"][0], "until": after["0.0"][0]["since"]}]


def test_pausing_keeps_what_serves_and_survives_a_restart(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with Box(settings) as box:
        add(box, "1.1")
        choose(box, "1.1")
        choose(box, "pause")
        add(box, "1.2")

    with Box(settings) as box:
        told = versions(box)
        assert (told["version_control"], told["current_version"], told["target_version"]) == ("pause", "1.1", "None")


def test_the_default_of_the_settings_wins_at_start(tmp_path: Path) -> None:
    with Box(settings_for(tmp_path)) as box:
        add(box, "1.1")
        add(box, "1.2")
        choose(box, "1.1")

    with Box(settings_for(tmp_path, version_control_default="1.2")) as box:
        assert serving(box)["version"] == "1.2"
        assert versions(box)["version_control"] == "specific_version"
        choose(box, "1.1")

    with Box(settings_for(tmp_path, version_control_default="pause")) as box:
        assert (serving(box)["version"], versions(box)["version_control"]) == ("1.1", "pause")


def test_a_model_that_failed_is_not_tried_again_at_the_next_start_but_when_a_person_says_so(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with Box(settings) as box:
        assert box.http.post("/api/v1/models", files={"file": model_zip("3.0", b"no weights")}).status_code == 201
        box.http.put("/model_version", content="3.0")
        box.wait_until(lambda: box.http.get("/about").json()["error"] is not None)

    with Box(settings) as box:
        about = box.http.get("/about").json()
        assert about["model_info"]["version"] == "0.0", "the start tried what works"
        box.wait_until(lambda: "Model 3.0 is not tried again" in str(box.http.get("/about").json()["error"]))
        failed = box.http.get("/api/v1/models").json()["failures"][0]["when"]

        box.http.put("/model_version", content="3.0")

        def tried_anew() -> bool:
            failures = box.http.get("/api/v1/models").json()["failures"]
            return bool(failures) and failures[0]["when"] > failed

        box.wait_until(tried_anew)


@pytest.fixture(scope="module")
def cupboard(make_box: MakeBox) -> Box:
    """A standalone box with models of two organizations."""
    box = make_box()
    add(box, "1.0")
    add(box, "1.9")
    add(box, "1.10")
    add(box, "1.0", organization="zauberzeug", project="demo", id="00000000-0000-0000-0000-000000000099")
    return box


def test_versions_are_in_the_order_of_their_numbers(cupboard: Box) -> None:
    assert versions(cupboard)["local_versions"] == ["0.0", "1.0", "1.9", "1.10"]


def test_a_version_that_is_there_twice_has_to_be_told_apart(cupboard: Box) -> None:
    refused = cupboard.http.put("/model_version", content="1.0")

    assert refused.status_code == 400
    assert "say which: acme/kitchens/1.0, zauberzeug/demo/1.0" in refused.json()["detail"]
    choose(cupboard, "zauberzeug/demo/1.0")
    assert serving(cupboard)["project"] == "demo"
    choose(cupboard, "0.0")


def test_the_same_model_again_is_no_other_but_other_bytes_under_its_name_are_refused(cupboard: Box) -> None:
    assert add(cupboard, "1.9")["version"] == "1.9"

    other = cupboard.http.post("/api/v1/models", files={"file": model_zip("1.9", conf_threshold=0.7)})

    assert other.status_code == 409
    assert "never changes" in other.json()["detail"]


def test_what_serves_is_wanted_or_ships_with_the_box_is_not_removed(cupboard: Box) -> None:
    choose(cupboard, "1.9")

    def refusal(version: str) -> tuple[int, str]:
        answer = cupboard.http.delete(f"/api/v1/models/{version}")
        return answer.status_code, answer.json()["detail"]

    status, sentence = refusal("1.9")
    assert (status, "choose another one" in sentence) == (409, True)
    choose(cupboard, "0.0")
    assert refusal("0.0")[0] == 409
    choose(cupboard, "1.9")
    status, sentence = refusal("0.0")
    assert (status, "part of this program" in sentence) == (409, True)
    assert refusal("7.7")[0] == 400
    assert refusal("newest")[0] == 400
    status, sentence = refusal("1.0")
    assert (status, "say which" in sentence) == (400, True)
    choose(cupboard, "0.0")


def test_a_version_of_one_project_is_removed_and_that_of_another_stays(cupboard: Box) -> None:
    add(cupboard, "5.0")
    add(cupboard, "5.0", organization="zauberzeug", project="demo")

    gone = cupboard.http.delete("/api/v1/models/5.0", params={"organization": "acme", "project": "kitchens"})

    assert gone.status_code == 200
    left = [
        (model["organization"], model["version"])
        for model in cupboard.http.get("/api/v1/models").json()["models"]
        if model["version"] == "5.0"
    ]
    assert left == [("zauberzeug", "5.0")]
    assert cupboard.http.delete("/api/v1/models/5.0").status_code == 200


def test_while_the_box_is_detecting_a_swap_waits(cupboard: Box) -> None:
    cupboard.http.put("/operation_mode", content="detecting")
    try:
        assert cupboard.http.put("/model_version", content="1.10").json() == "OK"
        told = versions(cupboard)
        assert (told["current_version"], told["target_version"]) == ("0.0", "1.10")
        for _ in range(5):
            assert cupboard.detects(CAT.jpeg)
        assert serving(cupboard)["version"] == "0.0"
    finally:
        cupboard.http.put("/operation_mode", content="idle")
    cupboard.wait_until(lambda: serving(cupboard)["version"] == "1.10")
    choose(cupboard, "0.0")


def test_while_a_test_has_paused_the_box_a_swap_waits(cupboard: Box) -> None:
    cupboard.http.put("/socketio", content="off")
    try:
        cupboard.http.put("/model_version", content="1.10")
        for _ in range(5):
            assert cupboard.detects(CAT.jpeg)
        assert serving(cupboard)["version"] == "0.0"
    finally:
        cupboard.http.put("/socketio", content="on")
    cupboard.wait_until(lambda: serving(cupboard)["version"] == "1.10")
    choose(cupboard, "0.0")


def test_only_models_of_the_own_project_and_the_seed_model_can_be_chosen(make_box: MakeBox) -> None:
    box = make_box(loop_organization="zauberzeug", loop_project="demo")
    listed = add(box, "1.0")
    assert listed["selectable"] is False
    add(box, "1.0", organization="zauberzeug", project="demo", id="00000000-0000-0000-0000-000000000099")
    add(box, "1.5")

    assert versions(box)["local_versions"] == ["0.0", "1.0"]
    choose(box, "1.0")
    assert serving(box)["organization"] == "zauberzeug"
    refused = box.http.put("/model_version", content="1.5")
    assert (refused.status_code, "there are: 0.0, 1.0" in refused.json()["detail"]) == (400, True)


def test_a_format_that_this_box_does_not_run_cannot_be_chosen(make_box: MakeBox) -> None:
    box = make_box(model_format="onnx")

    assert add(box, "1.0")["selectable"] is False
    assert add(box, "1.0", format="onnx")["selectable"] is True
    choose(box, "1.0")
    assert "/onnx/1.0" in serving(box)["model_root_path"]


def test_swapping_the_model_takes_no_request_away(make_box: MakeBox) -> None:
    box = make_box()
    add(box, "1.0")

    assert box.http.put("/model_version", content="1.0").json() == "OK"
    seen = set()
    for _ in range(500):
        answer = box.http.post("/detect", files={"file": CAT.jpeg}, headers={"autoupload": "disabled"})
        assert answer.status_code == 200
        [cat] = answer.json()["box_detections"]
        seen.add(cat["model_name"])
        if cat["model_name"] == "1.0":
            break

    assert seen == {"0.0", "1.0"}


def test_with_one_accelerator_the_box_says_what_it_is_updating_to_until_it_serves(make_box: MakeBox) -> None:
    box = make_box(exclusive_model_build=True)
    add(box, "1.0")
    assert box.http.put("/model_version", content="1.0").json() == "OK"
    refusals, infos, ready = [], [], []

    while versions(box)["current_version"] != "1.0":
        answer = box.http.post("/detect", files={"file": CAT.jpeg}, headers={"autoupload": "disabled"})
        if answer.status_code != 200:
            refusals.append((answer.status_code, answer.json()["detail"], answer.headers["retry-after"]))
            infos.append(box.call("info"))
            ready.append(box.http.get("/readyz").status_code)

    assert set(refusals) == {(503, "updating model to version 1.0", "5")}
    assert {"status": "Updating model to version 1.0"} in infos
    assert 503 in ready
    assert box.detects(CAT.jpeg)


def test_with_one_accelerator_a_model_that_fails_brings_the_old_one_back(make_box: MakeBox) -> None:
    box = make_box(exclusive_model_build=True)
    assert box.http.post("/api/v1/models", files={"file": model_zip("1.0", b"no weights")}).status_code == 201
    assert box.http.put("/model_version", content="1.0").json() == "OK"

    box.wait_until(lambda: box.http.get("/about").json()["error"] is not None)
    box.wait_until(lambda: box.http.get("/readyz").status_code == 200)

    assert serving(box)["version"] == "0.0"
    assert box.detects(CAT.jpeg)


def test_leftovers_of_a_model_that_was_being_received_are_swept_at_start(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    leftover = settings.data_folder / ".incoming-abc"
    leftover.mkdir(parents=True)
    (leftover / "model.zip").write_bytes(b"half of a model")

    with Box(settings):
        assert not leftover.exists()
