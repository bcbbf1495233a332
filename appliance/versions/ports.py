"""What keeping the model up to date needs of others: the Loop, and what brings models into service."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from models.bundle import Bundle
from models.wire.loop import DeploymentTarget, LoopModel

LONGEST_ETAG = 120
"""Characters that are remembered as they are."""


class ModelProbe(Protocol):
    """What a Loop says of a model's file without sending it: ETag (or date of change), and size in bytes."""

    @property
    def etag(self) -> str | None: ...

    @property
    def size(self) -> int | None: ...


class Download(Protocol):
    """A file that was downloaded to its end. `sha256` is hex, `size` bytes."""

    @property
    def size(self) -> int: ...

    @property
    def sha256(self) -> str: ...


class LoopModels(Protocol):
    """A project of a Loop, as far as models go; see `models.loop.client.LoopProject`. Raises `LoopError` in its kinds."""

    async def deployment_target(self) -> DeploymentTarget | None:
        """The model that shall serve; None where there is none."""

    async def models(self, model_format: str | None = None) -> list[LoopModel]:
        """Every model of the project."""

    async def probe_model(self, model_id: str, model_format: str) -> ModelProbe | None:
        """What there is to tell one state of a model's file from another. Raises `NotInLoop` where there is no file."""

    async def download_model(
        self,
        model_id: str,
        model_format: str,
        to: Path,
        *,
        max_bytes: int,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> Download:
        """Download into `to`, going on with what is there. Raises `NotInLoop`, `InputTooLarge`, `StorageRefused` too."""


class Served(Protocol):
    """A model in service, and how it fares; see `appliance.inference.serving.Serving`."""

    @property
    def bundle(self) -> Bundle: ...

    @property
    def answers(self) -> int: ...

    @property
    def deaths(self) -> int: ...

    @property
    def failed_starts(self) -> int: ...


class Serves(Protocol):
    """What brings a bundle into service; see `appliance.inference.supervisor.Supervisor`."""

    @property
    def serving(self) -> Served | None: ...

    async def load(self, bundle: Bundle, *, still_wanted: Callable[[], bool] = ...) -> object:
        """Serve this bundle. `still_wanted` is asked at the last moment; `ModelUpdating` is raised where it is not."""


def offer_of(probe: ModelProbe | None) -> str | None:
    """What tells one state of a model's file in the Loop from another, as one short text; None where nothing does."""
    if probe is None or (not probe.etag and probe.size is None):
        return None
    if not probe.etag:
        return f"size {probe.size}"
    short = len(probe.etag) <= LONGEST_ETAG
    return f"etag {probe.etag if short else hashlib.sha256(probe.etag.encode()).hexdigest()}"
