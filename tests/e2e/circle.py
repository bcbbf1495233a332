"""A Loop with a project, and a box that follows it: two processes with real ports, and what people do with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from appliance.cli.demo_project import seed_model_for
from tests.e2e.server_process import appliance_process, loop_process

SHOP = "/api/acme/projects/kitchens"
PATIENCE = 90.0


def wait_for(what: str, found: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """The first answer of `found` that is not empty."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"{what} did not come about within {seconds:g} s")


class Loop:
    """The embedded loop as a process, with one project, and what an operator does there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = loop_process(folder / "loop")
        self.http: httpx.Client

    def start(self) -> None:
        self.process.start()
        self.process.wait_until("/api/status")
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.process.port}", timeout=60.0, trust_env=False)

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self.http.request(method, path, **arguments)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def make_project(self, names: list[str]) -> None:
        categories = [{"name": name, "type": "box"} for name in names]
        self.ask("POST", "/api/acme/projects", json={"project_name": "kitchens", "categories": categories})

    def category_ids(self) -> dict[str, str]:
        return {each["name"]: each["id"] for each in self.ask("GET", SHOP)["categories"]}

    def zipped_model(self) -> bytes:
        folder = self.folder / f"zip-{time.monotonic_ns()}"
        folder.mkdir()
        return seed_model_for(self.category_ids(), folder).read_bytes()

    def add_model(self, model_format: str) -> str:
        """A new model as a zip in one format; its id."""
        before = {each["id"] for each in self.ask("GET", f"{SHOP}/models")["models"]}
        self.ask("POST", f"{SHOP}/{model_format}", files={"files": ("model.zip", self.zipped_model())})
        [new] = [each["id"] for each in self.ask("GET", f"{SHOP}/models")["models"] if each["id"] not in before]
        return str(new)

    def add_format(self, model_id: str, model_format: str) -> None:
        """What a converter does."""
        zipped = {"files": ("model.zip", self.zipped_model())}
        self.ask("PUT", f"{SHOP}/models/{model_id}/{model_format}/file", files=zipped)

    def deploy(self, model_id: str) -> None:
        self.ask("PUT", f"{SHOP}/deployment/target", json={"model_uuid": model_id})

    def images(self) -> list[dict[str, Any]]:
        ids = self.ask("GET", f"{SHOP}/data")["image_ids"]
        return list(self.ask("GET", f"{SHOP}/images", params={"ids": ",".join(ids)})["images"]) if ids else []

    def detector(self) -> dict[str, Any]:
        """The one detector's status, as the Loop shows it to people."""
        found = self.ask("GET", f"{SHOP}/detectors")["detectors"]
        return dict(found[0]) if found else {}


class Box:
    """The appliance as a process that follows the Loop; `environment` and `arguments` are added to its own."""

    def __init__(
        self, folder: Path, loop: Loop, environment: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
    ) -> None:
        self.data_folder = folder / "box"
        self.process = appliance_process(
            self.data_folder,
            environment={
                "LOOP_HOST": f"127.0.0.1:{loop.process.port}",
                "LOOP_ORGANIZATION": "acme",
                "LOOP_PROJECT": "kitchens",
                "MODEL_FORMAT": "litert",
                "NODE_NAME": "robot 7",
                "SYNC_CYCLES": "1",
                **(environment or {}),
            },
            arguments=arguments,
        )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.process.port}", timeout=60.0, trust_env=False)

    def detect(self, picture: bytes, **headers: str) -> dict[str, Any]:
        answer = self.http.post("/detect", files={"file": picture}, headers=headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def versions(self) -> dict[str, Any]:
        return dict(self.http.get("/model_version").json())

    def serves(self, version: str) -> bool:
        return bool(self.versions()["current_version"] == version)


@contextmanager
def a_loop(folder: Path) -> Iterator[Loop]:
    """A Loop that runs; its data lies in `folder`. It has to end cleanly."""
    loop = Loop(folder)
    try:
        loop.start()
        yield loop
        loop.http.close()
        loop.process.stop()
    finally:
        loop.process.kill()


@contextmanager
def a_box(folder: Path, loop: Loop, **other: Any) -> Iterator[Box]:
    """A box for that Loop, not started yet; `other` is for `Box`. Once it is started it has to end cleanly."""
    box = Box(folder, loop, **other)
    try:
        yield box
        box.http.close()
        box.process.stop()
    finally:
        box.process.kill()
