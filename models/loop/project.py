"""One project in one Learning Loop: what devices, trainers, converters and annotators ask of it."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlencode

import anyio
import httpx
from pydantic import BaseModel, TypeAdapter

from models.errors import LoopBusy, NotInLoop
from models.loop.answers import Answer, failure, parsed, unexpected
from models.loop.downloads import Download, Downloader
from models.loop.probing import ModelProbe, Prober
from models.loop.receiving import Progress
from models.loop.session import ANSWER_WITHIN_S, LoopSession
from models.loop.uploads import ImageUpload, MultipartBody, Throttle, files_body, files_sizes, images_body
from models.wire.detections import ImageDetections
from models.wire.loop import DeploymentTarget, DetectorStatus, LoopModel
from models.wire.project_data import ImageData, ImagesData, ProjectData

AT_ONCE = 100
"""Images that one call may name; learning-loop-node asks for no more."""

LONGEST_NAME = 200
"""Characters of an id or a name in a path; ids come from the Loop and may be anything."""

MOST_DATA_BYTES = 64 * 1024 * 1024
MOST_IMAGE_BYTES = 64 * 1024 * 1024

BUSY_RESTS_S = 5.0
MOST_RESTS = 20
"""How long and how often learning-loop-node waits after a 429 that does not say."""

_JSON: Mapping[str, str] = {"content-type": "application/json"}
_DETECTIONS = TypeAdapter(list[ImageDetections])

T = TypeVar("T")


class _Models(BaseModel):
    models: list[LoopModel]


class _Stored(BaseModel):
    id: str


class LoopProject:
    """All methods raise every kind of `LoopError`, and others only where they say so.

    What a device asks is tried once: it is asked again soon anyway. What a companion asks (`data` and all below it) waits
    and tries again while the Loop answers 429.
    """

    def __init__(
        self,
        session: LoopSession,
        downloader: Downloader,
        organization: str,
        project: str,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._session = session
        self._downloader = downloader
        self._prober = Prober(session)
        self._sleep = sleep
        self.organization, self.project = organization, project
        self._path = f"/api/{_segment(organization)}/projects/{_segment(project)}"
        self._name = f"project {organization}/{project}"

    async def deployment_target(self) -> DeploymentTarget | None:
        """The model that the detectors of this project shall run; None if none is set, or there is no such project."""
        wish = f"the deployment target of {self._name}"
        try:
            answer = await self._session.ask("GET", f"{self._path}/deployment/target", wish)
        except NotInLoop:
            return None
        if answer.body.strip() == b"null":
            return None
        return parsed(answer, DeploymentTarget, wish)

    async def models(self, model_format: str | None = None) -> list[LoopModel]:
        """The models of this project; with `model_format` only those that exist in it."""
        wish = f"the models of {self._name}"
        query = "" if model_format is None else "?" + urlencode({"format": model_format})
        answer = await self._session.ask("GET", f"{self._path}/models{query}", wish)
        return parsed(answer, _Models, wish).models

    async def download_model(
        self, model_id: str, model_format: str, to: Path, *, max_bytes: int, progress: Progress | None = None
    ) -> Download:
        """Stream the zip of a model into the file `to`, without login; `progress(bytes so far, bytes in all or None)`.

        A part of it that an earlier call left there is gone on with where the Loop can prove that it still has the very
        same file; its note lies beside it as `<to>.part-of`. Raises `NotInLoop` (no such model, or not in this format),
        `InputTooLarge`, `StorageRefused`; after the last two nothing stays, after every `LoopError` the part does.
        """
        path = f"{self._path}/models/{_segment(model_id)}/{_segment(model_format)}/file"
        wish = f"model {model_id} in format {model_format}"
        name = f"{model_id}-{model_format}.zip"
        return await self._downloader.fetch(path, wish, to, max_bytes=max_bytes, progress=progress, file_name=name)

    async def probe_model(self, model_id: str, model_format: str) -> ModelProbe | None:
        """What tells the zip of a model from an earlier one of that name, without login; None if the Loop does not say.

        Raises `NotInLoop` (no such model, or not in this format). Costs a request for headers, or for one byte.
        """
        path = f"{self._path}/models/{_segment(model_id)}/{_segment(model_format)}/file"
        return await self._prober.probe(path, f"model {model_id} in format {model_format}")

    async def upload_images(self, batch: Sequence[ImageUpload], *, throttle: Throttle | None = None) -> None:
        """Send pictures with what is known of them, without login. On return the Loop has them all.

        `throttle(n)` is awaited before each `n` bytes of body leave. `LoopRefused` with status 422: content of at least
        one is refused, and nothing of the batch was stored. After every other error the Loop may have stored the batch
        all the same: send it again under the same ids. Cancelling the task ends the connection at once.
        """
        wish = f"{len(batch)} pictures for {self._name}"
        answer = await self._send(
            "POST", f"{self._path}/images", wish, lambda sending: images_body(batch, throttle, sending), login=False
        )
        if answer.status != httpx.codes.OK or answer.is_web_page:
            # A hotel's login page must not be taken for a Loop that has stored the pictures.
            raise unexpected(answer, f"the receipt of {wish}")

    async def report_detector(self, status: DetectorStatus) -> None:
        """Tell the Loop how a detector is."""
        wish = f"a detector's status in {self._name}"
        answer = await self._session.ask(
            "POST", f"{self._path}/detectors", wish, content=status.model_dump_json(), headers=_JSON
        )
        if answer.is_web_page:
            raise unexpected(answer, wish)

    async def data(self, state: str | None = None) -> ProjectData:
        """Ids of all images, or of those in one state (`inbox`, `annotate`, `review`, `complete`), and the categories."""
        wish = f"the images of {self._name}"
        query = "" if state is None else "?" + urlencode({"state": state})

        async def ask() -> Answer:
            return await self._session.ask("GET", f"{self._path}/data{query}", wish, most_bytes=MOST_DATA_BYTES)

        return parsed(await self._patiently(ask), ProjectData, wish)

    async def images(self, ids: Sequence[str], model_version: str | None = None) -> list[ImageData]:
        """What is known of images, in one request for each `AT_ONCE`; with `model_version` the detections of that model."""
        wish = f"what is known of images of {self._name}"
        version = "" if model_version is None else "&" + urlencode({"model_version": model_version})
        found: list[ImageData] = []
        for some in _portions(ids):
            named = ",".join(quote(id, safe="") for id in some)

            async def ask(query: str = f"?ids={named}{version}") -> Answer:
                return await self._session.ask("GET", f"{self._path}/images{query}", wish, most_bytes=MOST_DATA_BYTES)

            found += parsed(await self._patiently(ask), ImagesData, wish).images
        return found

    async def download_image(self, image_id: str) -> bytes:
        """The bytes of one image. What the Loop sends is not looked at."""
        path = f"{self._path}/images/{_segment(image_id)}/main"

        async def ask() -> Answer:
            return await self._session.ask("GET", path, f"image {image_id}", most_bytes=MOST_IMAGE_BYTES)

        answer = await self._patiently(ask)
        if answer.is_web_page or not answer.body:
            raise unexpected(answer, f"image {image_id}")
        return answer.body

    async def post_detections(self, detections: Sequence[ImageDetections]) -> None:
        """Give what a model found in images of this project, in one request for each `AT_ONCE` images."""
        wish = f"detections in images of {self._name}"
        for some in _portions(detections):
            body = _DETECTIONS.dump_json(list(some))

            async def ask(body: bytes = body) -> Answer:
                return await self._session.ask(
                    "POST", f"{self._path}/detections", wish, repeat=False, content=body, headers=_JSON
                )

            answer = await self._patiently(ask)
            if answer.status != httpx.codes.OK or answer.is_web_page:
                raise unexpected(answer, f"the receipt of {wish}")

    async def upload_model(self, training_number: int, model_format: str, files: Sequence[Path]) -> str:
        """Give the model of a training in one format, as files with a `model.json` among them; returns the model's id.

        Further formats of the same model get the same id. Raises `AlreadyInLoop` (in this format; with the id where the
        Loop says it) and `StorageRefused` (a file cannot be read).
        """
        path = f"{self._path}/trainings/{training_number}/models/latest/{_segment(model_format)}/file"
        wish = f"the model of training {training_number} in format {model_format}"
        return parsed(await self._put_files(path, wish, files), _Stored, wish).id

    async def add_format(self, model_id: str, model_format: str, files: Sequence[Path]) -> None:
        """Give a model that is there in one more format, as files with a `model.json` among them; what converters do.

        Raises `NotInLoop` (no such model any more), `AlreadyInLoop` and `StorageRefused` (a file cannot be read).
        """
        path = f"{self._path}/models/{_segment(model_id)}/{_segment(model_format)}/file"
        wish = f"model {model_id} in format {model_format}"
        answer = await self._put_files(path, wish, files)
        if answer.is_web_page:
            raise unexpected(answer, f"the receipt of {wish}")

    async def _put_files(self, path: str, wish: str, files: Sequence[Path]) -> Answer:
        async def send() -> Answer:
            sizes = await asyncio.to_thread(files_sizes, files)
            return await self._send("PUT", path, wish, lambda sending: files_body(sizes, sending), login=True)

        return await self._patiently(send)

    async def _send(
        self, method: str, path: str, wish: str, body: Callable[[Callable[[bool], None]], MultipartBody], *, login: bool
    ) -> Answer:
        """The answer to a long body, if it is a success."""
        with anyio.CancelScope() as scope:

            def sending(is_sending: bool) -> None:
                # How long the body takes depends on the line and the throttle; each piece has a time-out of its own.
                scope.deadline = math.inf if is_sending else anyio.current_time() + ANSWER_WITHIN_S

            content = body(sending)
            async with self._session.answer(
                method, path, login=login, within=None, content=content, headers=content.headers
            ) as response:
                answer = await self._session.read(response)
            error = failure(answer, wish, self._session.wall_clock())
            if error is not None:
                raise error
            return answer
        raise self._session.too_slow(ANSWER_WITHIN_S)

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask again as long as the Loop answers 429, when it says; the last answer counts."""
        for _ in range(MOST_RESTS):
            try:
                return await ask()
            except LoopBusy as error:
                if error.status != httpx.codes.TOO_MANY_REQUESTS:
                    raise
                asked_for = BUSY_RESTS_S if error.retry_after is None else error.retry_after
            await self._sleep(asked_for + random.uniform(0, 1))  # noqa: S311 # so that not all come back at once
        return await ask()


def _portions(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]


def _segment(text: str) -> str:
    """Text as one step of a URL's path. Raises `NotInLoop` for what a path cannot name."""
    if text in ("", ".", "..") or len(text) > LONGEST_NAME or not text.isprintable():
        raise NotInLoop(f"a Learning Loop has nothing that is named {text[:40]!r}")
    return quote(text, safe="")
