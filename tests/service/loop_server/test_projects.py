"""Projects and categories: made, listed, changed, deleted with all that belongs to them."""

from __future__ import annotations

from uuid import UUID

import pytest

from appliance.loop_server.references import sweep
from tests.service.loop_server.conftest import ELSEWHERE
from tests.service.loop_server.images_project import COUNT, Shop
from tests.service.loop_server.pictures import box, jpeg, metadata, pair
from tests.service.running_loop import RunningLoop


def test_a_project_is_made_listed_and_shown(loop: RunningLoop) -> None:
    made = loop.http.post(
        "/api/acme/projects",
        json={
            "project_name": "Kitchens",
            "categories": [{"name": "tap", "type": "point", "point_size": 20}, {"name": "sink", "color": "#ff0000"}],
        },
    )
    assert made.status_code == 200, made.text
    assert made.json()["project_id"] == "kitchens"
    item = {"organization_id": "acme", "project_id": "kitchens", "resource": "/acme/projects/kitchens"}
    assert item in loop.http.get("/api/projects").json()["projects"]
    shown = loop.http.get("/api" + item["resource"]).json()
    assert shown == made.json()
    assert [(each["name"], each["type"], each["point_size"]) for each in shown["categories"]] == [
        ("tap", "point", 20),
        ("sink", "box", None),
    ]
    assert all(UUID(each["id"]).version == 4 for each in shown["categories"])
    again = loop.http.post("/api/acme/projects", json={"project_name": "kitchens"})
    assert (again.status_code, again.json()["detail"]) == (409, "There is a project acme/kitchens already")


@pytest.mark.parametrize(
    ("organization", "project"),
    [
        ("acme", ""),
        ("acme", "a b"),
        ("acme", "x" * 65),
        ("acme", ".."),
        ("acme", "generator"),
        ("users", "x"),
        ("-", "x"),
    ],
)
def test_names_that_could_not_be_asked_for_are_refused(loop: RunningLoop, organization: str, project: str) -> None:
    answer = loop.http.post(f"/api/{organization}/projects", json={"project_name": project})
    assert answer.status_code == 422
    assert "cannot be the name of a" in answer.json()["detail"]


def test_a_project_with_two_categories_of_one_name_is_not_made_at_all(loop: RunningLoop) -> None:
    body = {"project_name": "twice", "categories": [{"name": "tap"}, {"name": " tap "}]}
    assert loop.http.post("/api/acme/projects", json=body).status_code == 409
    assert loop.http.get("/api/acme/projects/twice").status_code == 404


def test_categories_come_change_and_go(loop: RunningLoop) -> None:
    shop = Shop(loop, "bolt")
    path = f"{shop.path}/categories"
    nut = loop.http.post(path, json={"name": "nut", "type": "segmentation"}).json()
    assert loop.http.post(path, json={"name": "nut"}).status_code == 409
    assert [each["name"] for each in loop.http.get(path).json()["categories"]] == ["bolt", "nut"]
    [image_id] = shop.add(box_detections=[box("nut")], box_annotations=[dict(box("nut"), confidence=None)])

    changed = loop.http.put(f"{path}/{nut['id']}", json={"name": "hex nut", "color": "red"})
    assert (changed.status_code, changed.json()) == (200, {**nut, "name": "hex nut", "color": "red"})
    assert loop.http.put(f"{path}/{nut['id']}", json={"name": "bolt"}).status_code == 409
    assert loop.http.put(f"{path}/{nut['id']}", json={"color": None}).json()["color"] is None
    found = shop.image(image_id)
    for each in (found["box_detections"][0], found["box_annotations"][0]):
        assert (each["category_id"], each["category_name"]) == (nut["id"], "hex nut")

    refused = loop.http.delete(f"{path}/{nut['id']}")
    assert refused.status_code == 409
    assert "1 annotations are of category 'hex nut'" in refused.json()["detail"]
    assert loop.http.put(f"{shop.path}/images/{image_id}/annotations", json={}).status_code == 200
    assert loop.http.delete(f"{path}/{nut['id']}").status_code == 200
    assert loop.http.delete(f"{path}/{nut['id']}").status_code == 404
    assert loop.http.put(f"{path}/{nut['id']}", json={}).status_code == 404
    assert shop.image(image_id)["box_detections"][0]["category_id"] is None


def test_the_same_name_is_free_in_another_project(loop: RunningLoop) -> None:
    one, other = Shop(loop, "bolt"), Shop(loop, "bolt")
    assert one.categories["bolt"] != other.categories["bolt"]
    answer = loop.http.put(f"{other.path}/categories/{one.categories['bolt']}", json={"name": "mine"})
    assert answer.status_code == 404


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 256])
def test_categories_without_a_name_are_refused(loop: RunningLoop, name: str) -> None:
    assert loop.http.post(f"{Shop(loop).path}/categories", json={"name": name}).status_code == 422


def test_deleting_a_project_deletes_its_pictures(loop: RunningLoop) -> None:
    shop = Shop(loop, "bolt")
    unique = next(COUNT)
    [image_id] = shop.upload(pair("image_1", jpeg(unique), metadata())).json()["image_ids"]
    name = shop.image(image_id)["sha256"]
    assert loop.services.blobs.holds(name)
    assert loop.http.delete(shop.path).status_code == 200
    assert not loop.services.blobs.holds(name)
    assert loop.http.delete(shop.path).status_code == 404
    assert loop.http.get(shop.path).status_code == 404


def test_deleting_a_project_with_keep_images_leaves_the_files(loop: RunningLoop) -> None:
    shop = Shop(loop)
    unique = next(COUNT)
    [image_id] = shop.upload(pair("image_1", jpeg(unique), metadata())).json()["image_ids"]
    name = shop.image(image_id)["sha256"]
    assert loop.http.delete(shop.path, params={"keep_images": "true"}).status_code == 200
    assert loop.services.blobs.read(name) == jpeg(unique)
    assert loop.run(sweep(loop.services.database, loop.services.blobs)) == 0
    assert loop.services.blobs.holds(name)


def test_only_those_who_are_known_see_projects(loop: RunningLoop) -> None:
    shop = Shop(loop)
    for path in ("/api/projects", shop.path, f"{shop.path}/data", f"{shop.path}/categories"):
        assert loop.client(ELSEWHERE).get(path).status_code == 401
        detector = loop.client(ELSEWHERE)
        detector.post("/api/login", data={"username": "", "password": ""})
        assert detector.get(path).status_code == 403
