"""The node: what a Loop asks an annotator, and what it is told.

learning-loop-node's annotation nodes behave the same way: connected as `annotation_node`, they tell their status with the
capability `segmentation`, answer `handle_user_input` with SVG, and send a finished annotation before they answer.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from annotator_companion.history import Histories, Means
from annotator_companion.pictures import PictureKey, Pictures
from annotator_companion.settings import AnnotatorSettings
from annotator_companion.threads import Threads
from annotator_companion.tools.base import Tool
from companions.connection import Connection
from models.errors import DetectorApplianceError, InvalidInput, LoopRefused, LoopUnreachable
from models.loop.client import LoopClient
from models.loop.node import MakeSocket, make_socket
from models.wire.training import AnnotationNodeStatus, SegmentationAnnotation, UserInput

log = logging.getLogger(__name__)

NODE_TYPE = "annotation_node"
CAPABILITIES = ("segmentation",)

LAST_ANSWERS = 200
"""Whose latency is remembered."""

SOME_WAIT = 4
"""Threads beyond one for each core: while some wait for a model that looks at a picture, other pages are answered."""

STATUS_WITHIN_S = 10.0
STORED_WITHIN_S = 30.0


class Annotator:
    """See `companions.server.Companion`. Close it also if it was never started."""

    def __init__(
        self,
        settings: AnnotatorSettings,
        tools: Sequence[Tool],
        uuid: str,
        client: LoopClient | None,
        *,
        restart: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
        make_socket: MakeSocket = make_socket,
    ) -> None:
        self.connection = Connection(
            client,
            NODE_TYPE,
            heartbeat=self._tell_status,
            restart=restart,
            organization=settings.loop_organization or "",
            project=settings.loop_project or "",
            make_socket=make_socket,
        )
        self.connection.on("handle_user_input", self._on_user_input)
        self.connection.on("user_logout", self._on_logout)
        self.name = settings.node_name
        self._uuid = uuid
        self._client = client
        self._now = now
        self._since = now()
        self._tools = tools
        most_bytes = settings.picture_cache_mb * 2**20
        self._threads = Threads(max(os.cpu_count() or 1, 2) + SOME_WAIT)
        self._pictures = Pictures(self._fetch, self._threads, most_bytes, now)
        means = Means(tools, self._pictures, self._store, self._threads)
        self._histories = Histories(means, idle_s=settings.forget_after_minutes * 60, most_bytes=most_bytes, now=now)
        self._stored = 0
        self.answers: deque[float] = deque(maxlen=LAST_ANSWERS)
        """Milliseconds that the last answers to pages took."""
        self.failed = 0
        self.last_failure: str | None = None

    async def start(self) -> None:
        """See `Companion`."""
        self._since = self._now()
        log.info("tools: %s", ", ".join(tool.name for tool in self._tools))

    async def close(self) -> None:
        """See `Companion`. A tool that is still at work is left to itself: it ends with the program."""
        await self._histories.close()
        await self._pictures.close()
        self._threads.shutdown(cancel_futures=True)

    def status(self) -> Mapping[str, Any]:
        """See `Companion`."""
        return {
            "uuid": self._uuid,
            "name": self.name,
            "tools": [tool.name for tool in self._tools],
            "pages": len(self._histories),
            "pages_forgotten": self._histories.forgotten,
            "moves_overtaken": self._histories.overtaken,
            "tools_given_up": self._threads.lost,
            "answers_failed": self.failed,
            "annotations_stored": self._stored,
            "pictures_fetched": self._pictures.fetched,
            "picture_bytes": self._pictures.bytes,
        }

    async def _tell_status(self) -> bool:
        await self._histories.tidy()
        node = self.connection.node
        assert node is not None, "there is no heartbeat without a node"
        status = AnnotationNodeStatus(
            id=self._uuid,
            name=self.name,
            state="online",
            uptime=int(self._now() - self._since),
            capabilities=list(CAPABILITIES),
        )
        answer = await node.call("update_annotation_node", status, timeout=STATUS_WITHIN_S)
        return answer is not None and answer.success

    async def _on_user_input(self, given: Any = None, *_more: Any) -> str:
        try:
            parsed = UserInput.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(f"the user input cannot be understood: {where or 'it'}: {first['msg']}") from error
        began = self._now()
        try:
            answer = await self._histories.handle(parsed.frontend_id, parsed.data)
        except DetectorApplianceError as error:
            self.failed += 1
            self.last_failure = str(error)
            raise
        self.answers.append(1000 * (self._now() - began))
        return answer

    async def _on_logout(self, frontend_id: Any = None, *_more: Any) -> bool:
        if not isinstance(frontend_id, str):
            raise InvalidInput("user_logout comes with the id of a page")
        await self._histories.leave(frontend_id)
        return True

    async def _fetch(self, key: PictureKey) -> bytes:
        if self._client is None:
            raise LoopUnreachable("no Loop is set (LOOP_HOST)")
        return await self._client.project(key.organization, key.project).download_image(key.image_id)

    async def _store(self, organization: str, project: str, annotation: SegmentationAnnotation) -> None:
        node = self.connection.node
        if node is None:
            raise LoopUnreachable("no Loop is set (LOOP_HOST)")
        answer = await node.call(
            "update_segmentation_annotation", organization, project, annotation, timeout=STORED_WITHIN_S
        )
        # Upstream's nodes look at no answer here; a Loop that says no, though, has lost the person's work.
        if answer is not None and not answer.success:
            raise LoopRefused(f"the Loop did not take the annotation: {answer.error_msg or 'it does not say why'}")
        self._stored += 1
