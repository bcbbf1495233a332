"""An own recipe in a page of code: a lean network of the edge family that learns large things, and leaves the small ones."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from trainer_companion.dataset import Dataset, Picture, checked
from trainer_companion.edge_recipe import EdgeRecipe
from trainer_companion.hyperparameters import Hyperparameters
from trainer_companion.network_recipe import Variant
from trainer_companion.progress import Done, Warned
from trainer_companion.recipes import Session


class LargeThingsHyperparameters(Hyperparameters):
    """Those of every recipe, and one more: it is listed, checked and refused like the others."""

    smallest: float = Field(
        default=0.1,
        ge=0.0,
        le=0.9,
        json_schema_extra={"unit": "share"},
        description="Boxes whose longer side is less than this share of their picture are not learnt.",
    )


class LargeThings(EdgeRecipe):
    """See `trainer_companion.recipes.Recipe` for what is called when."""

    name = "large_things"
    hyperparameters = LargeThingsHyperparameters
    networks = (
        Variant(
            "large-things-96",
            "Large things (96 px)",
            "A quarter of the operations of the smallest edge network; small things are not learnt.",
            {"backbone": "residual", "width": 0.5, "blocks": 1},
            96,
        ),
    )

    def train(self, session: Session) -> Done:
        """Leave out the small boxes, say how many, and train as usual."""
        assert isinstance(session.hyperparameters, LargeThingsHyperparameters)
        large = without_small(session.dataset, session.hyperparameters.smallest)
        before, after = (sum(len(each.boxes) for each in of.pictures) for of in (session.dataset, large))
        session.say(Warned(message=f"Left out, because they are small: {before - after} of {before} boxes."))
        return super().train(replace(session, dataset=checked(large)))


def without_small(dataset: Dataset, smallest: float) -> Dataset:
    """The same pictures without the boxes whose longer side is less than that share of the picture."""

    def large(picture: Picture) -> Picture:
        sides = (picture.boxes[:, 2:] - picture.boxes[:, :2]) / (picture.width, picture.height)
        keep = sides.max(axis=1, initial=0.0) >= smallest
        return replace(picture, boxes=picture.boxes[keep], classes=picture.classes[keep])

    return replace(dataset, pictures=tuple(large(picture) for picture in dataset.pictures))
