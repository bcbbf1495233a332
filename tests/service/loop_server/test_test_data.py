"""What the test-suite of learning-loop-node expects of the loop that it runs against."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from sqlalchemy import delete

from appliance.loop_server.tables import deployment_targets
from tests.service.loop_server.shop import NO_SUCH_ID, model_zip, unzipped
from tests.service.running_loop import RunningLoop

DEMO = "/api/zauberzeug/projects/demo"
FIRST_IMAGE = "10f7d7d2-4076-7006-af37-fa28a6a848ae"


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLoop]:
    with RunningLoop(tmp_path_factory.mktemp("loop"), test_data=True) as running:
        yield running


def got(loop: RunningLoop, path: str, **query: Any) -> Any:
    """The JSON at a path."""
    answer = loop.http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def generated(loop: RunningLoop, name: str, **wish: Any) -> str:
    """A generated project; its path."""
    answer = loop.http.post("/api/zauberzeug/projects/generator", json={"project_name": name, **wish})
    assert answer.status_code == 200, answer.text
    return f"/api/zauberzeug/projects/{name}"


class TestTheStandingProject:
    """`zauberzeug/demo`."""

    def test_its_models(self, loop: RunningLoop) -> None:
        models = {model["version"]: model for model in got(loop, f"{DEMO}/models")["models"]}
        assert sorted(models) == ["1.0", "1.1", "1.2"]
        assert models["1.1"]["id"] == "00000000-0000-0000-0000-000000000011"
        assert models["1.2"]["id"] == "00000000-0000-0000-0000-000000000012"
        assert all({"mocked", "mock"} <= set(model["formats"]) for model in models.values())
        assert got(loop, f"{DEMO}/deployment/target") == {"model_uuid": models["1.1"]["id"], "version": "1.1"}

        for format in ("mocked", "mock"):
            answer = loop.http.get(f"{DEMO}/models/{models['1.1']['id']}/{format}/file")
            files = unzipped(answer.content)
            assert sorted(files) == ["file_1.txt", "file_2.txt", "model.json"]
            assert files["file_1.txt"] == b"content of file one"
            assert files["file_2.txt"] == b"content of file two"
            assert f'"format": "{format}"' in files["model.json"].decode()
            document = json.loads(files["model.json"])
            assert (document["version"], document["project"]) == ("1.1", "demo")
            assert "purple point" in [category["name"] for category in document["categories"]]
        assert loop.http.get(f"{DEMO}/models/{NO_SUCH_ID}/mocked/file").status_code == 404

    def test_its_trainings(self, loop: RunningLoop) -> None:
        latest = got(loop, f"{DEMO}/trainings")["charts"][0]["data"][0]
        assert latest["model_id"] == "00000000-0000-0000-0000-000000000012"
        form = {"files": ("model.zip", model_zip(categories=[]))}
        answer = loop.http.put(f"{DEMO}/trainings/0/models/latest/mocked/file", files=form)
        assert answer.status_code == 404, "training 0 must not exist"

    def test_its_images_and_categories(self, loop: RunningLoop) -> None:
        data = got(loop, f"{DEMO}/data")
        assert data["image_ids"]
        assert {"purple box", "purple point", "purple segmentation"} <= {each["name"] for each in data["categories"]}
        assert loop.http.get("/api/zauberzeug/projects/some_bad_project/data").status_code == 404


def test_the_standing_project_stays_as_it_is_and_is_mended_where_its_making_broke_off(tmp_path: Path) -> None:
    with RunningLoop(tmp_path, test_data=True) as loop:
        before = got(loop, f"{DEMO}/data")
        loop.http.delete(f"{DEMO}/models/00000000-0000-0000-0000-000000000012")
    with RunningLoop(tmp_path, test_data=True) as loop:
        assert got(loop, f"{DEMO}/data") == before, "nothing is made anew"
        assert len(got(loop, f"{DEMO}/models")["models"]) == 2, "what somebody changed stays changed"

        async def undeploy() -> None:
            await loop.services.database.write(lambda connection: connection.execute(delete(deployment_targets)))

        loop.run(undeploy())  # which is said last: as if its making had broken off before
    with RunningLoop(tmp_path, test_data=True) as loop:
        assert len(got(loop, f"{DEMO}/models")["models"]) == 3
        assert got(loop, f"{DEMO}/deployment/target")["version"] == "1.1"


def test_other_loops_are_born_empty_and_have_no_generator(tmp_path: Path) -> None:
    with RunningLoop(tmp_path) as loop:
        assert got(loop, "/api/projects") == {"projects": []}
        answer = loop.http.post("/api/zauberzeug/projects/generator", json={"project_name": "x"})
        assert answer.status_code in {404, 405}


class TestTheGenerator:
    """Projects to a measure."""

    def test_images_in_every_state_with_boxes_and_tags(self, loop: RunningLoop) -> None:
        wish = {"inbox": 1, "annotate": 2, "review": 3, "complete": 4, "tags": 2}
        path = generated(
            loop,
            "states",
            **wish,
            box_categories=2,
            point_categories=1,
            box_detections=3,
            box_annotations=2,
            thumbs=True,
        )
        for state in ("inbox", "annotate", "review", "complete"):
            assert len(got(loop, f"{path}/data", state=state)["image_ids"]) == wish[state]
        names = [category["name"] for category in got(loop, f"{path}/data")["categories"]]
        assert names == ["purple box", "green box", "purple point"]
        ids = got(loop, f"{path}/data", state="complete")["image_ids"]
        for image in got(loop, f"{path}/images", ids=",".join(ids))["images"]:
            assert (len(image["box_annotations"]), len(image["box_detections"]), len(image["tags"])) == (2, 3, 2)
            assert {box["category_name"] for box in image["box_annotations"]} == {"purple box", "green box"}
            assert image["set"] in {"train", "test"}
            picture = PIL.Image.open(io.BytesIO(loop.http.get(f"{path}/images/{image['id']}/main").content))
            assert (picture.format, *picture.size) == ("JPEG", image["width"], image["height"])

    def test_what_is_annotated_is_what_is_drawn(self, loop: RunningLoop) -> None:
        path = generated(loop, "colours", complete=3, box_categories=1, box_annotations=1, image_style="plain")
        ids = got(loop, f"{path}/data")["image_ids"]
        for image in got(loop, f"{path}/images", ids=",".join(ids))["images"]:
            [box] = image["box_annotations"]
            picture = PIL.Image.open(io.BytesIO(loop.http.get(f"{path}/images/{image['id']}/main").content))
            inside = picture.getpixel((box["x"] + box["width"] // 2, box["y"] + box["height"] // 2))
            outside = picture.getpixel(((box["x"] + box["width"] + 60) % picture.width, box["y"]))
            assert isinstance(inside, tuple)
            assert isinstance(outside, tuple)
            assert all(abs(part - due) < 12 for part, due in zip(inside, (0x9B, 0x27, 0xB0), strict=True))
            assert all(part > 120 for part in outside)

    def test_it_comes_out_the_same_every_time(self, loop: RunningLoop) -> None:
        seen = []
        for _ in range(2):
            path = generated(loop, "again", inbox=3, image_style="beautiful")
            ids = got(loop, f"{path}/data")["image_ids"]
            seen.append((ids, [loop.http.get(f"{path}/images/{each}/main").content for each in ids]))
            assert loop.http.delete(path, params={"keep_images": "true"}).status_code == 200
        assert seen[0] == seen[1]
        assert len(set(seen[0][0])) == 3

    def test_the_image_that_the_annotators_tests_ask_for(self, loop: RunningLoop) -> None:
        path = generated(loop, "pytest_nodelib_annotator", inbox=1, segmentation_categories=1, image_style="beautiful")
        assert loop.http.get(f"{path}/images/{FIRST_IMAGE}/main").status_code == 200

    def test_trainings_that_have_a_model_each(self, loop: RunningLoop) -> None:
        path = generated(loop, "trained", complete=1, box_categories=1, trainings=2)
        models = got(loop, f"{path}/models")["models"]
        assert [model["version"] for model in models] == ["1.0", "1.1"]
        latest = got(loop, f"{path}/trainings")["charts"][0]["data"][0]["model_id"]
        assert latest == models[1]["id"]
        files = unzipped(loop.http.get(f"{path}/models/{latest}/mocked/file").content)
        assert files["file_1.txt"] == b"content of file one"
        assert '"format": "mocked"' in files["model.json"].decode()
        again = loop.http.put(
            f"{path}/trainings/1/models/latest/mocked/file", files={"files": ("model.zip", model_zip())}
        )
        assert (again.status_code, again.json()["detail"]["id"]) == (409, models[0]["id"])

    @pytest.mark.parametrize(
        ("wish", "status"),
        [
            ({}, 422),
            ({"project_name": "../evil"}, 422),
            ({"project_name": "generator"}, 422),
            ({"project_name": "many", "inbox": 10**9}, 422),
            ({"project_name": "many", "inbox": -1}, 422),
            ({"project_name": "demo"}, 409),
        ],
    )
    def test_what_cannot_be_made(self, loop: RunningLoop, wish: dict[str, Any], status: int) -> None:
        answer = loop.http.post("/api/zauberzeug/projects/generator", json=wish)
        assert (answer.status_code, bool(answer.json()["detail"])) == (status, True)
