"""A running server as a command sees it: REST on loopback."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from models.errors import DetectionUnavailable, DetectorApplianceError, InvalidInput, UnknownVersion

A = TypeVar("A", dict[str, Any], list[dict[str, Any]])

LONGEST_ANSWER_S = 60.0
"""Time-out of a request that is no upload, seconds; a detection waits 10 s in the queue at most."""

LONGEST_PAUSE_S = 600.0
"""Time-out of an upload: unpacking and checking a large model on a slow card takes its time."""

_KINDS: dict[int, type[DetectorApplianceError]] = {
    400: UnknownVersion,
    413: InvalidInput,
    422: InvalidInput,
    503: DetectionUnavailable,
}


class Server:
    """Talks to the server at `url`. Every method raises `DetectorApplianceError` with the server's own words."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url
        # a proxy that the environment names is for the world outside, not for this machine
        self._client = httpx.Client(base_url=url, transport=transport, trust_env=False, timeout=LONGEST_ANSWER_S)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def about(self) -> dict[str, Any]:
        """What the server says of itself and its model."""
        return self._object("GET", "/about")

    def is_ready(self) -> bool:
        """Whether it can detect by now."""
        try:
            return self._client.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def detect(self, picture: bytes, name: str) -> dict[str, Any]:
        """What is in a picture. It is not kept: looking at pictures by hand must not fill the outbox."""
        return self._object("POST", "/detect", files={"file": (name, picture)}, headers={"autoupload": "disabled"})

    def settings(self) -> list[dict[str, Any]]:
        """The settings in force over there, each with its value and origin."""
        return self._answer("GET", "/api/v1/settings", list)

    def doctor(self) -> list[dict[str, Any]]:
        """What is wrong over there, the worst first."""
        return self._answer("GET", "/api/v1/doctor", list)

    def support(self) -> bytes:
        """The support bundle of the box over there, a zip."""
        return self._request("GET", "/api/v1/support").content

    def models(self) -> dict[str, Any]:
        """The models over there: `{"models": [...], "broken": [...]}`."""
        return self._object("GET", "/api/v1/models")

    def add_model(self, path: Path, progress: Callable[[int], None]) -> dict[str, Any]:
        """Send a zip; `progress` is told the bytes as they go. Returns the model that it is."""
        with _Watched(path, progress) as file:
            return self._object(
                "POST",
                "/api/v1/models",
                files={"file": (path.name, file, "application/zip")},
                timeout=httpx.Timeout(LONGEST_ANSWER_S, read=LONGEST_PAUSE_S),
            )

    def remove_model(self, wanted: str) -> None:
        """Remove a version, or ORGANIZATION/PROJECT/[FORMAT/]VERSION."""
        *owner, version = wanted.split("/")
        params = dict(zip(("organization", "project", "format"), owner, strict=False))
        self._request("DELETE", f"/api/v1/models/{quote(version, safe='')}", params=params)

    def choose_version(self, wanted: str) -> None:
        """Ask for a version, `follow_loop` or `pause`; the change is carried out in the background."""
        self._request("PUT", "/model_version", content=wanted.encode())

    def wait_for_version(self, deadline: float, pause: Callable[[float], None] = time.sleep) -> dict[str, Any]:
        """Wait until the target serves, for `deadline` seconds after it was downloaded at most, and return `about`.

        Raises `DetectorApplianceError` with the reason where the change did not come about, or not now.
        """
        until = time.monotonic() + deadline
        while True:
            about = self.about()
            if about.get("error"):
                raise DetectorApplianceError(str(about["error"]))
            target, model = about.get("target_model"), about.get("model_info") or {}
            if target is None or target == model.get("version"):
                return about
            update = about.get("update") or {}
            if update.get("version") == target and update.get("state") in _LATER:
                raise DetectorApplianceError(f"{update.get('sentence')}. It is noted, and happens by itself.")
            if update.get("state") in _UNDER_WAY:  # as long as that takes: the box itself sees to it that it goes on
                until = time.monotonic() + deadline
            if about.get("operation_mode") == "detecting":
                raise DetectorApplianceError(
                    f"Version {target} will serve as soon as the operation mode is idle again; it is detecting now."
                )
            if time.monotonic() > until:
                raise DetectorApplianceError(
                    f"Version {target} was not loaded within {deadline:g} s; the log tells why."
                )
            pause(0.2)

    def ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Any request whose answer is an object. `options` as httpx has them."""
        return self._object(method, path, **options)

    def ask_if_there(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """Any request; None where what it names is not there (404)."""
        response = self._send(method, path, **options)
        return None if response.status_code == httpx.codes.NOT_FOUND else _checked(response)

    def pieces(self, path: str, params: Mapping[str, str]) -> Iterator[bytes]:
        """A long answer as it comes. One that is cut off raises `DetectorApplianceError`, too."""
        with self._reaching(), self._client.stream("GET", path, params=params) as response:
            if not response.is_success:
                response.read()
            yield from _checked(response).iter_raw()

    def _object(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        return self._answer(method, path, dict, **options)

    def _answer(self, method: str, path: str, kind: type[A], **options: Any) -> A:
        response = self._request(method, path, **options)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, kind):
            raise DetectorApplianceError(f"{self.url}{path} did not answer as an appliance does; is it one?")
        return answer

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return _checked(self._send(method, path, **options))

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._reaching():
            return self._client.request(method, path, **options)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise DetectorApplianceError(
                f"The server at {self.url} did not answer in time; its log may tell why."
            ) from error
        except httpx.RemoteProtocolError as error:
            raise DetectorApplianceError(f"The server at {self.url} broke off: {error}.") from error
        except httpx.TransportError as error:
            raise DetectorApplianceError(f"The server at {self.url} cannot be reached: {error}.") from error


_LATER = ("postponed", "waiting_for_format", "waiting_for_loop")
_UNDER_WAY = ("downloading", "verifying")
"""States of an update, as `GET /api/v1/update` tells them."""


class _Watched(io.FileIO):
    """A file that tells how many bytes were read from it."""

    def __init__(self, path: Path, progress: Callable[[int], None]) -> None:
        super().__init__(path)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        """As any file."""
        data = super().read(-1 if size is None else size) or b""
        self._progress(len(data))
        return data


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    raise _KINDS.get(response.status_code, DetectorApplianceError)(_words(response))


def _words(response: httpx.Response) -> str:
    """What the server says was wrong."""
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = None
    return detail if isinstance(detail, str) else f"The server answered {response.status_code}: {response.text[:200]}"
