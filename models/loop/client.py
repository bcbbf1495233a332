"""A Learning Loop over HTTP, as devices and companions ask it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

import anyio
import httpx
from pydantic import BaseModel

from models.errors import LoopError, NotInLoop
from models.files import FILE_SYSTEM, FileSystem
from models.loop.address import loop_address
from models.loop.answers import failure, parsed, unexpected
from models.loop.downloads import Download, Downloader
from models.loop.receiving import Progress
from models.loop.session import ANSWER_WITHIN_S, LoopSession
from models.loop.uploads import ImagesBody, ImageUpload, Throttle
from models.wire.loop import DeploymentTarget, DetectorStatus, LoopModel


class LoopClient:
    """One Loop. Belongs to the event loop in which it is first used; connects when it is first asked something.

    `host` is what people write into `LOOP_HOST`, with scheme and port where needed. Raises `SettingsInvalid` for what
    is no host. Without `username` the login is empty. See `LoopSession` for `ssl_cert_path` and proxies.
    """

    def __init__(
        self,
        host: str,
        *,
        username: str | None = None,
        password: str | None = None,
        ssl_cert_path: Path | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        files: FileSystem = FILE_SYSTEM,
    ) -> None:
        self.address = loop_address(host)
        self.session = LoopSession(
            self.address, username, password, ssl_cert_path, transport=transport, now=now, wall_clock=wall_clock
        )
        self.sleep = sleep
        self.downloader = Downloader(self.session, now, files)

    @property
    def base_url(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        return self.address.url

    async def is_ready(self) -> bool:
        """Whether a Learning Loop answers there and is ready. Needs no login."""
        try:
            answer = await self.session.ask("GET", "/api/status", "its status", login=False)
        except LoopError:
            return False
        return answer.status == httpx.codes.OK and not answer.is_web_page

    def project(self, organization: str, project: str) -> LoopProject:
        """One project of it; project names are lower case. Asks nothing."""
        return LoopProject(self, organization, project.lower())

    async def close(self) -> None:
        """End all connections; what is under way fails with `LoopUnreachable`, and so does every call after it."""
        await self.session.close()


class _Models(BaseModel):
    models: list[LoopModel]


class LoopProject:
    """One project in one Loop. All methods raise every kind of `LoopError`, and others only where they say so."""

    def __init__(self, client: LoopClient, organization: str, project: str) -> None:
        self._client = client
        self._session = client.session
        self.organization, self.project = organization, project
        self._path = f"/api/{_segment(organization)}/projects/{_segment(project)}"
        self._name = f"project {organization}/{project}"

    async def deployment_target(self) -> DeploymentTarget | None:
        """The model that the detectors of this project shall run; None if none is set, or there is no such project."""
        wish = f"deployment target of {self._name}"
        try:
            answer = await self._session.ask("GET", f"{self._path}/deployment/target", wish)
        except NotInLoop:
            return None
        if answer.body.strip() == b"null":
            return None
        return parsed(answer, DeploymentTarget, wish)

    async def models(self, model_format: str | None = None) -> list[LoopModel]:
        """The models of this project; with `model_format` only those that exist in it."""
        wish = f"models of {self._name}"
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
        return await self._client.downloader.fetch(
            path, wish, to, max_bytes=max_bytes, progress=progress, file_name=name
        )

    async def upload_images(self, batch: Sequence[ImageUpload], *, throttle: Throttle | None = None) -> None:
        """Send pictures with what is known of them, without login. On return the Loop has them all.

        `throttle(n)` is awaited before each `n` bytes of body leave. `LoopRefused` with status 422: content of at least
        one is refused, and nothing of the batch was stored. After every other error the Loop may have stored the batch
        all the same: send it again under the same ids. Cancelling the task ends the connection at once.
        """
        wish = f"{len(batch)} pictures for {self._name}"
        with anyio.CancelScope() as scope:

            def sending(is_sending: bool) -> None:
                # How long a batch takes depends on the line and the throttle; each piece has a time-out of its own.
                scope.deadline = math.inf if is_sending else anyio.current_time() + ANSWER_WITHIN_S

            body = ImagesBody(batch, throttle, sending)
            async with self._session.answer(
                "POST", f"{self._path}/images", login=False, within=None, content=body, headers=body.headers
            ) as response:
                answer = await self._session.read(response)
            error = failure(answer, wish, self._session.wall_clock())
            if error is not None:
                raise error
            if answer.status != httpx.codes.OK or answer.is_web_page:
                # A hotel's login page must not be taken for a Loop that has stored the pictures.
                raise unexpected(answer, f"the receipt of {wish}")
            return
        raise self._session.too_slow(ANSWER_WITHIN_S)

    async def report_detector(self, status: DetectorStatus) -> None:
        """Tell the Loop how a detector is."""
        wish = f"a detector's status in {self._name}"
        answer = await self._session.ask(
            "POST", f"{self._path}/detectors", wish, content=status.model_dump_json(), headers=_JSON
        )
        if answer.is_web_page:
            raise unexpected(answer, wish)


_JSON: Mapping[str, str] = {"content-type": "application/json"}


def _segment(text: str) -> str:
    """Text as one step of a URL's path. Raises `NotInLoop` for what a path cannot name."""
    if text in ("", ".", ".."):
        raise NotInLoop(f"a Learning Loop has nothing that is named {text!r}")
    return quote(text, safe="")
