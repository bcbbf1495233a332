"""How good a model is on pictures that it has not learnt from: mAP or accuracy, the best confidence, right and wrong by
category.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from models import geometry, heads
from models.heads.base import HeadContext
from networks.base import Network
from networks.bundles import NMS_IOU
from trainer_companion import samples
from trainer_companion.batches import boxes_at, floats
from trainer_companion.dataset import Picture
from trainer_companion.pixels import PictureStore
from trainer_companion.progress import Confusion, Judged
from trainer_companion.team import Team

CONFUSION_IOU = 0.5
"""How much a detection must overlap with a thing to count as found."""

MOST_DETECTIONS = 100
"""Of one picture: what COCO's mAP looks at."""

LOWEST_SCORE = 0.01
"""Below it, detections make no difference to any of the numbers here."""

THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.01), 2)
"""Confidences among which the best is chosen."""


@dataclass(frozen=True, eq=False)
class Found:
    """What was detected in one picture, most certain first. `boxes` (N, 4) float32 xyxy pixels of the input, or None where
    the picture was classified as a whole, `classes` (N,) int64, `scores` (N,) float32.
    """

    boxes: NDArray[np.float32] | None
    classes: NDArray[np.int64]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Evaluation:
    """`map50` and `map` (IoU 0.5 to 0.95) as COCO has them, 0..1; `conf_threshold` is the confidence with the highest F1,
    and `confusion` (one a category, in their order) counts there, at `CONFUSION_IOU`.
    `seen`: what was found in some of the pictures, by their place among those that were looked at, for people.

    Of what classifies pictures as a whole: `accuracy`, the share of the pictures whose surest class is the right one, and
    `sureness`, the mean confidence in it where it is (0 elsewhere), both 0..1.
    """

    map50: float
    map: float
    conf_threshold: float
    f1: float
    confusion: tuple[Confusion, ...]
    seen: Mapping[int, Found] = field(default_factory=dict, compare=False)
    accuracy: float | None = None
    sureness: float = 0.0

    @property
    def judged(self) -> Judged:
        """What is told of it."""
        return Judged(map50=self.map50, map=self.map, accuracy=self.accuracy)

    @property
    def rank(self) -> tuple[float, float]:
        """Of two models, the one with the higher rank is better."""
        return (self.map50, self.map) if self.accuracy is None else (self.accuracy, self.sureness)


def evaluate(
    network: Network,
    store: PictureStore,
    pictures: Sequence[Picture],
    team: Team,
    device: torch.device,
    batch_size: int = 16,
) -> Evaluation:
    """Look at all `pictures`, whose pixels are in `store`; every process at a part of them. All get the same answer."""
    mine = [index for index in range(team.rank, len(pictures), team.size) if index not in store.bad]
    found = detect(network, store, mine, device, batch_size)
    everything = {
        index: each for part in team.gather(dict(zip(mine, found, strict=True))) for index, each in part.items()
    }
    spec = network.input
    answer = None
    if team.leads:
        seen = sorted(everything)
        looked_at = [everything[index] for index in seen]
        if any(each.boxes is None for each in looked_at):
            answer = judge_whole(looked_at, [int(pictures[index].classes[0]) for index in seen], network.class_count)
        else:
            truth = [(boxes_at(pictures[index], spec.width, spec.height), pictures[index].classes) for index in seen]
            answer = judge(looked_at, truth, network.class_count, spec.width, spec.height)
        shown = {index: everything[index] for index in samples.chosen(pictures) if index in everything}
        answer = replace(answer, seen=shown)
    answer = team.share(answer)
    assert answer is not None
    return answer


def detect(
    network: Network, store: PictureStore, indices: Sequence[int], device: torch.device, batch_size: int
) -> list[Found]:
    """What the network sees in those pictures of the store, decoded as a device does."""
    network.eval()
    found = []
    for start in range(0, len(indices), batch_size):
        pixels = np.stack([store[index] for index in indices[start : start + batch_size]])
        batch = floats(torch.from_numpy(pixels).to(device))
        with torch.inference_mode():
            outputs = [output.float().cpu().numpy() for output in network(batch)]
        found += [decode(network, [output[row : row + 1] for output in outputs]) for row in range(len(pixels))]
    return found


def decode(network: Network, outputs: list[NDArray[np.float32]]) -> Found:
    """The outputs of one picture -> detections, by the head that the device uses."""
    head = heads.head(network.head)
    context = HeadContext(
        width=network.input.width,
        height=network.input.height,
        outputs={name: index for index, name in enumerate(network.output_names)},
        options=network.head_options,
        min_score=LOWEST_SCORE,
        class_count=network.class_count,
    )
    seen = head.decode(outputs, context)
    if seen.boxes is None:
        surest = np.argsort(-seen.scores, kind="stable")
        return Found(None, seen.classes[surest], seen.scores[surest])
    boxes = geometry.clip_boxes(seen.boxes, network.input.width, network.input.height)
    if head.needs_nms:
        best = geometry.nms(boxes, seen.scores, seen.classes, NMS_IOU, MOST_DETECTIONS)
    else:
        best = np.argsort(-seen.scores, kind="stable")[:MOST_DETECTIONS]
    return Found(boxes[best], seen.classes[best], seen.scores[best])


Truth = tuple[NDArray[np.float32], NDArray[np.int64]]
"""What is in one picture: boxes (N, 4) xyxy and classes (N,)."""


def judge(found: Sequence[Found], truth: Sequence[Truth], class_count: int, width: int, height: int) -> Evaluation:
    """All numbers from detections and what is there, picture by picture. Pure."""
    map50, mean = coco_map(found, truth, class_count, width, height)
    scores, classes, right = _matched(found, truth)
    things = sum((np.bincount(kinds, minlength=class_count) for _, kinds in truth), np.zeros(class_count, np.int64))
    conf_threshold, f1 = best_threshold(scores, right, int(things.sum()))
    return Evaluation(map50, mean, conf_threshold, f1, _confusion(scores, classes, right, things, conf_threshold))


def judge_whole(found: Sequence[Found], truth: Sequence[int], class_count: int) -> Evaluation:
    """All numbers from the classes that were seen in pictures, and the one that each has. Pure.

    Every class that reaches the confidence counts, as a device answers with all of them: the best confidence is one at which
    it answers with the right one and no other.
    """
    scores = np.concatenate([np.empty(0, np.float32), *(each.scores for each in found)])
    classes = np.concatenate([np.empty(0, np.int64), *(each.classes for each in found)])
    right = classes == np.repeat(np.asarray(truth, np.int64), [len(each.classes) for each in found])
    things = np.bincount(np.asarray(truth, np.int64), minlength=class_count)
    conf_threshold, f1 = best_threshold(scores, right, len(truth))
    sure = [
        float(each.scores[0]) if len(each.classes) and each.classes[0] == kind else 0.0
        for each, kind in zip(found, truth, strict=True)
    ]
    pictures = max(1, len(truth))
    return Evaluation(
        map50=0.0,
        map=0.0,
        conf_threshold=conf_threshold,
        f1=f1,
        confusion=_confusion(scores, classes, right, things, conf_threshold),
        accuracy=sum(each > 0 for each in sure) / pictures,
        sureness=sum(sure) / pictures,
    )


def _confusion(
    scores: NDArray[np.float32],
    classes: NDArray[np.int64],
    right: NDArray[np.bool_],
    things: NDArray[np.int64],
    threshold: float,
) -> tuple[Confusion, ...]:
    """Of the detections that reach the threshold, by category. `things`: how many there are of each."""
    shown = scores >= threshold
    counted = []
    for index, there in enumerate(things):
        mine = shown & (classes == index)
        hits = int((mine & right).sum())
        counted.append(Confusion(tp=hits, fp=int(mine.sum()) - hits, fn=int(there) - hits))
    return tuple(counted)


def best_threshold(scores: NDArray[np.float32], right: NDArray[np.bool_], things: int) -> tuple[float, float]:
    """Confidence with the highest F1 over all categories, and that F1. `right` says which detections are."""
    best = (0.5, 0.0)
    for threshold in THRESHOLDS:
        shown = scores >= threshold
        hits = int((shown & right).sum())
        f1 = 2 * hits / max(1, int(shown.sum()) + things)
        if f1 > best[1]:
            best = (float(threshold), f1)
    return best


def _matched(
    found: Sequence[Found], truth: Sequence[Truth]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Score, class and rightness of every detection: the most certain takes the thing of its class that it overlaps most."""
    scores, classes, right = [], [], []
    for seen, (boxes, kinds) in zip(found, truth, strict=True):
        assert seen.boxes is not None
        overlap = geometry.iou_matrix(seen.boxes, boxes)
        overlap[seen.classes[:, None] != kinds[None, :]] = 0
        hits = np.zeros(len(seen.scores), np.bool_)
        for row in np.argsort(-seen.scores, kind="stable"):
            if len(boxes) and overlap[row].max() >= CONFUSION_IOU:
                hits[row] = True
                overlap[:, overlap[row].argmax()] = 0
        scores.append(seen.scores)
        classes.append(seen.classes)
        right.append(hits)
    if not scores:
        return np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.bool_)
    return np.concatenate(scores), np.concatenate(classes), np.concatenate(right)


def coco_map(
    found: Sequence[Found], truth: Sequence[Truth], class_count: int, width: int, height: int
) -> tuple[float, float]:
    """mAP at IoU 0.5, and its mean over 0.5 to 0.95, as COCO defines them; 0 where there is nothing to be found."""
    from faster_coco_eval import COCO, COCOeval_faster

    things = [
        {
            "image_id": image,
            "category_id": int(kind),
            "bbox": box.tolist(),
            "area": float(box[2] * box[3]),
            "iscrowd": 0,
        }
        for image, (boxes, kinds) in enumerate(truth)
        for box, kind in zip(geometry.xyxy_to_xywh(boxes), kinds, strict=True)
    ]
    detections = [
        {"image_id": image, "category_id": int(kind), "bbox": box.tolist(), "score": float(score)}
        for image, seen in enumerate(found)
        if seen.boxes is not None
        for box, kind, score in zip(geometry.xyxy_to_xywh(seen.boxes), seen.classes, seen.scores, strict=True)
    ]
    if not things or not detections:
        return 0.0, 0.0
    document = {
        "info": {},
        "images": [{"id": image, "width": width, "height": height} for image in range(len(truth))],
        "categories": [{"id": index, "name": str(index)} for index in range(class_count)],
        "annotations": [{"id": number + 1, **thing} for number, thing in enumerate(things)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(document)
        measured = COCOeval_faster(reference, reference.loadRes(detections), "bbox", print_function=lambda *_: None)
        measured.evaluate()
        measured.accumulate()
        measured.summarize()
    mean, map50 = float(measured.stats[0]), float(measured.stats[1])
    return max(0.0, map50), max(0.0, mean)
