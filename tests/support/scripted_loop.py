"""A Learning Loop as far as a detector sees it, in memory: what it has, how it misbehaves, and what it was asked.

It is asked through the real client, over a transport that ends here.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx

from models.files import FILE_SYSTEM, FileSystem
from models.loop.client import LoopClient
from models.loop.project import LoopProject
from tests.support.small_bundles import model_json

ORGANIZATION, PROJECT = "zauberzeug", "demo"
PREFIX = f"/api/{ORGANIZATION}/projects/{PROJECT}"
PIECE = 16 * 1024

AWAY = httpx.ConnectError("Connection refused")

_FILE = re.compile(rf"{PREFIX}/models/(?P<id>[^/]+)/(?P<format>[^/]+)/file")


def weights_of(version: str, size: int = 300) -> bytes:
    """Bytes that stand for weights, others for each version."""
    return (hashlib.sha256(version.encode()).digest() * (size // 32 + 1))[:size]


def id_of(version: str) -> str:
    """The id of a model."""
    return f"00000000-0000-0000-0000-{hashlib.sha256(version.encode()).hexdigest()[:12]}"


def zipped(version: str, *, weights: bytes | None = None, size: int = 300, **keys: Any) -> bytes:
    """A model as the Loop sends it; `keys` replace keys of model.json, None removes one."""
    weights = weights_of(version, size) if weights is None else weights
    document = model_json(version, weights, **{"id": id_of(version), **keys})
    return zip_of({"model.json": json.dumps(document).encode(), "model.tflite": weights})


def zip_of(files: dict[str, bytes]) -> bytes:
    """A zip with these files, always the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


class ScriptedLoop:
    """See the module's docstring. Times are those of the event loop that asks."""

    def __init__(self) -> None:
        self.target: dict[str, str] | None = None
        self.models: list[dict[str, Any]] = []
        self.files: dict[tuple[str, str], bytes] = {}
        self.reports: list[dict[str, Any]] = []
        self.asked: list[tuple[float, str]] = []
        """When, and what: method and path."""
        self.away: Exception | Callable[[httpx.Request], httpx.Response] | None = None
        """How it answers every request, if not as a Loop does."""
        self.file_answer: Callable[[httpx.Request], httpx.Response] | None = None
        """How it answers for model files, if not with them."""
        self.tells_what_it_has = True
        """Whether it sends ETags and sizes, and knows ranges."""
        self.breaks_after: int | None = None
        """Bytes of a model after which the connection breaks."""
        self.seconds_per_piece = 0.0
        self.sent = 0
        """Bytes of models."""

    # ------------------------------------------------------------------ what people do in the Loop

    def publish(self, version: str, *formats: str, deploy: bool = True, **keys: Any) -> None:
        """A model that works, in these formats (litert where none is named)."""
        for form in formats or ("litert",):
            self.offer(version, zipped(version, format=form, **keys), form)
        if deploy:
            self.deploy(version)

    def offer(self, version: str, content: bytes, form: str = "litert") -> None:
        """Have these bytes as that version, in place of others."""
        self.files[id_of(version), form] = content
        self.list_model(version, form)

    def list_model(self, version: str, *formats: str) -> None:
        """Have a model, at first in no format."""
        listed = next((each for each in self.models if each["version"] == version), None)
        if listed is None:
            listed = {"id": id_of(version), "version": version, "formats": []}
            self.models.append(listed)
        listed["formats"] = sorted({*listed["formats"], *formats})

    def deploy(self, version: str) -> None:
        """Make it the deployment target."""
        self.target = {"model_uuid": id_of(version), "version": version}

    # ------------------------------------------------------------------ what was asked

    def count(self, what: str) -> int:
        """How often that was asked for: a part of method and path."""
        return sum(what in asked for _, asked in self.asked)

    def downloads(self, version: str) -> int:
        """How often the file of a version was asked for, in whatever format, to its end."""
        return self.count(f"GET {PREFIX}/models/{id_of(version)}/")

    # ------------------------------------------------------------------ answering

    def project(self, *, clock: Callable[[], float], files: FileSystem = FILE_SYSTEM) -> LoopProject:
        """As a device sees it."""
        client = LoopClient("loop.example", transport=httpx.MockTransport(self), now=clock, files=files)
        return client.project(ORGANIZATION, PROJECT)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        path = request.url.path
        self.asked.append((asyncio.get_running_loop().time(), f"{request.method} {path}"))
        if isinstance(self.away, Exception):
            raise self.away
        if self.away is not None:
            return self.away(request)
        file = _FILE.fullmatch(path)
        if file is not None:
            return self._file(request, (file["id"], file["format"]))
        if path == "/api/login":
            return httpx.Response(200, headers={"set-cookie": "session=1; Path=/"})
        if path == f"{PREFIX}/deployment/target" and self.target is not None:
            return httpx.Response(200, json=self.target)
        if path == f"{PREFIX}/models":
            return httpx.Response(200, json={"models": self.models})
        if path == f"{PREFIX}/detectors":
            self.reports.append(json.loads(body))
            return httpx.Response(200)
        return httpx.Response(404, json={"detail": "Not Found"})

    def _file(self, request: httpx.Request, key: tuple[str, str]) -> httpx.Response:
        if self.file_answer is not None:
            return self.file_answer(request)
        content = self.files.get(key)
        if content is None:
            return httpx.Response(404, json={"detail": "no such model, or not in this format"})
        name = {"content-disposition": 'attachment; filename="model.zip"'}
        if not self.tells_what_it_has:
            if request.method == "HEAD":
                return httpx.Response(405)
            return httpx.Response(200, headers=name, stream=self._sending(content))
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {**name, "etag": tag, "content-length": str(len(content))}
        if request.method == "HEAD":
            return httpx.Response(200, headers=headers)
        start = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        if start is None or request.headers.get("if-range") != tag:
            return httpx.Response(200, headers=headers, stream=self._sending(content))
        first = int(start[1])
        headers |= {
            "content-range": f"bytes {first}-{len(content) - 1}/{len(content)}",
            "content-length": str(len(content) - first),
        }
        return httpx.Response(206, headers=headers, stream=self._sending(content[first:]))

    def _sending(self, content: bytes) -> httpx.AsyncByteStream:
        loop = self

        class Sending(httpx.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                left = loop.breaks_after
                for start in range(0, len(content), PIECE):
                    piece = content[start : start + PIECE]
                    if left is not None and len(piece) > left:
                        loop.sent += left
                        yield piece[:left]
                        raise httpx.ReadError("Connection reset by peer")
                    left = None if left is None else left - len(piece)
                    await asyncio.sleep(loop.seconds_per_piece)
                    loop.sent += len(piece)
                    yield piece

        return Sending()


def folder_of_files(root: Path) -> dict[str, int]:
    """Every file below a folder: path -> bytes."""
    return {str(path.relative_to(root)): path.stat().st_size for path in sorted(root.rglob("*")) if path.is_file()}
