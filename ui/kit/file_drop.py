"""A place for a file: dropped, chosen, or taken with a phone's camera."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import events, ui
from nicegui.elements.upload import Upload


class FileDrop(ui.element, component="file_drop.js"):
    """Sends the file as a form to `url`, the same that programs use; errors in its answer are shown right here.

    `accept` as HTML has it; `camera` is the word on the button for a phone's camera, none where it makes no sense;
    `working` what the box does with it once it has it; `most` bytes. `on_done` is told whether it was taken.
    """

    def __init__(
        self,
        url: str,
        label: str,
        *,
        accept: str,
        hint: str = "",
        camera: str = "",
        working: str = "The box reads",
        field: str = "file",
        most: int = 0,
        on_done: Callable[[bool], Awaitable[None] | None] | None = None,
    ) -> None:
        super().__init__()
        self._on_done = on_done
        self.props.update(
            url=url, label=label, accept=accept, hint=hint, camera=camera, working=working, field=field, most=most
        )
        self.on("done", self._done)

    async def _done(self, event: events.GenericEventArguments) -> None:
        said: Any = event.args
        if self._on_done is None:
            return
        outcome = self._on_done(isinstance(said, dict) and said.get("good") is True)
        if outcome is not None:
            await outcome


class FileTaker(Upload, component="file_drop.js"):
    """Looks like `FileDrop`, but the file comes to this page: `on_file` is given its bytes."""

    def __init__(
        self,
        label: str,
        on_file: Callable[[bytes], Awaitable[None]],
        *,
        accept: str,
        hint: str = "",
        camera: str = "",
        working: str = "The box looks at",
        most: int = 0,
    ) -> None:
        async def take(event: events.UploadEventArguments) -> None:
            await on_file(await event.file.read())

        super().__init__(label=label, on_upload=take, auto_upload=True)
        self.props.update(accept=accept, hint=hint, camera=camera, working=working, field="file", most=most)
