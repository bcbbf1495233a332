"""A project in a running loop, and models that somebody has made for it."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import httpx
from sqlalchemy import insert

from appliance.loop_server.tables import projects, written
from tests.service.running_loop import RunningLoop

NO_SUCH_ID = "00000000-0000-0000-0000-000000000000"


def zip_bytes(files: Mapping[str, bytes]) -> bytes:
    """A zip as people make them."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def model_zip(weights: bytes = b"weights", **keys: Any) -> bytes:
    """A small model as a zip; `keys` go into its model.json."""
    return zip_bytes({"model.json": json.dumps(keys).encode(), "weights.bin": weights})


def unzipped(data: bytes) -> dict[str, bytes]:
    """What is in a zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def described(data: bytes) -> dict[str, Any]:
    """The model.json in a zip."""
    found: dict[str, Any] = json.loads(unzipped(data)["model.json"])
    return found


_numbers = itertools.count(1)


class Shop:
    """An empty project of a loop, of the organization `workshop`."""

    def __init__(self, loop: RunningLoop, organization: str = "workshop") -> None:
        self.loop = loop
        self.organization, self.project = organization, f"parts{next(_numbers)}"
        project = self.project
        self.path = f"/api/{organization}/projects/{project}"
        values = {"organization": organization, "project": project, "created": written(loop.services.now())}

        def make(connection: Any) -> None:
            connection.execute(insert(projects).values(**values))

        loop.run(loop.services.database.write(make))

    @property
    def http(self) -> httpx.Client:
        """Asks from this machine, which may do everything."""
        return self.loop.http

    def upload(self, format: str = "litert", data: bytes | None = None, name: str = "model.zip") -> dict[str, Any]:
        """Upload a model of one's own; the answer."""
        answer = self.try_upload(format, model_zip() if data is None else data, name)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def try_upload(self, format: str, data: bytes, name: str = "model.zip") -> httpx.Response:
        """The same, however it ends."""
        return self.http.post(f"{self.path}/{format}", files={"files": (name, data)})

    def put(self, path: str, files: Mapping[str, bytes]) -> httpx.Response:
        """Files one by one, as trainers and converters send them."""
        parts = [("files", (name, content)) for name, content in files.items()]
        return self.http.put(f"{self.path}/{path}", files=parts)

    def download(self, model: Mapping[str, Any], format: str = "litert", **headers: str) -> httpx.Response:
        """The zip of a model."""
        return self.http.get(f"{self.path}/models/{model['id']}/{format}/file", headers=headers)

    def models(self, **query: str) -> list[dict[str, Any]]:
        """The list of models."""
        answer = self.http.get(f"{self.path}/models", params=query)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["models"]
        return found
