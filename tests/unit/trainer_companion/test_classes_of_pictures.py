"""Folders in which people said what pictures show as a whole: what is learnt of them, what is left out, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import InvalidInput
from models.wire.model_information import Category
from models.wire.project_data import ImageData
from tests.service.loop_server.pictures import jpeg
from tests.support.coco_folders import (
    annotation,
    image,
    write_annotations,
    write_blank,
    write_classified,
    write_squares,
)
from trainer_companion import dataset
from trainer_companion.augmentation import Augmentation, augment
from trainer_companion.batches import padded
from trainer_companion.classifier_recipe import ClassifierRecipe
from trainer_companion.edge_recipe import EdgeRecipe
from trainer_companion.hyperparameters import Hyperparameters
from trainer_companion.loop_dataset import Stored, describe
from trainer_companion.recipes import dataset_for, learns, recipe_of, recipes

RUSTY = {"id": 1, "name": "rusty", "type": "classification"}
CLEAN = {"id": 2, "name": "clean", "type": "classification"}
BOLT = {"id": 3, "name": "bolt", "type": "box"}


def said(image_id: int, category_id: int, **more: Any) -> dict[str, Any]:
    return {"id": 100 * image_id + category_id, "image_id": image_id, "category_id": category_id, **more}


def folder_with(
    folder: Path, annotations: list[dict[str, Any]], *categories: dict[str, Any], pictures: int = 5
) -> Path:
    """Pictures 1, 2, … for training, the last one for testing."""
    images = []
    for number in range(1, pictures + 1):
        write_blank(folder, f"{number}.png")
        images.append(image(number, f"{number}.png", split="test" if number == pictures else "train"))
    return write_annotations(folder, images, categories or (RUSTY, CLEAN), annotations)


def classes_of(read: dataset.Dataset) -> dict[str, list[str]]:
    return {picture.name: [read.categories[int(kind)].name for kind in picture.classes] for picture in read.pictures}


def test_each_picture_has_the_class_that_people_gave_it(tmp_path: Path) -> None:
    whole = [0.0, 0.0, 64.0, 64.0]
    annotations = [said(1, 1), said(2, 2, bbox=[]), said(3, 1, bbox=whole), said(4, 2, bbox=[1, 1, 0, 0]), said(5, 1)]
    read = dataset.read(folder_with(tmp_path, annotations), learns="pictures")
    assert classes_of(read) == {
        "1.png": ["rusty"],
        "2.png": ["clean"],
        "3.png": ["rusty"],
        "4.png": ["clean"],
        "5.png": ["rusty"],
    }
    assert {picture.boxes.shape for picture in read.pictures} == {(0, 4)}
    assert [category.type for category in read.categories] == ["classification"] * 2
    assert read.remarks == ()


def test_pictures_without_a_class_or_with_two_are_left_out_and_counted(tmp_path: Path) -> None:
    annotations = [said(1, 1), said(2, 2), said(2, 1), said(4, 2), said(4, 2), said(5, 1)]
    read = dataset.read(folder_with(tmp_path, annotations), learns="pictures")
    assert sorted(classes_of(read)) == ["1.png", "4.png", "5.png"], "who says the same twice says one thing"
    assert read.remarks == (
        "Left out, because nobody said which class they are: 1 picture.",
        "Left out, because they are said to be of several classes: 1 picture.",
    )


def test_boxes_are_left_out_with_a_sentence_where_pictures_are_learnt(tmp_path: Path) -> None:
    annotations = [said(1, 1), said(2, 2), said(5, 1), annotation(9, 1, 3, [5, 5, 9, 9])]
    folder = folder_with(tmp_path, annotations, RUSTY, CLEAN, BOLT)
    read = dataset.read(folder, learns="pictures")
    assert [category.name for category in read.categories] == ["rusty", "clean"]
    assert "Classes of whole pictures are trained; categories of other types are left out: bolt." in read.remarks
    things = dataset.read(folder)
    assert [category.name for category in things.categories] == ["bolt"]
    assert things.of("train")[0].boxes.tolist() == [[5, 5, 14, 14]]


def test_what_the_loop_says_of_whole_pictures_is_learnt(tmp_path: Path) -> None:
    categories = [
        Category(id="c-1", name="rusty", type="classification"),
        Category(id="c-2", name="bolt", type="box"),
        Category(id="c-3", name="clean", type="classification"),
    ]
    box = {"category_id": "c-2", "category_name": "bolt", "x": 1, "y": 2, "width": 3, "height": 4}
    drawn: list[dict[str, Any]] = [
        {"classification_annotation": {"category_id": "c-1", "category_name": "rusty"}, "box_annotations": [box]},
        {"classification_annotation": {"category_id": "c-3", "category_name": "clean"}},
        {"classification_annotation": {"category_id": None, "category_name": "clean"}},
    ]
    images = [
        ImageData.model_validate({"id": f"image-{n}", "set": "test" if n == 2 else "train", **each})
        for n, each in enumerate(drawn)
    ]
    stored = {each.id: Stored(f"{each.id}.jpg", 32, 24) for each in images}
    (tmp_path / "images").mkdir()
    for number, each in enumerate(stored.values()):
        (tmp_path / "images" / each.file_name).write_bytes(jpeg(number))
    document = describe(images, stored, categories, {}).document
    (tmp_path / dataset.ANNOTATIONS).write_text(json.dumps(document))
    read = dataset.read(tmp_path, learns="pictures")
    assert read.keys == ("c-1", "c-3")
    assert [(p.loop_id, p.classes.tolist()) for p in read.pictures] == [
        ("image-0", [0]),
        ("image-1", [1]),
        ("image-2", [1]),
    ]


# ── what people have who know nothing of types ──────────────────────────────────────────────────────────────────────


def without_types(*categories: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in category.items() if key != "type"} for category in categories]


def test_without_types_the_only_annotation_of_a_picture_is_its_class(tmp_path: Path) -> None:
    annotations = [said(1, 1, bbox=[3, 3, 20, 20]), said(2, 2), said(3, 1), said(5, 2)]
    read = dataset.read(folder_with(tmp_path, annotations, *without_types(RUSTY, CLEAN)), learns="pictures")
    assert classes_of(read) == {"1.png": ["rusty"], "2.png": ["clean"], "3.png": ["rusty"], "5.png": ["clean"]}
    assert {category.type for category in read.categories} == {"classification"}
    assert read.remarks == ("Left out, because nobody said which class they are: 1 picture.",)


def test_without_types_several_annotations_are_no_class_and_it_says_what_learns_them(tmp_path: Path) -> None:
    annotations = [said(1, 1, bbox=[3, 3, 9, 9]), said(1, 1, bbox=[30, 3, 9, 9]), said(2, 2, bbox=[3, 3, 9, 9])]
    folder = folder_with(tmp_path, annotations, *without_types(RUSTY, CLEAN))
    with pytest.raises(InvalidInput, match=r"1 picture of it has several annotations.*edge-residual-128"):
        dataset_for(ClassifierRecipe(), folder, Hyperparameters())
    assert len(dataset.read(folder).categories) == 2


@pytest.mark.parametrize("split", [False, True])
def test_a_folder_for_each_class_is_enough(tmp_path: Path, split: bool) -> None:
    for number in range(20):
        part = ("val" if number % 5 == 4 else "train") + "/" if split else ""
        write_blank(tmp_path / "source", "a.png")
        target = tmp_path / "set" / f"{part}{('rusty', 'clean')[number % 2]}" / f"{number}.PNG"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "source" / "images" / "a.png", target)
    (tmp_path / "set" / "notes.txt").write_text("what I did")
    (tmp_path / "set" / ".thumbnails").mkdir()
    shutil.copy(tmp_path / "source" / "images" / "a.png", tmp_path / "set" / ".thumbnails" / "a.png")
    read = dataset.read(tmp_path / "set", learns="pictures")
    assert len(read.pictures) == 20
    assert {name for names in classes_of(read).values() for name in names} == {"rusty", "clean"}
    assert all(classes_of(read)[picture.name] == [picture.path.parent.name] for picture in read.pictures)
    assert all(picture.path.is_file() and (picture.width, picture.height) == (64, 64) for picture in read.pictures)
    assert len(read.held_out) == 4 if split else 0 < len(read.held_out) < 10
    assert all(
        picture.split == ("val" if int(picture.path.stem) % 5 == 4 else "train") for picture in read.pictures if split
    )


# ── what cannot be learnt ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("annotations", "categories", "sentence"),
    [
        pytest.param([], (RUSTY, CLEAN), "None of the 5 pictures has a class", id="nobody said a class"),
        pytest.param([said(1, 1), said(5, 2)], (RUSTY, CLEAN), "are of 'rusty'.*another one", id="one class to learn"),
        pytest.param([said(1, 1), said(2, 1)], (RUSTY,), "are of 'rusty'.*another one", id="one category"),
        pytest.param([], ({**BOLT, "type": "segmentation"},), "no category of type classification", id="masks only"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_in_words(
    tmp_path: Path, annotations: list[dict[str, Any]], categories: tuple[dict[str, Any], ...], sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        dataset.read(folder_with(tmp_path, annotations, *categories), learns="pictures")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train", "car"):
        for number in range(4):
            write_blank(tmp_path, "a.png")
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(tmp_path / "images" / "a.png", tmp_path / "set" / name / f"{name}{number}.png")
    read = dataset.read(tmp_path / "set", learns="pictures")
    assert {category.name for category in read.categories} == {"train", "car"}
    assert len(read.pictures) == 8


def test_folders_of_pictures_are_no_boxes_and_it_says_what_learns_them(tmp_path: Path) -> None:
    for name in ("rusty", "clean"):
        write_blank(tmp_path, "a.png")
        (tmp_path / "set" / name).mkdir(parents=True)
        shutil.copy(tmp_path / "images" / "a.png", tmp_path / "set" / name / "a.png")
    with pytest.raises(InvalidInput, match=r"no annotations\.json with boxes.*: edge-classify-128"):
        dataset_for(EdgeRecipe(), tmp_path / "set", Hyperparameters())


def test_a_folder_with_neither_says_what_is_expected(tmp_path: Path) -> None:
    write_blank(tmp_path, "a.png")
    with pytest.raises(InvalidInput, match=r"neither annotations\.json .* nor a folder of pictures for each class"):
        dataset.read(tmp_path, learns="pictures")


def test_the_wrong_variant_is_told_with_those_that_fit(tmp_path: Path) -> None:
    classified, squares = write_classified(tmp_path / "classified"), write_squares(tmp_path / "squares")
    with pytest.raises(InvalidInput, match=r"no category of type box or point.*: edge-classify-128, edge-classify-224"):
        dataset_for(EdgeRecipe(), classified, Hyperparameters())
    document = json.loads((squares / "annotations.json").read_text())
    document["categories"] = [{**each, "type": "box"} for each in document["categories"]]
    (squares / "annotations.json").write_text(json.dumps(document))
    with pytest.raises(
        InvalidInput, match=r"no category of type classification.*: edge-residual-128, .*edge-mobilenet"
    ):
        dataset_for(ClassifierRecipe(), squares, Hyperparameters())


def test_every_recipe_says_what_it_learns_and_one_that_does_not_learns_things() -> None:
    assert {each.name: learns(each) for each in recipes()}["edge_classifier"] == "pictures"
    assert learns(EdgeRecipe()) == "things"

    class Silent:
        """As they were written before there was a choice."""

    assert learns(Silent()) == "things"  # type: ignore[arg-type]


def test_the_variants_of_a_classifier_lead_to_it() -> None:
    from trainer_companion.job import Job

    for variant in ClassifierRecipe().variants:
        assert recipe_of(Job(dataset=Path(), variant=variant.name)).name == "edge_classifier"


# ── on the way to the network ───────────────────────────────────────────────────────────────────────────────────────


def test_a_picture_keeps_its_class_however_it_is_changed() -> None:
    rng = np.random.default_rng(0)
    none = np.empty((0, 4), np.float32)
    out = np.empty((64, 64, 3), np.uint8)
    for _ in range(20):
        boxes, classes = augment(
            np.full((64, 64, 3), 200, np.uint8), none, np.array([2]), Augmentation(zoom=0.9), rng, out
        )
        assert (boxes.shape, classes.tolist()) == ((0, 4), [2])
    boxes_of_batch, classes_of_batch = padded([none, none], [np.array([2]), np.array([0])])
    assert boxes_of_batch.shape == (2, 1, 4)
    assert classes_of_batch[:, 0].tolist() == [2, 0]
