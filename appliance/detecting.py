"""Detecting, as robots and people ask for it: a picture in, what is in it out, and perhaps a picture for the Loop.

The one service behind `POST /detect` and `POST /upload`, and the events `detect`, `batch_detect` and `upload`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

from appliance.budgets import OverBudget, PickBudgets
from appliance.inference.supervisor import Picture, Supervisor
from appliance.outbox.files import NewPicture
from appliance.outbox.reasons import PICKED_BY_SYSTEM
from appliance.recent import Recent
from appliance.relevance import RelevanceFilter
from models import images
from models.bundle import Bundle, information
from models.errors import DetectorApplianceError
from models.images import ImageLimits
from models.wire.detections import Detection, Detections
from models.wire.image_metadata import ImageMetadata
from models.wire.model_information import ModelInformation
from models.wire.node_status import Autoupload
from models.zoo import SEED_ORGANIZATION, SEED_PROJECT

log = logging.getLogger(__name__)

SEED_MODEL = "seed_model"
"""Tag of pictures that were picked while the seed model served: its categories are none of the Loop's."""

ENCODED_AT_ONCE = 8
"""Arrays that are being made into JPEGs for the Loop; each may have 64 MiB."""


NotOffered = Literal[OverBudget, "too_many_raw_pictures", "not_encodable", "unexpected"]
"""Why a picture that was wanted did not even get as far as `Picks`."""

NOT_OFFERED: tuple[NotOffered, ...] = get_args(NotOffered)


class Outbox(Protocol):
    """Where explicit uploads go; blocking, safe on disk when it returns."""

    def save_all_or_none(self, pictures: Sequence[NewPicture]) -> list[str]:
        """Their ids. Raises `StorageRefused`, which `NoRoom` is a kind of, or `InvalidInput`; nothing is kept then."""


class Picks(Protocol):
    """Where automatic picks go; never blocks, keeps what it can and counts the rest."""

    def offer(self, picture: bytes, metadata: ImageMetadata) -> bool: ...


@dataclass(frozen=True)
class Wish:
    """What comes along with a picture. `max_wait` is in seconds. `show`: among the latest of the cameras."""

    camera_id: str | None = None
    tags: tuple[str, ...] = ()
    source: str | None = None
    created: str | None = None
    autoupload: Autoupload = "filtered"
    max_wait: float = 10.0
    show: bool = True


@dataclass(frozen=True)
class Detected:
    """The answer (`metadata`), why the picture was picked for the Loop, and where the milliseconds went.

    `not_kept` says why it was not kept all the same, as far as that is known by now.
    """

    metadata: ImageMetadata
    reasons: tuple[str, ...]
    timings: dict[str, float]
    not_kept: str | None = None


@dataclass
class DetectingCounters:
    """What was detected since the start, and pictures that were wanted and not even offered, by reason."""

    pictures: int = 0
    by_category: Counter[str] = field(default_factory=Counter)
    not_offered: Counter[NotOffered] = field(default_factory=Counter)


class Detecting:
    """See the module's docstring. Belongs to one event loop."""

    def __init__(
        self,
        supervisor: Supervisor,
        relevance: RelevanceFilter,
        budgets: PickBudgets,
        outbox: Outbox,
        picks: Picks,
        *,
        limits: ImageLimits,
    ) -> None:
        self._supervisor = supervisor
        self._relevance = relevance
        self._budgets = budgets
        self._outbox = outbox
        self._picks = picks
        self._limits = limits
        self._encoding: set[asyncio.Task[None]] = set()
        self.encoding = 0
        """Pictures that are wanted and being made into JPEGs, before they are offered."""
        self.counters = DetectingCounters()
        self.recent = Recent()

    def model_information(self) -> ModelInformation | None:
        """The serving model, or None."""
        serving = self._supervisor.serving
        return information(serving.bundle) if serving is not None else None

    async def detect(self, picture: Picture, wish: Wish) -> Detected:
        """Look at one picture. Raises `DetectionUnavailable`, `InvalidInput` or `ModelFailed`."""
        seen = await self._supervisor.detect(picture, wish.max_wait)
        everything = Detections.model_validate(seen.detections)
        reasons = self._reasons(everything, wish)
        metadata = _answer(everything, seen.bundle, wish)
        not_kept: str | None = None
        if reasons or wish.autoupload == "all":
            not_kept = self._pick(picture, everything, reasons, seen.bundle, wish)
        self._count(metadata)
        self.recent.note(seen, picture, wish.camera_id, metadata, show=wish.show)
        return Detected(metadata, tuple(reasons), seen.timings, not_kept)

    async def upload(self, pictures: list[Picture], metadata: ImageMetadata, *, priority: bool) -> None:
        """Keep pictures for the Loop; on disk when this returns. Nothing is kept if one of them is no picture,
        or if there is no room for one of them. Raises `InvalidInput`, or `StorageRefused`, which `NoRoom` is a kind of.
        """
        encoded = [await asyncio.to_thread(self._encoded, picture) for picture in pictures]
        stored = self._as_the_loop_knows_it(metadata)
        stored.tags = [*stored.tags, PICKED_BY_SYSTEM]
        await asyncio.to_thread(self._outbox.save_all_or_none, [NewPicture(each, stored, priority) for each in encoded])

    def _reasons(self, everything: Detections, wish: Wish) -> list[str]:
        if wish.autoupload != "filtered":
            return []
        return self._relevance.reasons(wish.camera_id, everything)

    def _pick(
        self, picture: Picture, everything: Detections, reasons: list[str], bundle: Bundle, wish: Wish
    ) -> str | None:
        """Have a picture kept that is wanted; or why not, in which case it is counted."""
        seed = is_seed(bundle)
        why_not: NotOffered | None = None
        if wish.autoupload == "filtered":
            why_not = self._budgets.spend(wish.camera_id, seed=seed)
        if why_not is None and picture.raw is not None and self.encoding >= ENCODED_AT_ONCE:
            why_not = "too_many_raw_pictures"
        if why_not is not None:
            self.counters.not_offered[why_not] += 1
            return why_not
        stored = ImageMetadata.model_validate(
            {
                **everything.model_dump(),
                "tags": [*wish.tags, *reasons],
                "source": wish.source,
                "created": wish.created,
            }
        )
        if seed:
            stored.tags.append(SEED_MODEL)
            for detection in _all(stored):
                detection.category_id = None
        if picture.raw is None:
            return None if self._picks.offer(bytes(picture.payload), stored) else "queue_full"
        self.encoding += 1
        task = asyncio.create_task(self._encode_and_offer(picture, stored))
        self._encoding.add(task)
        task.add_done_callback(self._encoding.discard)
        return None

    async def _encode_and_offer(self, picture: Picture, stored: ImageMetadata) -> None:
        """An array becomes a JPEG beside the answer, which does not wait for it."""
        encoded: bytes | None = None
        why_not: NotOffered = "unexpected"
        try:
            encoded = await asyncio.to_thread(self._encoded, picture)
        except DetectorApplianceError as error:
            log.warning("a picture that was picked for the Loop could not be made a JPEG: %s", error)
            why_not = "not_encodable"
        except Exception:  # nobody waits for the outcome, and without the count its loss would be silent
            log.exception("a picture that was picked for the Loop is lost")
        self.encoding -= 1
        if encoded is None:
            self.counters.not_offered[why_not] += 1
        else:
            self._picks.offer(encoded, stored)

    def _encoded(self, picture: Picture) -> bytes:
        """The bytes to store: an encoded picture as it came, once it is known to be one; an array as JPEG."""
        if picture.raw is None:
            data = bytes(picture.payload)
            images.check_picture(data, self._limits)
            return data
        array = images.array_from_raw(picture.payload, picture.raw["dtype"], picture.raw["shape"], self._limits)
        return images.encode_jpeg(array)

    def _as_the_loop_knows_it(self, metadata: ImageMetadata) -> ImageMetadata:
        """Category ids come from the names that the serving model knows, as upstream does it; unknown name: empty.

        The seed model's categories are none of the Loop's, and a tag says so.
        """
        serving = self._supervisor.serving
        if serving is None:
            return metadata.model_copy()
        seed = is_seed(serving.bundle)
        ids = {} if seed else {category.name: category.id for category in serving.bundle.model.categories}
        stored = metadata.model_copy(deep=True)
        stored.tags += [SEED_MODEL] if seed else []
        for detection in _all(stored):
            detection.category_id = ids.get(detection.category_name, "")
        return stored

    def _count(self, metadata: ImageMetadata) -> None:
        self.counters.pictures += 1
        self.counters.by_category.update(detection.category_name for detection in _all(metadata))

    async def close(self) -> None:
        """Offer what is still being encoded."""
        await asyncio.gather(*self._encoding, return_exceptions=True)


def is_seed(bundle: Bundle) -> bool:
    """Whether this is the seed model, or a copy of it."""
    model = bundle.model
    return (model.organization, model.project) == (SEED_ORGANIZATION, SEED_PROJECT)


def _answer(everything: Detections, bundle: Bundle, wish: Wish) -> ImageMetadata:
    """What the caller is shown: detections from the model's threshold upwards."""
    threshold = bundle.model.score_threshold
    return ImageMetadata(
        box_detections=[found for found in everything.box_detections if found.confidence >= threshold],
        point_detections=[found for found in everything.point_detections if found.confidence >= threshold],
        segmentation_detections=[
            found for found in everything.segmentation_detections if found.confidence >= threshold
        ],
        classification_detections=[
            found for found in everything.classification_detections if found.confidence >= threshold
        ],
        tags=list(wish.tags),
        source=wish.source,
        created=wish.created,
    )


def _all(detections: Detections) -> list[Detection]:
    return [
        *detections.box_detections,
        *detections.point_detections,
        *detections.segmentation_detections,
        *detections.classification_detections,
    ]
