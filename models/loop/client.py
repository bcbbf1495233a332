"""A Learning Loop over HTTP, as devices and companions ask it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
from pydantic import BaseModel

from models.errors import LoopError
from models.files import FILE_SYSTEM, FileSystem
from models.loop.address import loop_address
from models.loop.answers import parsed
from models.loop.downloads import Download, Downloader
from models.loop.project import LoopProject
from models.loop.session import LoopSession
from models.loop.uploads import ImageUpload
from models.wire.loop import LoopProjectName

__all__ = ["Download", "ImageUpload", "LoopClient", "LoopProject"]


class _Projects(BaseModel):
    projects: list[LoopProjectName]


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
        self._sleep = sleep
        self._downloader = Downloader(self.session, now, files)

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

    async def projects(self) -> list[LoopProjectName]:
        """Every project that this user may see. Raises every kind of `LoopError`."""
        wish = "the list of projects"
        return parsed(await self.session.ask("GET", "/api/projects", wish), _Projects, wish).projects

    def project(self, organization: str, project: str) -> LoopProject:
        """One project of it; project names are lower case. Asks nothing."""
        return LoopProject(self.session, self._downloader, organization, project.lower(), self._sleep)

    async def close(self) -> None:
        """End all connections; what is under way fails with `LoopUnreachable`, and so does every call after it."""
        await self.session.close()
