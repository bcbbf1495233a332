"""`POST /upload`: what is acknowledged lies on the disk; what cannot be kept as a whole is not kept at all."""

from __future__ import annotations

import httpx
import pytest

from tests.service.box import Box
from tests.service.conftest import MakeBox
from tests.service.outbox import Kept, pictures_in
from tests.service.photographs import CAT, CUP, PERSON, encoded


@pytest.fixture(scope="module")
def mailbox(make_box: MakeBox) -> Box:
    """A box that is only uploaded to."""
    return make_box()


def upload(
    box: Box, *pictures: bytes, query: dict[str, str] | None = None, headers: dict[str, str] | None = None
) -> httpx.Response:
    """POST pictures."""
    files = [("files", (f"{number}.jpg", picture)) for number, picture in enumerate(pictures)]
    return box.http.post("/upload", files=files, params=query, headers=headers)


def uploaded(
    box: Box, *pictures: bytes, query: dict[str, str] | None = None, headers: dict[str, str] | None = None
) -> list[Kept]:
    """Upload pictures; what has come into the outbox by the time of the acknowledgement."""
    before = {kept.id for kept in pictures_in(box)}
    answer = upload(box, *pictures, query=query, headers=headers)
    assert (answer.status_code, answer.json()) == (200, [200, "OK"])
    return [kept for kept in pictures_in(box) if kept.id not in before]


def test_an_acknowledged_picture_lies_in_the_outbox_byte_for_byte(mailbox: Box) -> None:
    [kept] = uploaded(mailbox, CAT.jpeg)

    assert kept.queue == "normal"
    assert kept.picture == CAT.jpeg
    assert kept.metadata["tags"] == ["seed_model", "picked_by_system"]
    assert kept.metadata["box_detections"] == []


def test_several_pictures_come_in_one_request(mailbox: Box) -> None:
    kept = uploaded(mailbox, CAT.jpeg, CUP.jpeg, encoded(PERSON.pixels, "PNG"))

    assert [each.picture for each in kept] == [CAT.jpeg, CUP.jpeg, encoded(PERSON.pixels, "PNG")]


def test_source_date_and_priority_come_in_the_query(mailbox: Box) -> None:
    query = {"source": "robot 7", "creation_date": "2024-01-31T12:34:56", "upload_priority": "true"}

    [kept] = uploaded(mailbox, CAT.jpeg, query=query)

    assert kept.queue == "priority"
    assert (kept.metadata["source"], kept.metadata["created"]) == ("robot 7", "2024-01-31T12:34:56")


@pytest.mark.parametrize("hyphen", ["-", "_"])
def test_or_in_headers_as_the_readme_of_upstream_says(mailbox: Box, hyphen: str) -> None:
    headers = {
        "source": "robot 7",
        f"creation{hyphen}date": "2024-01-31_12:34:56.789",
        f"upload{hyphen}priority": "true",
    }

    [kept] = uploaded(mailbox, CAT.jpeg, headers=headers)

    assert kept.queue == "priority"
    assert (kept.metadata["source"], kept.metadata["created"]) == ("robot 7", "2024-01-31_12:34:56.789")


def test_the_query_goes_before_the_headers(mailbox: Box) -> None:
    query = {"source": "query", "creation_date": "2024-01-31", "upload_priority": "false"}
    headers = {"source": "header", "creation-date": "2023-01-31", "upload-priority": "true"}

    [kept] = uploaded(mailbox, CAT.jpeg, query=query, headers=headers)

    assert kept.queue == "normal"
    assert (kept.metadata["source"], kept.metadata["created"]) == ("query", "2024-01-31")


@pytest.mark.parametrize(
    ("query", "word"),
    [({"upload_priority": "perhaps"}, "upload_priority"), ({"creation_date": "yesterday"}, "'yesterday' is no date")],
)
def test_what_cannot_be_understood_is_refused_and_nothing_kept(mailbox: Box, query: dict[str, str], word: str) -> None:
    before = mailbox.tree()

    answer = upload(mailbox, CAT.jpeg, query=query)

    assert answer.status_code == 422
    assert word in answer.json()["detail"]
    assert mailbox.tree() == before


def test_one_file_that_is_no_picture_and_nothing_of_the_request_is_kept(mailbox: Box) -> None:
    before = mailbox.tree()

    answer = upload(mailbox, CAT.jpeg, b"I am a text.", CUP.jpeg)

    assert answer.status_code == 422
    assert "no picture" in answer.json()["detail"]
    assert mailbox.tree() == before


def test_the_outbox_is_full_then_nothing_of_a_request_is_kept_that_does_not_fit(make_box: MakeBox) -> None:
    box = make_box(max_outbox_size=3)
    assert len(uploaded(box, CAT.jpeg, CUP.jpeg)) == 2

    refused = upload(box, PERSON.jpeg, CAT.jpeg)

    assert refused.status_code == 507
    assert "max_outbox_size" in refused.json()["detail"], "the sentence says what can be done"
    assert [kept.picture for kept in pictures_in(box)] == [CAT.jpeg, CUP.jpeg]
    assert len(uploaded(box, PERSON.jpeg)) == 1, "what fits is taken"
    said = {"error": refused.json()["detail"].replace("2 pictures", "3 pictures")}
    assert box.call("upload", {"image": CAT.jpeg, "metadata": {}}) == said
    assert box.http.get("/api/v1/outbox").json()["refused"] >= 2
    assert box.detects(CAT.jpeg), "detecting goes on"


def test_the_disk_is_nearly_full_then_nothing_is_kept(make_box: MakeBox) -> None:
    box = make_box(min_free_disk_mb=10**9)  # a petabyte, which no machine has free

    refused = upload(box, CAT.jpeg)

    assert refused.status_code == 507
    assert "Make room on the disk" in refused.json()["detail"]
    assert pictures_in(box) == []
    assert "error" in box.call("upload", {"image": CAT.jpeg})
    model = box.http.post("/api/v1/models", files={"file": b"a model" * 1000})
    assert (model.status_code, "remove models or pictures" in model.json()["detail"]) == (507, True)
    assert not [path for path in box.tree() if "incoming" in path or path.endswith(".zip")]
    assert box.detects(CAT.jpeg)
