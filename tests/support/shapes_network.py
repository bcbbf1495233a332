"""A small network of the edge family that has learnt to see coloured squares, and pictures of them. Seconds to make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models.wire.model_information import Category
from networks.base import family
from networks.edge import EdgeNetwork

SIZE = 64
COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220), "yellow": (230, 220, 50)}
CATEGORIES = [Category(id=f"id-{name}", name=name, type="box") for name in COLOURS]


def scene(dice: np.random.Generator) -> tuple[NDArray[np.uint8], list[tuple[int, tuple[int, int, int, int]]]]:
    """Squares that do not touch on noise: uint8 RGB (64, 64, 3), and class and x, y, width, height of each."""
    picture = dice.integers(90, 150, (SIZE, SIZE, 3), np.uint8)
    found = []
    for corner in dice.permutation(4)[: dice.integers(1, 4)]:
        side = int(dice.integers(14, 25))
        x, y = (int(dice.integers(2, 31 - side + 1)) + 32 * int(half) for half in divmod(int(corner), 2))
        number = int(dice.integers(0, len(COLOURS)))
        picture[y : y + side, x : x + side] = list(COLOURS.values())[number]
        found.append((number, (x, y, side, side)))
    return picture, found


def trained(steps: int = 150, seed: int = 3) -> EdgeNetwork:
    """One that has looked at scenes for a while."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    dice = np.random.default_rng(seed)
    network = family("edge").build({"input_width": SIZE, "input_height": SIZE, "width": 0.5}, len(COLOURS))
    assert isinstance(network, EdgeNetwork)
    centres, strides = network.cells()
    optimizer = torch.optim.AdamW(network.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, steps)
    for _ in range(steps):
        scenes = [scene(dice) for _ in range(16)]
        pictures = torch.from_numpy(np.stack([picture for picture, _ in scenes])).permute(0, 3, 1, 2).float() / 255
        classes = torch.zeros(len(scenes), len(centres), len(COLOURS))
        reach = torch.zeros(len(scenes), len(centres), 4)
        inside = torch.zeros(len(scenes), len(centres), dtype=torch.bool)
        for row, (_, found) in enumerate(scenes):
            for number, (x, y, width, height) in found:
                sides = torch.cat([centres - torch.tensor([x, y]), torch.tensor([x + width, y + height]) - centres], 1)
                middle = (centres - torch.tensor([x + width / 2, y + height / 2])).abs().amax(1)
                own = (sides.amin(1) > 0) & (middle <= strides)
                classes[row, own, number] = 1.0
                reach[row, own] = sides[own] / strides[own, None]
                inside[row] |= own
        distances, logits = network.raw(pictures)
        loss = functional.binary_cross_entropy_with_logits(logits, classes, reduction="sum") / inside.sum()
        loss = loss + 2 * functional.smooth_l1_loss(distances[inside], reach[inside])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.eval()


def write_pictures(folder: Path, count: int, seed: int = 7) -> Path:
    """A COCO folder with so many scenes: `images/` and `annotations.json`."""
    (folder / "images").mkdir(parents=True)
    dice = np.random.default_rng(seed)
    document: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(COLOURS)],
    }
    for number in range(count):
        picture, found = scene(dice)
        name = f"scene_{number:03}.png"
        cv2.imwrite(str(folder / "images" / name), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        document["images"].append({"id": number, "file_name": name, "width": SIZE, "height": SIZE})
        for category, box in found:
            annotation = {"id": len(document["annotations"]) + 1, "image_id": number, "category_id": category}
            document["annotations"].append({**annotation, "bbox": list(box)})
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder
