"""What detectors upload is found again: with its detections, tags and annotations, once, and in the state it belongs to."""

from __future__ import annotations

import hashlib

import pytest

from tests.service.loop_server.conftest import ELSEWHERE
from tests.service.loop_server.images_project import COUNT, Shop
from tests.service.loop_server.pictures import Parts, box, jpeg, metadata, pair
from tests.service.running_loop import RunningLoop

# Every era's upload


def test_a_picture_is_found_with_everything_that_was_said_of_it(loop: RunningLoop) -> None:
    shop = Shop(loop, "bolt", "nut")
    said = metadata(
        box_detections=[box("bolt", category_id="", confidence=0.41), box("gasket")],
        point_detections=[{"category_name": "nut", "x": 3.5, "y": 4.5, "model_name": "1.0", "confidence": 0.5}],
        segmentation_detections=[{"category_name": "nut", "shape": "1,2,3,4,5,6", "model_name": "1.0"}],
        classification_detections=[{"category_name": "bolt", "model_name": "1.1", "confidence": 0.8}],
        tags=["uncertain", "picked_by_system"],
        source="camera 7",
        line="seven",
    )
    answer = shop.upload(pair("image_2024-01-01_12:34:56.123456", jpeg(7), said))
    assert answer.status_code == 200, answer.text
    [image_id] = answer.json()["image_ids"]

    found = shop.image(image_id)
    assert found["name"] == "image_2024-01-01_12:34:56.123456"
    assert (found["width"], found["height"], found["state"]) == (32, 24, "inbox")
    assert found["tags"] == ["uncertain", "picked_by_system"]
    assert (found["source"], found["created"], found["extras"]) == (
        "camera 7",
        "2024-01-01_12:34:56.123",
        {"line": "seven"},
    )
    bolt, gasket = found["box_detections"]
    assert (bolt["category_id"], bolt["confidence"], bolt["model_name"]) == (shop.categories["bolt"], 0.41, "1.0")
    assert (gasket["category_id"], gasket["category_name"]) == (None, "gasket")
    assert found["point_detections"][0]["category_id"] == shop.categories["nut"]
    assert found["segmentation_detections"][0]["shape"] == {
        "points": [{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": 4.0}, {"x": 5.0, "y": 6.0}]
    }
    assert found["classification_detections"][0]["model_name"] == "1.1"
    assert shop.image(image_id, model_version="1.1")["box_detections"] == []
    assert len(shop.image(image_id, model_version="1.1")["classification_detections"]) == 1

    picture = shop.picture(image_id)
    assert (picture.status_code, picture.content) == (200, jpeg(7))
    assert picture.headers["content-type"] == "image/jpeg"


def test_pairs_belong_together_by_name_in_whatever_order_they_come(loop: RunningLoop) -> None:
    shop = Shop(loop)
    parts = [
        part for number in range(6) for part in pair(f"image_{number}:00", jpeg(number), metadata(tags=[str(number)]))
    ]
    for shuffled in (parts, parts[::-1], parts[::2] + parts[1::2], sorted(parts, key=lambda part: part[1][0][::-1])):
        assert shop.upload(shuffled).status_code == 200
    ids = shop.ids()
    assert len(ids) == 6
    for image_id in ids:
        found = shop.image(image_id)
        assert found["name"] == f"image_{found['tags'][0]}:00"
        assert shop.picture(image_id).content == jpeg(int(found["tags"][0]))


def test_the_oldest_detectors_send_names_that_are_all_the_same_and_rely_on_the_order(loop: RunningLoop) -> None:
    shop = Shop(loop)
    parts: Parts = [("files", ("image.json", metadata(tags=[str(number)]), "application/json")) for number in range(4)]
    parts += [("files", ("image.jpg", jpeg(number), "image/jpeg")) for number in range(4)]
    answer = shop.upload(parts)
    assert answer.status_code == 200, answer.text
    ids = answer.json()["image_ids"]
    assert len(ids) == 4
    for number, image_id in enumerate(ids):
        assert shop.image(image_id)["tags"] == [str(number)]
        assert shop.picture(image_id).content == jpeg(number)


def test_an_upload_that_is_repeated_stores_nothing_twice_and_other_bytes_are_another_image(loop: RunningLoop) -> None:
    shop = Shop(loop)
    first = pair("image_1", jpeg(1), metadata()) + pair("image_2", jpeg(2), metadata())
    assert shop.upload(first).json()["known"] == 0
    again = shop.upload(first + pair("image_3", jpeg(3), metadata()))
    assert (again.status_code, again.json()["known"], len(again.json()["image_ids"])) == (200, 2, 1)
    assert len(shop.upload(pair("image_1", jpeg(99), metadata())).json()["image_ids"]) == 1
    assert len(shop.upload(pair("image_4", jpeg(1), metadata())).json()["image_ids"]) == 1
    assert len(shop.ids()) == 5
    elsewhere = Shop(loop)
    assert len(elsewhere.upload(first).json()["image_ids"]) == 2


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        (pair("image_bad", b"no picture", metadata()), "image_bad: "),
        (pair("image_cut", jpeg(5)[:-20], metadata()), "image_cut: The JPEG picture was cut off"),
        (pair("image_bad", jpeg(5), b"{"), "image_bad.json: "),
        (pair("image_bad", jpeg(5), metadata(state="archive")), "the state 'archive' is none of backlog, inbox"),
        (
            pair("image_bad", jpeg(5), metadata(box_detections=[{"x": 1}])),
            "image_bad.json: box_detections.0.category_name",
        ),
        (pair("image_bad", jpeg(5), metadata())[:1], "image_bad.json has no picture beside it"),
        (pair("image_bad", jpeg(5), metadata())[1:], "The picture 'image_bad' has no image_bad.json beside it"),
        (pair("x" * 256, jpeg(5), metadata()), "cannot be the name of a picture"),
        (pair("image_bad", jpeg(5), metadata(line=float("nan"))), "There is something in it that no database holds"),
    ],
    ids=["no-picture", "cut-off", "no-json", "state", "detection", "json-alone", "picture-alone", "long-name", "nan"],
)
def test_one_bad_picture_keeps_the_whole_batch_out(loop: RunningLoop, spoiled: Parts, words: str) -> None:
    shop = Shop(loop)
    good = pair("image_good", jpeg(4), metadata())
    answer = shop.upload(good + spoiled)
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"]
    assert shop.ids() == []
    assert shop.upload(good).json()["known"] == 0


def test_what_is_no_form_or_too_many_parts_is_refused_in_words(loop: RunningLoop) -> None:
    shop = Shop(loop)
    client = loop.client(ELSEWHERE)
    assert client.post(f"{shop.path}/images", content=b"hello").status_code == 422
    assert client.post(f"{shop.path}/images", files={"pictures": ("a.jpg", jpeg(1))}).status_code == 422
    many = [part for number in range(60) for part in pair(f"image_{number}", jpeg(number), metadata())]
    answer = shop.upload(many)
    assert answer.status_code == 422
    assert "send fewer pictures at once" in answer.json()["detail"]


def test_a_project_that_is_not_there_is_404(loop: RunningLoop) -> None:
    path = "/api/acme/projects/some_bad_project"
    for answer in (
        loop.client(ELSEWHERE).post(f"{path}/images", files=pair("image_1", jpeg(1), metadata())),
        loop.http.get(f"{path}/data"),
        loop.http.get(f"{path}/images", params={"ids": "x"}),
        loop.http.get(f"{path}/images/x/main"),
        loop.http.post(f"{path}/detections", json=[]),
        loop.http.put(f"{path}/images/state", json={"ids": [], "state": "inbox"}),
        loop.http.put(f"{path}/images/novelty_scores", json={}),
    ):
        assert answer.status_code == 404, answer.request.url
        assert answer.json() == {"detail": "There is no project acme/some_bad_project in this loop"}


def test_names_of_projects_are_lower_case_however_they_are_asked_for(loop: RunningLoop) -> None:
    shop = Shop(loop)
    shop.add()
    assert loop.http.get(shop.path.replace("shop", "SHOP") + "/data").json()["image_ids"] == shop.ids()


# States and sets


def test_images_are_filed_by_their_state_and_moved(loop: RunningLoop) -> None:
    shop = Shop(loop)
    [inbox], [complete], [trash] = shop.add(), shop.add(state="complete"), shop.add(state="trash")
    assert shop.ids(state="inbox") == [inbox]
    assert shop.ids(state="complete") == [complete]
    assert shop.ids(state="inbox,complete") == shop.ids() == [inbox, complete]
    assert shop.counts() == {"inbox": 1, "complete": 1, "trash": 1}
    answer = loop.http.put(f"{shop.path}/images/state", json={"ids": [inbox, trash, "nobody"], "state": "annotate"})
    assert (answer.status_code, answer.json()) == (200, {"unknown": ["nobody"]})
    assert shop.ids(state="annotate") == [inbox, trash]
    assert shop.image(inbox)["state"] == "annotate"
    refused = loop.http.get(f"{shop.path}/data", params={"state": "finished"})
    assert refused.status_code == 422
    assert "'finished' is no state of images" in refused.json()["detail"]
    assert loop.http.put(f"{shop.path}/images/state", json={"ids": [], "state": "finished"}).status_code == 422


def test_the_set_of_an_image_follows_from_its_id_and_a_fifth_is_for_testing(loop: RunningLoop) -> None:
    shop = Shop(loop)
    ids = [image_id for _ in range(10) for image_id in shop.add(40)]
    found = loop.http.get(f"{shop.path}/images", params={"ids": ",".join(ids)}).json()["images"]
    assert [each["id"] for each in found] == ids
    for each in found:
        share = int(hashlib.sha256(each["id"].encode()).hexdigest()[:8], 16) / 2**32
        assert each["set"] == ("test" if share < 0.2 else "train")
    assert 40 <= sum(each["set"] == "test" for each in found) <= 130  # 80 of 400, six standard deviations around


def test_pages_show_every_image_once(loop: RunningLoop) -> None:
    shop = Shop(loop)
    ids = shop.add(25)
    seen: list[str] = []
    after: int | None = 0
    while after is not None:
        answer = loop.http.get(f"{shop.path}/images", params={"state": "inbox", "limit": 10, "after": after}).json()
        seen += [each["id"] for each in answer["images"]]
        after = answer["next"]
    assert seen == ids
    exact = loop.http.get(f"{shop.path}/images", params={"limit": 25}).json()
    assert (len(exact["images"]), exact["next"]) == (25, None)


def test_ids_that_are_not_there_are_left_out_and_their_number_is_bounded(loop: RunningLoop) -> None:
    shop = Shop(loop)
    [one] = shop.add()
    answer = loop.http.get(f"{shop.path}/images", params={"ids": f"nobody, {one} ,"})
    assert [each["id"] for each in answer.json()["images"]] == [one]
    assert loop.http.get(f"{shop.path}/images", params={"ids": ""}).json()["images"] == []
    answer = loop.http.get(f"{shop.path}/images", params={"ids": ",".join("x" * 1001)})
    assert answer.status_code == 422


# What models find, and what people draw


def test_detections_of_a_model_replace_those_of_its_version_alone(loop: RunningLoop) -> None:
    shop = Shop(loop, "bolt")
    [image_id] = shop.add(box_detections=[box("bolt", model_name="1.0")])
    new = [box("bolt", model_name="1.1", x=20), box("bolt", model_name="1.1", x=30)]
    for _ in range(2):
        answer = loop.http.post(
            f"{shop.path}/detections",
            json=[
                {"image_id": image_id, "box_detections": new, "point_detections": None},
                {"image_id": "deleted meanwhile", "box_detections": new},
            ],
        )
        assert (answer.status_code, answer.json()) == (200, {"unknown": ["deleted meanwhile"]})
    assert [each["x"] for each in shop.image(image_id)["box_detections"]] == [1, 20, 30]
    assert [each["x"] for each in shop.image(image_id, model_version="1.1")["box_detections"]] == [20, 30]


def test_annotations_that_come_with_a_picture_are_given_back(loop: RunningLoop) -> None:
    shop = Shop(loop, "bolt", "nut")
    [image_id] = shop.add(
        box_annotations=[{"category_name": "bolt", "x": 1.4, "y": 2, "width": 3, "height": 4}],
        point_annotations=[{"category_name": "rust", "x": 1.5, "y": 2.5}],
        classification_annotation={"category_name": "ignored", "category_id": shop.categories["nut"]},
    )
    found = shop.image(image_id)
    [drawn] = found["box_annotations"]
    assert {key: drawn[key] for key in ("category_id", "x", "y", "width", "height")} == {
        "category_id": shop.categories["bolt"],
        "x": 1,
        "y": 2,
        "width": 3,
        "height": 4,
    }
    assert found["point_annotations"][0]["category_id"] is None
    assert found["point_annotations"][0]["category_name"] == "rust"
    assert found["classification_annotation"]["category_name"] == "nut"


def test_people_replace_annotations_and_get_them_back_as_they_put_them(loop: RunningLoop) -> None:
    shop = Shop(loop, "bolt", "nut")
    [image_id] = shop.add(box_annotations=[{"category_name": "bolt", "x": 1, "y": 2, "width": 3, "height": 4}])
    path = f"{shop.path}/images/{image_id}/annotations"
    drawn = {
        "box_annotations": [{"category_name": "nut", "x": 5, "y": 6, "width": 7, "height": 8}],
        "segmentation_annotations": [
            {"category_name": "", "category_id": shop.categories["bolt"], "shape": {"points": [{"x": 1, "y": 2.5}]}}
        ],
    }
    assert loop.http.put(path, json=drawn).status_code == 200
    found = shop.image(image_id)
    assert [(each["category_name"], each["x"]) for each in found["box_annotations"]] == [("nut", 5)]
    assert found["segmentation_annotations"][0]["shape"] == {"points": [{"x": 1.0, "y": 2.5}]}
    assert found["classification_annotation"] is None

    ids = [each["id"] for each in found["box_annotations"] + found["segmentation_annotations"]]
    assert loop.http.put(path, json=found).status_code == 200  # what was read can be written
    again = shop.image(image_id)
    assert [each["id"] for each in again["box_annotations"] + again["segmentation_annotations"]] == ids

    refused = loop.http.put(path, json={"point_annotations": [{"category_name": "rust", "x": 1, "y": 2}]})
    assert (refused.status_code, "There is no category 'rust'" in refused.json()["detail"]) == (422, True)
    assert shop.image(image_id) == again
    assert loop.http.put(f"{shop.path}/images/nobody/annotations", json={}).status_code == 404


def test_novelty_scores_are_kept(loop: RunningLoop) -> None:
    shop = Shop(loop)
    [image_id] = shop.add()
    answer = loop.http.put(f"{shop.path}/images/novelty_scores", json={image_id: 17, "nobody": 1})
    assert (answer.status_code, answer.json()) == (200, {"unknown": ["nobody"]})
    assert shop.image(image_id)["novelty_score"] == 17
    assert (
        loop.http.put(
            f"{shop.path}/images/novelty_scores",
            content='{"x": Infinity}',
            headers={"content-type": "application/json"},
        ).status_code
        == 422
    )


def test_an_image_that_is_deleted_takes_its_picture_along_unless_another_has_it(loop: RunningLoop) -> None:
    shop, other = Shop(loop), Shop(loop)
    unique = next(COUNT)
    blobs = loop.services.blobs
    name = hashlib.sha256(jpeg(unique)).hexdigest()
    for each in (shop, other):
        assert each.upload(pair("image_1", jpeg(unique), metadata())).status_code == 200
    assert loop.http.delete(f"{shop.path}/images/{shop.ids()[0]}").status_code == 200
    assert shop.ids() == []
    assert blobs.holds(name)
    assert other.picture(other.ids()[0]).content == jpeg(unique)
    assert loop.http.delete(f"{other.path}/images/{other.ids()[0]}").status_code == 200
    assert not blobs.holds(name)
    assert loop.http.delete(f"{other.path}/images/nobody").status_code == 404
