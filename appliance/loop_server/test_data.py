"""Projects that a test-suite can rely on: `--test-data` alone has them, all other loops are born empty.

What they hold is what the tests of learning-loop-node expect of a Learning Loop: a standing project, and a generator of
projects to a measure. Everything is drawn and made up, and comes out the same every time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import NAMESPACE_URL, uuid5

from pydantic import BaseModel, Field
from sqlalchemy import Connection

from appliance.loop_server import image_records, model_records, projects, training_records
from appliance.loop_server.categories import NewCategory, all_categories
from appliance.loop_server.categories import add as add_categories
from appliance.loop_server.drawn_pictures import COLORS, POINT_RADIUS, Kind, Style, Thing, drawn, things_in
from appliance.loop_server.image_forms import FormFile, read_form
from appliance.loop_server.library import ModelLibrary
from appliance.loop_server.model_zips import ReceivedFile
from appliance.loop_server.receiving import incoming_folder
from appliance.loop_server.references import forget
from appliance.loop_server.services import LoopServices
from appliance.loop_server.tables import written
from models.errors import NotInLoop
from models.uninterrupted import in_thread, to_its_end
from models.wire.model_information import Category

ORGANIZATION, PROJECT = "zauberzeug", "demo"
"""The standing project."""

FORMATS = ("mocked", "mock")

FIRST_IMAGE = "10f7d7d2-4076-7006-af37-fa28a6a848ae"
"""Id of the first image of every generated project: the tests of learning-loop-node ask for it by name."""

MOST = 1000
"""Images in a state, and what else a wish can have many of."""

AT_ONCE = 50
"""Images in one transaction."""

Number = Field(default=0, ge=0, le=MOST)


class Wish(BaseModel):
    """A project to be generated. What is not named is not in it.

    `inbox` … `complete`: images in that state; `…_categories`: how many; `tags`, `box_detections`, `box_annotations`: how
    many an image has; `trainings`: that have ended, each with a model. `thumbs` is taken and means nothing here.
    """

    project_name: str
    inbox: int = Number
    annotate: int = Number
    review: int = Number
    complete: int = Number
    image_style: Style = "beautiful"
    box_categories: int = Field(default=0, ge=0, le=len(COLORS))
    point_categories: int = Field(default=0, ge=0, le=len(COLORS))
    segmentation_categories: int = Field(default=0, ge=0, le=len(COLORS))
    thumbs: bool = False
    tags: int = Field(default=0, ge=0, le=100)
    trainings: int = Field(default=0, ge=0, le=100)
    box_detections: int = Field(default=0, ge=0, le=100)
    box_annotations: int = Field(default=0, ge=0, le=100)

    @property
    def states(self) -> list[str]:
        """The state of each image."""
        return [state for state in ("inbox", "annotate", "review", "complete") for _ in range(getattr(self, state))]

    @property
    def categories(self) -> list[NewCategory]:
        """`purple box`, `green box`, …, `purple point`, …"""
        kinds: dict[Kind, int] = {
            "box": self.box_categories,
            "point": self.point_categories,
            "segmentation": self.segmentation_categories,
        }
        return [
            NewCategory(name=f"{name} {kind}", type=kind, color=color, point_size=20 if kind == "point" else None)
            for kind, count in kinds.items()
            for name, color in list(COLORS.items())[:count]
        ]


@dataclass(frozen=True)
class DrawnImage:
    """One image of a generated project: its id, and the two files of an upload."""

    id: str
    files: tuple[FormFile, FormFile]


def image_id(number: int) -> str:
    """The id of an image, the same in every project and every time."""
    return str(uuid5(NAMESPACE_URL, f"generated image {number}")) if number else FIRST_IMAGE


def draw(number: int, state: str, wish: Wish, categories: Sequence[Category]) -> DrawnImage:
    """An image with all that is said of it. Pure."""
    boxes = [category for category in categories if category.type == "box"]
    others = [category for category in categories if category.type != "box"]
    count = max(wish.box_annotations, wish.box_detections) if boxes else 0
    shown = [boxes[index % len(boxes)] for index in range(count)] + others
    wanted: list[tuple[Kind, str]] = [(_kind(each), each.color or "") for each in shown]
    things = things_in(number, wanted)
    placed = list(zip(shown, things, strict=True))
    said = {
        "box_annotations": [_box(category, thing) for category, thing in placed[:count][: wish.box_annotations]],
        "box_detections": [
            {**_box(category, thing), "model_name": "1.0", "confidence": round(0.3 + 0.6 * (index % 7) / 7, 2)}
            for index, (category, thing) in enumerate(placed[:count][: wish.box_detections])
        ],
        "tags": [f"tag {index}" for index in range(wish.tags)],
        "created": f"2024-01-01_12:{number // 60 % 60:02}:{number % 60:02}.000",
        "source": "generator",
        "state": state,
    }
    name = f"image_{number:05}"
    files = (
        FormFile(f"{name}.json", json.dumps(said).encode()),
        FormFile(f"{name}.jpg", drawn(number, things, wish.image_style)),
    )
    return DrawnImage(image_id(number), files)


def _kind(category: Category) -> Kind:
    return "box" if category.type == "classification" else category.type


def _box(category: Category, thing: Thing) -> dict[str, object]:
    return {
        "category_name": category.name,
        "category_id": category.id,
        "x": thing.x,
        "y": thing.y,
        "width": thing.width or 2 * POINT_RADIUS,
        "height": thing.height or 2 * POINT_RADIUS,
    }


async def prepare(services: LoopServices) -> None:
    """Make the standing project, if it is not there, or not in whole because its making was interrupted."""

    def whole(connection: Connection) -> bool:
        try:
            key = projects.project_key(connection, ORGANIZATION, PROJECT)
        except NotInLoop:
            return False
        return model_records.target(connection, key) is not None  # which is said last

    if await services.database.read(whole):
        return
    await _remove(services, ORGANIZATION, PROJECT)
    wish = Wish(
        project_name=PROJECT,
        inbox=2,
        complete=2,
        box_categories=2,
        point_categories=1,
        segmentation_categories=1,
        box_annotations=2,
        box_detections=2,
    )
    await _make(services, ORGANIZATION, wish, models=STANDING_MODELS)

    def deploy(connection: Connection) -> None:
        key = projects.project_key(connection, ORGANIZATION, PROJECT)
        model_records.set_target(connection, key, STANDING_MODELS[1].id, written(services.now()))

    await services.database.write(deploy)


@dataclass(frozen=True)
class MadeUpModel:
    """A model of a generated project; `training` None: somebody has uploaded it."""

    id: str
    version: str
    training: int | None


STANDING_MODELS = tuple(
    MadeUpModel(f"00000000-0000-0000-0000-0000000000{number}", f"1.{number - 10}", None if number == 10 else 1)
    for number in (10, 11, 12)
)


async def generate(services: LoopServices, organization: str, wish: Wish) -> None:
    """Make a project to a measure. Raises `AlreadyInLoop` where there is one of that name, `InvalidInput` for no name."""
    where = f"{organization}/{wish.project_name.lower()}"
    models = tuple(
        MadeUpModel(str(uuid5(NAMESPACE_URL, f"{where}/{number}")), f"1.{number}", number + 1)
        for number in range(wish.trainings)
    )
    await _make(services, organization, wish, models)


async def _make(services: LoopServices, organization: str, wish: Wish, models: Sequence[MadeUpModel]) -> None:
    def create(connection: Connection) -> tuple[str, list[Category]]:
        made = projects.create(connection, organization, wish.project_name, written(services.now()))
        return made.project, add_categories(connection, made.key, wish.categories)

    project, categories = await services.database.write(create)
    states = wish.states
    for start in range(0, len(states), AT_ONCE):
        images = await asyncio.to_thread(
            lambda first: [
                draw(number, state, wish, categories)
                for number, state in enumerate(states[first : first + AT_ONCE], first)
            ],
            start,
        )
        await to_its_end(_keep(services, organization, project, images))
    for model in models:
        await _add_model(services, organization, project, model)


async def _keep(services: LoopServices, organization: str, project: str, images: Sequence[DrawnImage]) -> None:
    read = await asyncio.to_thread(read_form, [file for image in images for file in image.files], services.image_limits)
    incoming = [replace(each, id=image.id) for each, image in zip(read, images, strict=True)]
    with services.blobs.keeping() as keeper:
        blobs = await asyncio.to_thread(lambda: [keeper.put(each.picture) for each in incoming])

        def add(connection: Connection) -> None:
            key = projects.project_key(connection, organization, project)
            pairs = list(zip(incoming, blobs, strict=True))
            image_records.add(connection, key, pairs, written(services.now()))

        await services.database.write(add)


async def _add_model(services: LoopServices, organization: str, project: str, model: MadeUpModel) -> None:
    """A model of which nobody expects that it runs, in every format of those that nobody runs."""

    def trained(connection: Connection) -> list[Category]:
        key = projects.project_key(connection, organization, project)
        categories = all_categories(connection, key)
        if model.training is not None:
            _add_training(connection, key, model.training, model, categories, written(services.now()))
        return categories

    categories = await services.database.write(trained)
    document = {"resolution": 320, "categories": [category.model_dump(exclude_none=True) for category in categories]}
    contents = {
        "file_1.txt": b"content of file one",
        "file_2.txt": b"content of file two",
        "model.json": json.dumps(document).encode(),
    }
    library = ModelLibrary.of(services)
    for format in FORMATS:
        async with incoming_folder(services.settings.data_folder / "incoming") as folder:
            files = [ReceivedFile(name, folder / name) for name in contents]
            for file in files:
                await in_thread(file.path.write_bytes, contents[file.name])
            await library.add_given(
                organization, project, model.id, model.version, model.training, format, files, folder
            )


def _add_training(
    connection: Connection, key: int, number: int, model: MadeUpModel, categories: Sequence[Category], now: str
) -> None:
    if number not in {training.number for training in training_records.all_trainings(connection, key)}:
        details = {"categories": [], "hyperparameters": {"resolution": 320}, "model_variant": "mocked"}
        made = training_records.create(connection, key, "generator", None, details, now)
        training_records.set_state(connection, made, "finished", ended=now)
    matrix = {category.id: {"tp": 8, "fp": 1, "fn": 2} for category in categories}
    metrics = {
        "trainer_id": "generator",
        "confusion_matrix": matrix,
        "best_epoch": int(model.version.partition(".")[2]),
    }
    training_records.add_metrics(connection, training_records.training(connection, key, number), metrics, now)


async def _remove(services: LoopServices, organization: str, project: str) -> None:
    def remove(connection: Connection) -> list[str]:
        try:
            found = projects.find(connection, organization, project)
        except NotInLoop:
            return []
        return projects.remove(connection, found, keep_images=False)

    await forget(services.database, services.blobs, await services.database.write(remove))
