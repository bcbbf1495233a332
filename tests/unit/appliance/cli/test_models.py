"""`appliance models`, with a server and without."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.adopting import record
from appliance.adopting.record import RECORD_FILE, LeftModel, Record
from appliance.versions import state as state_file
from appliance.versions.state import STATE_FILE, RememberedFailure, VersionState
from models.bundle import pack
from models.files import FILE_SYSTEM
from tests.support.small_bundles import make_bundle
from tests.unit.appliance.cli.conftest import Shell


def zipped(shell: Shell, version: str, **keys: Any) -> Path:
    folder = make_bundle(shell.folder / f"bundle-{version}-{len(keys)}", version, **keys)
    target = shell.folder / f"{folder.name}.zip"
    pack(folder, target)
    return target


def starred(listing: str) -> list[str]:
    return [line.split()[1] for line in listing.splitlines() if line.startswith("*")]


class TestWithoutServer:
    def test_a_box_out_of_the_carton_has_the_seed_model(self, shell: Shell) -> None:
        listing = shell.ok("models", "list")
        assert starred(listing) == ["0.0"]
        assert "detector-appliance/everyday-objects" in listing
        assert "comes with the program" in listing

    def test_a_model_is_added_chosen_and_removed(self, shell: Shell) -> None:
        assert "Added version 1.9 of zauberzeug/demo" in shell.ok("models", "add", zipped(shell, "1.9"))
        shell.ok("models", "add", zipped(shell, "1.10"))
        assert starred(shell.ok("models", "list")) == ["1.10"]  # the newest, by its numbers
        assert "next start" in shell.ok("models", "use", "1.9")
        assert starred(shell.ok("models", "list")) == ["1.9"]
        assert "is what would serve" in shell.fails("models", "remove", "1.9")
        shell.ok("models", "remove", "1.10")
        assert "1.10" not in shell.ok("models", "list")

    def test_models_that_a_node_left_and_this_box_cannot_run_are_told_with_the_reason(self, shell: Shell) -> None:
        left = LeftModel(folder="1.3", format="yolov5_wts", why_not="it has the format 'yolov5_wts'")
        record.save(shell.data / RECORD_FILE, Record(models=(left, LeftModel(folder="1.4"))), FILE_SYSTEM)

        told = shell.run("models", "list").stderr

        assert told == "Left by learning-loop-node: models/1.3: it has the format 'yolov5_wts'\n"
        assert [each["folder"] for each in json.loads(shell.ok("models", "list", "--json"))["foreign"]] == ["1.3"]

    def test_what_was_chosen_is_what_the_next_server_reads(self, shell: Shell) -> None:
        shell.ok("models", "add", zipped(shell, "1.9"))
        shell.ok("models", "use", "zauberzeug/demo/1.9")
        state = state_file.load(shell.data / STATE_FILE, FILE_SYSTEM)
        assert (state.mode, state.chosen) == ("specific_version", "zauberzeug/demo/1.9")
        shell.ok("models", "use", "pause")
        assert state_file.load(shell.data / STATE_FILE, FILE_SYSTEM).mode == "pause"

    def test_choosing_a_model_that_failed_before_lets_it_be_tried_again(self, shell: Shell) -> None:
        shell.ok("models", "add", zipped(shell, "1.9"))
        failure = RememberedFailure(
            model_id="00000000-0000-0000-0000-000000000011",
            format="litert",
            fingerprint="x",
            appliance_version="1",
            reason="It did not load.",
            when=datetime(2026, 1, 31, tzinfo=timezone.utc),
        )
        state_file.save(shell.data / STATE_FILE, VersionState(failures=(failure,)), FILE_SYSTEM)
        shell.ok("models", "use", "1.9")
        assert state_file.load(shell.data / STATE_FILE, FILE_SYSTEM).failures == ()

    def test_a_version_that_is_not_there_is_not_chosen(self, shell: Shell) -> None:
        assert "there are: 0.0" in shell.fails("models", "use", "7")
        assert not (shell.data / STATE_FILE).exists()

    def test_the_seed_model_stays(self, shell: Shell) -> None:
        assert "cannot be removed" in shell.fails("models", "remove", "0.0")

    @pytest.mark.parametrize("content", [b"no zip", None])
    def test_what_is_no_zip_is_refused(self, shell: Shell, content: bytes | None) -> None:
        if content is not None:
            (shell.folder / "x.zip").write_bytes(content)
        assert shell.fails("models", "add", "x.zip").startswith("Error: ")
        assert starred(shell.ok("models", "list")) == ["0.0"]

    def test_models_of_other_projects_are_marked(self, shell: Shell) -> None:
        shell.ok("models", "add", zipped(shell, "1.9"))
        listing = shell.ok("models", "list", LOOP_ORGANIZATION="acme", LOOP_PROJECT="bolts")
        assert "of another project" in listing
        assert starred(listing) == ["0.0"]

    def test_what_lies_there_and_is_no_model_is_told(self, shell: Shell) -> None:
        (shell.data / "models" / "acme" / "bolts" / "litert" / "1.0").mkdir(parents=True)
        result = shell.run("models", "list")
        assert "Not a model: " in result.stderr
        assert len(json.loads(shell.ok("models", "list", "--json"))["broken"]) == 1


MODEL = {"organization": "acme", "project": "bolts", "format": "litert", "version": "1.4", "id": "x"}
LISTED = {**MODEL, "size_bytes": 5_200_000, "read_only": False, "current": True, "selectable": True}


class TestWithServer:
    def test_the_list_is_the_servers(self, shell: Shell) -> None:
        shell.serve(lambda _: httpx.Response(200, json={"models": [LISTED], "broken": []}))
        listing = shell.ok("models", "list")
        assert starred(listing) == ["1.4"]
        assert "5.2 MB" in listing

    def test_a_zip_is_sent_as_a_form_with_its_progress(self, shell: Shell) -> None:
        shell.serve(lambda _: httpx.Response(201, json=MODEL))
        path = zipped(shell, "1.4")
        result = shell.run("models", "add", path)
        assert result.exit_code == 0, result.output
        assert "appliance models use 1.4" in result.stdout
        assert "Sending" in result.stderr
        (request,) = shell.requests
        assert (request.method, request.url.path) == ("POST", "/api/v1/models")
        assert b'name="file"; filename="bundle-1.4-0.zip"' in request.content
        assert path.read_bytes() in request.content

    def test_a_refusal_is_passed_on_in_the_servers_words(self, shell: Shell) -> None:
        shell.serve(lambda _: httpx.Response(422, json={"detail": "model.json lacks the key 'version'"}))
        assert "Error: model.json lacks the key 'version'" in shell.fails("models", "add", zipped(shell, "1.4"))

    def test_it_waits_until_the_chosen_version_serves(self, shell: Shell) -> None:
        answers = iter(
            [
                httpx.Response(200, json="OK"),
                httpx.Response(200, json={"target_model": "1.4", "model_info": {"version": "1.3"}}),
                httpx.Response(
                    200, json={"target_model": "1.4", "model_info": {"version": "1.4"}, "runtime": "onnx/cpu/2"}
                ),
            ]
        )
        shell.serve(lambda _: next(answers))
        assert "Version 1.4 serves (onnx/cpu/2)" in shell.ok("models", "use", "1.4")
        put, *polls = shell.requests
        assert (put.method, put.url.path, put.content) == ("PUT", "/model_version", b"1.4")
        assert [poll.url.path for poll in polls] == ["/about", "/about"]

    @pytest.mark.parametrize(
        ("about", "told"),
        [
            (
                {"target_model": None, "error": "Model 1.4 could not be brought into service: NaN"},
                "brought into service",
            ),
            ({"target_model": "1.4", "model_info": None, "operation_mode": "detecting"}, "it is detecting now"),
            (
                {"target_model": "1.4", "update": {"version": "1.4", "state": "postponed", "sentence": "Locked"}},
                "Locked. It is noted, and happens by itself.",
            ),
            (
                {
                    "target_model": "1.4",
                    "update": {"version": "1.4", "state": "waiting_for_format", "sentence": "Not yet"},
                },
                "Not yet. It is noted, and happens by itself.",
            ),
        ],
    )
    def test_a_version_that_does_not_come_into_service_is_a_failure(
        self, shell: Shell, about: dict[str, Any], told: str
    ) -> None:
        shell.serve(
            lambda request: httpx.Response(200, json="OK" if request.method == "PUT" else {"model_info": None, **about})
        )
        assert told in shell.fails("models", "use", "1.4")

    def test_a_download_may_take_longer_than_loading_does(self, shell: Shell) -> None:
        under_way = {"target_model": "1.4", "model_info": None, "update": {"version": "1.4", "state": "downloading"}}
        done = {"target_model": "1.4", "model_info": {"version": "1.4"}, "runtime": "onnx/cpu/2"}
        answers = iter([httpx.Response(200, json="OK"), *[httpx.Response(200, json=under_way)] * 4])
        shell.serve(lambda _: next(answers, None) or httpx.Response(200, json=done))
        assert "Version 1.4 serves" in shell.ok(
            "models", "use", "1.4", LOAD_DEADLINE_S="0.3", INFERENCE_DEADLINE_S="0.1"
        )

    def test_a_mode_needs_no_waiting(self, shell: Shell) -> None:
        shell.serve(lambda _: httpx.Response(200, json="OK"))
        assert "follow_loop" in shell.ok("models", "use", "follow_loop")
        assert len(shell.requests) == 1

    def test_removing_names_the_owner_where_it_was_given(self, shell: Shell) -> None:
        shell.serve(lambda _: httpx.Response(200, json=MODEL))
        shell.ok("models", "remove", "acme/bolts/1.4")
        (request,) = shell.requests
        assert (request.method, request.url.path) == ("DELETE", "/api/v1/models/1.4")
        assert dict(request.url.params) == {"organization": "acme", "project": "bolts"}
