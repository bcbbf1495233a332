"""`appliance outbox`, with a server and without."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from appliance.cli.main import cli
from appliance.cli.place import Surroundings
from appliance.outbox.export import packed
from appliance.outbox.index import Entry
from appliance.outbox.queue import Outbox, StoredPicture
from appliance.outbox.room import OutboxBounds
from models.files import FILE_SYSTEM
from models.wire.image_metadata import ImageMetadata
from tests.unit.appliance.cli.conftest import Handler, Shell

JPEG = b"\xff\xd8 a picture \xff\xd9"
UPLOADED = ImageMetadata(tags=["picked_by_system"], source="front")
PICKED = ImageMetadata(tags=["uncertain"])


def opened(shell: Shell) -> Outbox:
    return Outbox(shell.data / "outbox", OutboxBounds(1000, 10**9, 0), lambda: datetime.now(timezone.utc), FILE_SYSTEM)


@pytest.fixture
def saved(shell: Shell) -> list[str]:
    """An upload, a pick, one that goes first, and one that the Loop rejected."""
    outbox = opened(shell)
    ids = [outbox.save(JPEG, UPLOADED), outbox.save(JPEG, PICKED), outbox.save(b"first", UPLOADED, priority=True)]
    ids.append(outbox.save(b"bad", UPLOADED))
    outbox.reject(ids[3], "the Loop does not want it: no JPEG", 422)
    outbox.close()
    return ids


class TestWithoutServer:
    def test_what_waits_is_listed_with_why(self, shell: Shell, saved: list[str]) -> None:
        lines = shell.ok("outbox", "list").splitlines()
        assert [line.split()[0] for line in lines[1:]] == [saved[2], saved[1], saved[0]]
        assert "priority" in lines[1]
        assert "unsure" in lines[2]
        assert "somebody asked for it" in lines[3]
        assert "3 pictures: waiting" in shell.run("outbox", "list").stderr

    def test_the_list_is_as_long_as_one_wants(self, shell: Shell, saved: list[str]) -> None:
        result = shell.run("outbox", "list", "--limit", "1")
        assert len(result.stdout.splitlines()) == 2
        assert "The first 1 are listed" in result.stderr

    def test_what_was_rejected_is_listed_with_the_loops_words(self, shell: Shell, saved: list[str]) -> None:
        listing = shell.ok("outbox", "list", "--rejected")
        assert saved[3] in listing
        assert "no JPEG" in listing
        assert saved[0] not in listing

    def test_json_is_for_programs(self, shell: Shell, saved: list[str]) -> None:
        told = json.loads(shell.ok("outbox", "list", "--json"))
        assert told["count"] == 3
        assert [each["id"] for each in told["items"]] == [saved[2], saved[1], saved[0]]

    def test_an_empty_outbox_is_no_error(self, shell: Shell) -> None:
        assert shell.ok("outbox", "list") == ""
        assert "nothing to delete" in shell.ok("outbox", "clear")
        assert "0 pictures" in shell.ok("outbox", "retry")
        assert not (shell.data / "outbox").exists(), "looking makes nothing"

    def test_one_picture_is_shown(self, shell: Shell, saved: list[str]) -> None:
        shown = json.loads(shell.ok("outbox", "show", saved[0]))
        assert (shown["metadata"]["source"], shown["asked_for"], shown["queue"]) == ("front", True, "normal")
        assert json.loads(shell.ok("outbox", "show", saved[3]))["error"] == "the Loop does not want it: no JPEG"

    @pytest.mark.parametrize("item_id", ["2020-01-01", "../../etc/passwd", "", "a/b"])
    def test_what_is_not_there_is_said(self, shell: Shell, saved: list[str], item_id: str) -> None:
        assert "appliance outbox list" in shell.fails("outbox", "show", item_id)
        assert "appliance outbox list" in shell.fails("outbox", "retry", item_id)

    def test_a_rejected_picture_is_put_back_where_it_came_from(self, shell: Shell, saved: list[str]) -> None:
        assert "1 picture" in shell.ok("outbox", "retry", saved[3])
        assert saved[3] in shell.ok("outbox", "list")
        outbox = opened(shell)
        assert outbox.stats().total.items == 4, "the next start knows of it"
        outbox.close()

    def test_all_of_them_are_put_back(self, shell: Shell, saved: list[str]) -> None:
        assert "1 picture" in shell.ok("outbox", "retry")
        assert "0 pictures" in shell.ok("outbox", "retry")

    def test_deleting_asks_before(self, shell: Shell, saved: list[str]) -> None:
        surroundings = Surroundings(shell.environ, shell.folder)
        refused = CliRunner().invoke(cli, ["outbox", "clear"], obj=surroundings, input="n\n")
        assert refused.exit_code != 0
        assert "Delete 3 pictures waiting for the Learning Loop?" in refused.output
        assert "3 pictures" in shell.run("outbox", "list").stderr
        agreed = CliRunner().invoke(cli, ["outbox", "clear"], obj=surroundings, input="y\n")
        assert "Deleted: 3 pictures." in agreed.output
        assert "0 pictures" in shell.run("outbox", "list").stderr
        assert saved[3] in shell.ok("outbox", "list", "--rejected"), "the rejected ones stay"

    def test_deleting_what_was_rejected(self, shell: Shell, saved: list[str]) -> None:
        assert "Deleted: 1 picture." in shell.ok("outbox", "clear", "--rejected", "--yes")
        assert not list((shell.data / "outbox" / "rejected").iterdir())
        assert "3 pictures" in shell.run("outbox", "list").stderr

    def test_pictures_are_copied_and_the_second_time_only_what_is_new(self, shell: Shell, saved: list[str]) -> None:
        assert ": 3 pictures." in shell.ok("outbox", "export", "out")
        out = shell.folder / "out"
        assert (out / f"image_{saved[2]}.jpg").read_bytes() == b"first"
        assert json.loads((out / f"image_{saved[0]}.json").read_text())["source"] == "front"
        assert len(list(out.iterdir())) == 6
        (out / f"image_{saved[0]}.jpg").unlink()
        assert ": 1 picture." in shell.ok("outbox", "export", "out")
        assert "Already there: 3." in shell.ok("outbox", "export", "out")

    def test_pictures_are_packed_with_what_is_known_of_each(self, shell: Shell, saved: list[str]) -> None:
        told = shell.ok("outbox", "export", "out/pictures.zip")
        assert "pictures.zip: 3 pictures, 0.0 MB." in told
        with zipfile.ZipFile(shell.folder / "out" / "pictures.zip") as archive:
            assert archive.testzip() is None
            assert archive.read(f"priority/image_{saved[2]}.jpg") == b"first"
            assert json.loads(archive.read(f"normal/image_{saved[0]}.json"))["source"] == "front"
            assert len(archive.namelist()) == 2 * 3 + 1
        assert "1 picture," in shell.ok("outbox", "export", "--rejected", "bad.zip")
        with zipfile.ZipFile(shell.folder / "bad.zip") as archive:
            said = json.loads(archive.read(f"rejected/image_{saved[3]}.reason.json"))
        assert "no JPEG" in said["reason"]

    def test_a_zip_that_is_there_is_not_overwritten(self, shell: Shell, saved: list[str]) -> None:
        (shell.folder / "pictures.zip").write_text("an earlier one")
        assert "is there already" in shell.fails("outbox", "export", "pictures.zip")
        assert (shell.folder / "pictures.zip").read_text() == "an earlier one"

    def test_an_empty_outbox_is_an_empty_zip(self, shell: Shell) -> None:
        assert "0 pictures" in shell.ok("outbox", "export", "pictures.zip")

    def test_a_zip_that_cannot_be_written_is_said(self, shell: Shell, saved: list[str]) -> None:
        (shell.folder / "file").write_text("")
        assert "could not write the pictures" in shell.fails("outbox", "export", "file/out.zip")

    def test_a_folder_that_cannot_be_written_is_said(self, shell: Shell, saved: list[str]) -> None:
        (shell.folder / "file").write_text("")
        assert "could not copy the pictures" in shell.fails("outbox", "export", "file/out")

    def test_a_picture_with_damaged_metadata_is_listed_and_said(self, shell: Shell, saved: list[str]) -> None:
        (shell.data / "outbox" / "normal" / saved[0] / f"image_{saved[0]}.json").write_text("{")
        assert "cannot be read" in shell.ok("outbox", "list")
        assert "damaged" in shell.fails("outbox", "show", saved[0])


class TestWithServer:
    def test_pages_are_asked_for_until_there_are_enough(self, shell: Shell) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/api/v1/outbox":
                return httpx.Response(200, json={"waiting": 3, "rejected": {"items": 0}})
            after = request.url.params.get("after")
            page = {"id": f"2024-{after}", "queue": "normal", "bytes": 1000, "error": None, "reasons": ["because"]}
            return httpx.Response(200, json={"items": [page], "next": None if after == "b" else "b" if after else "a"})

        shell.serve(answer)
        lines = shell.ok("outbox", "list").splitlines()
        assert [line.split()[0] for line in lines[1:]] == ["2024-None", "2024-a", "2024-b"]
        assert [request.url.params.get("after") for request in shell.requests[1:]] == [None, "a", "b"]

    def test_what_the_server_has_not_is_said(self, shell: Shell) -> None:
        shell.serve(lambda _: httpx.Response(404, json={"detail": "There is no picture"}))
        assert "There is no picture 2024-01-31" in shell.fails("outbox", "show", "2024-01-31")
        assert "no rejected picture" in shell.fails("outbox", "retry", "2024-01-31")
        assert "is no picture's id" in shell.fails("outbox", "show", "../x")

    def test_all_is_retried_and_cleared_over_there(self, shell: Shell, saved: list[str]) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            if request.method == "GET":
                return httpx.Response(200, json={"waiting": 7, "rejected": {"items": 2}})
            return httpx.Response(200, json={"count": 7 if request.method == "DELETE" else 2})

        shell.serve(answer)
        assert "To be sent once more: 2 pictures." in shell.ok("outbox", "retry")
        assert "Deleted: 7 pictures." in shell.ok("outbox", "clear", "--yes")
        asked = [(request.method, request.url.path) for request in shell.requests]
        assert ("POST", "/api/v1/outbox/retry") in asked
        assert ("DELETE", "/api/v1/outbox/items") in asked
        assert (shell.data / "outbox" / "normal" / saved[0]).exists(), "the folder is the server's"

    def test_pictures_that_were_sent_meanwhile_are_left_out(self, shell: Shell) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            path = Path(request.url.path)
            if path.name == "outbox":
                return httpx.Response(200, json={"waiting": 2, "rejected": {"items": 0}})
            if path.name == "items":
                return httpx.Response(200, json={"items": [{"id": "gone"}, {"id": "here"}], "next": None})
            if "gone" in path.parts:
                return httpx.Response(404, json={"detail": "sent"})
            return httpx.Response(200, content=JPEG) if path.name == "picture" else httpx.Response(
                200, json={"metadata": {"tags": []}}
            )  # fmt: skip

        shell.serve(answer)
        assert ": 1 picture." in shell.ok("outbox", "export", "out")
        assert sorted(path.name for path in (shell.folder / "out").iterdir()) == ["image_here.jpg", "image_here.json"]

    def test_the_servers_zip_is_fetched(self, shell: Shell) -> None:
        shell.serve(exporting(packed(["a", "gone"], lambda name: A if name == "a" else None)))
        told = shell.ok("outbox", "export", "--rejected", "pictures.zip")
        assert "1 picture," in told
        assert "Sent or deleted meanwhile: 1." in told
        assert shell.requests[-1].url.params["folder"] == "rejected"
        with zipfile.ZipFile(shell.folder / "pictures.zip") as archive:
            assert archive.read("normal/image_a.jpg") == JPEG

    def test_a_zip_that_is_cut_off_leaves_nothing(self, shell: Shell) -> None:
        def cut_off() -> Iterator[bytes]:
            yield b"PK\x03\x04"
            raise httpx.RemoteProtocolError("peer closed connection")

        shell.serve(exporting(cut_off()))
        assert "broke off" in shell.fails("outbox", "export", "pictures.zip")
        assert [path.name for path in shell.folder.iterdir()] == ["data"]

    def test_a_server_that_is_asked_too_much_says_so(self, shell: Shell) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/export"):
                return httpx.Response(503, json={"detail": "Others are fetching pictures now"})
            return httpx.Response(200, json={"bytes": 0, "rejected": {"bytes": 0}})

        shell.serve(answer)
        assert "Others are fetching pictures now" in shell.fails("outbox", "export", "pictures.zip")
        assert not (shell.folder / "pictures.zip").exists()


A = StoredPicture(Entry("normal", "a", len(JPEG), True), JPEG, b"{}")


def exporting(pieces: Iterator[bytes]) -> Handler:
    """A server that exports this."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/export"):
            return httpx.Response(200, content=pieces)
        return httpx.Response(200, json={"bytes": 1000, "rejected": {"bytes": 1000}})

    return answer
