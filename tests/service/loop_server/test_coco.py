"""Data sets in and out of the loop as COCO, as people have them."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import httpx
import pytest

from tests.service.loop_server.conftest import ELSEWHERE
from tests.service.loop_server.images_project import Shop
from tests.service.loop_server.pictures import box, jpeg
from tests.service.running_loop import RunningLoop


def zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def document(number: int, **given: Any) -> dict[str, Any]:
    """So many 32 x 24 images, each with one annotation."""
    return {
        "images": [{"id": each, "file_name": f"{each}.jpg", "width": 32, "height": 24} for each in range(number)],
        "categories": [{"id": 7, "name": "bottle"}],
        "annotations": [
            {"id": each, "image_id": each, "category_id": 7, "bbox": [1, 2, 10 + each % 10, 12]}
            for each in range(number)
        ],
        **given,
    }


def data_set(number: int, **given: Any) -> dict[str, bytes]:
    pictures = {f"set/images/{each}.jpg": jpeg(each) for each in range(number)}
    return {"set/annotations/instances.json": json.dumps(document(number, **given)).encode(), **pictures}


def bring(shop: Shop, data: bytes, **query: str) -> httpx.Response:
    path = f"{shop.path}/import/coco"
    return shop.loop.http.post(path, files={"files": ("set.zip", data)}, params=query)


def take(shop: Shop, **query: str) -> zipfile.ZipFile:
    answer = shop.loop.http.get(f"{shop.path}/export/coco", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == f'attachment; filename="{shop.name}-coco.zip"'
    return zipfile.ZipFile(io.BytesIO(answer.content))


def test_a_data_set_of_others_comes_in_and_is_not_stored_twice(loop: RunningLoop) -> None:
    shop = Shop(loop, "cork")
    data = zip_of(data_set(120))
    answer = bring(shop, data)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "images": 120,
        "known": 0,
        "annotations": 120,
        "categories": ["bottle"],
        "left_out": {},
    }
    assert len(shop.ids(state="complete")) == 120
    first = shop.image(shop.ids()[0])
    assert (first["name"], first["box_annotations"][0]["width"]) == ("0", 10)
    assert shop.picture(first["id"]).content == jpeg(0)
    again = bring(shop, data).json()
    assert (again["images"], again["known"], again["categories"]) == (0, 120, [])
    assert len(shop.ids()) == 120


def test_what_goes_out_comes_in_again_as_it_was(loop: RunningLoop) -> None:
    shop, other = Shop(loop, "bolt"), Shop(loop)
    for name, kind in [("tip", "point"), ("area", "segmentation"), ("good", "classification")]:
        loop.http.post(f"{shop.path}/categories", json={"name": name, "type": kind}).raise_for_status()
    ids = (
        shop.add(tags=["uncertain"], source="camera", state="review")
        + shop.add(state="inbox")
        + shop.add(state="trash")
    )
    drawn = {
        "box_annotations": [box("bolt"), box("bolt", x=3)],
        "point_annotations": [{"category_name": "tip", "x": 1.5, "y": 2.5}],
        "segmentation_annotations": [
            {"category_name": "area", "shape": {"points": [{"x": x, "y": y} for x, y in [(1, 1), (9, 1), (9, 9.5)]]}}
        ],
        "classification_annotation": {"category_name": "good"},
    }
    loop.http.put(f"{shop.path}/images/{ids[0]}/annotations", json=drawn).raise_for_status()

    answer = loop.http.get(f"{shop.path}/export/coco")
    moved = bring(other, answer.content)
    assert moved.status_code == 200, moved.text
    assert (moved.json()["images"], moved.json()["annotations"]) == (2, 5)
    assert other.ids() == ids[:2]  # ids are kept, and with them what is trained with and what is tested on
    names = {each["name"]: each["type"] for each in loop.http.get(other.path).json()["categories"]}
    assert names == {"bolt": "box", "tip": "point", "area": "segmentation", "good": "classification"}
    for image_id in ids[:2]:
        before, after = shop.image(image_id), other.image(image_id)
        for key in ("name", "state", "set", "tags", "source", "created", "sha256"):
            assert after[key] == before[key], key
        for key in ("box_annotations", "point_annotations", "segmentation_annotations"):
            assert [without_ids(each) for each in after[key]] == [without_ids(each) for each in before[key]]
    assert other.image(ids[0])["classification_annotation"]["category_name"] == "good"


def without_ids(annotation: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in annotation.items() if key not in {"id", "category_id"}}


def test_only_the_states_that_are_asked_for_go_out(loop: RunningLoop) -> None:
    shop = Shop(loop)
    shop.add(3, state="complete")
    shop.add(state="inbox")
    with take(shop, state="complete") as archive:
        assert len(archive.namelist()) == 4
        written = json.loads(archive.read("annotations.json"))
        assert [archive.read(f"images/{each['file_name']}") for each in written["images"]]
        assert {each["state"] for each in written["images"]} == {"complete"}
    with take(shop) as archive:
        assert len(archive.namelist()) == 5
    assert loop.http.get(f"{shop.path}/export/coco", params={"state": "x"}).status_code == 422
    assert loop.http.get("/api/acme/projects/nobody/export/coco").status_code == 404


def test_train_and_val_of_one_set_come_in_together(loop: RunningLoop) -> None:
    shop = Shop(loop)
    val = document(1, images=[{"id": 0, "file_name": "val/0.jpg"}], categories=[{"id": 3, "name": "bottle"}])
    val["annotations"] = [{"image_id": 0, "category_id": 3, "bbox": [0, 0, 5, 5]}]
    members = {**data_set(2), "set/val/0.jpg": jpeg(1000), "set/annotations/val.json": json.dumps(val).encode()}
    members["set/annotations/instances.json"] = json.dumps(
        document(2, images=[{"id": each, "file_name": f"images/{each}.jpg"} for each in range(2)])
    ).encode()
    answer = bring(shop, zip_of(members))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["images"], answer.json()["categories"]) == (3, ["bottle"])


def test_polygons_are_taken_where_they_are_asked_for(loop: RunningLoop) -> None:
    shop = Shop(loop)
    polygon = [[1, 1, 9, 1, 9, 9]]
    annotations = [{"image_id": 0, "category_id": 7, "segmentation": polygon, "bbox": [1, 1, 8, 8]}]
    crowd = {"image_id": 0, "category_id": 7, "segmentation": {"counts": [1], "size": [2, 2]}, "iscrowd": 1}
    data = zip_of(data_set(1, annotations=[*annotations, crowd]))
    answer = bring(shop, data, type="segmentation")
    assert (answer.json()["annotations"], answer.json()["left_out"]) == (1, {"no polygon": 1})
    assert len(shop.image(shop.ids()[0])["segmentation_annotations"][0]["shape"]["points"]) == 3
    assert loop.http.get(shop.path).json()["categories"][0]["type"] == "segmentation"
    assert bring(shop, data, type="mask").status_code == 422


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"readme.txt": b"hello"}, "The zip has no COCO document"),
        ({"a.json": b"[]"}, "The zip has no COCO document"),
        ({"a.json": b"{"}, "a.json is no COCO document"),
        (
            {name: data for name, data in data_set(3).items() if "1.jpg" not in name},
            "names 1 pictures that are not in the zip, or not under one name alone: 1.jpg is the first",
        ),
        ({**data_set(3), "set/images/1.jpg": b"no picture"}, "1.jpg: "),
        ({**data_set(3), "set/images/1.jpg": jpeg(1, 24, 32)}, "1.jpg has 24 x 32 pixels as displayed"),
        (data_set(1, categories=[{"id": 7, "name": "x" * 300}]), "cannot be made"),
    ],
    ids=["no-json", "other-json", "broken-json", "missing-picture", "no-picture", "other-size", "category"],
)
def test_what_is_wrong_with_a_set_is_told_before_anything_of_it_is_kept(
    loop: RunningLoop, members: dict[str, bytes], words: str
) -> None:
    shop = Shop(loop)
    answer = bring(shop, zip_of(members))
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"]
    assert shop.ids() == []
    assert loop.http.get(shop.path).json()["categories"] == []


def test_what_is_no_zip_is_refused(loop: RunningLoop) -> None:
    shop = Shop(loop)
    assert bring(shop, b"hello").status_code == 422
    two = [("files", ("a.zip", b"1")), ("files", ("b.zip", b"2"))]
    assert loop.http.post(f"{shop.path}/import/coco", files=two).status_code == 422
    assert bring(Shop(loop), zip_of(data_set(1))).status_code == 200
    assert loop.http.post("/api/acme/projects/nobody/import/coco", files={"files": b""}).status_code == 404


def test_data_sets_are_for_those_who_are_known(loop: RunningLoop) -> None:
    shop = Shop(loop)
    assert loop.client(ELSEWHERE).get(f"{shop.path}/export/coco").status_code == 401
    assert loop.client(ELSEWHERE).post(f"{shop.path}/import/coco").status_code == 401
