"""A switch with two or three positions that shows a choice at once, and then what became of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass

from nicegui import events, ui


@dataclass(frozen=True)
class Option:
    """One position; `hint` says what it means once it is in force."""

    value: str
    label: str
    hint: str = ""


class ModeSwitch(ui.element, component="mode_switch.js"):
    """`on_choose` is given what was chosen, and returns a sentence where it could not be done: it is shown beside the
    switch, which then shows again what is in force (`show`).
    """

    def __init__(
        self, legend: str, options: Sequence[Option], on_choose: Callable[[str], Awaitable[str | None]]
    ) -> None:
        super().__init__()
        self._on_choose = on_choose
        self._revision = 0
        self.props.update(
            legend=legend,
            options=[asdict(option) for option in options],
            value="",
            revision=0,
            error="",
            name=f"mode-{self.id}",
        )
        self.on("choose", self._choose)

    @property
    def value(self) -> str:
        """What is in force, as far as this page was told."""
        return str(self.props["value"])

    def show(self, value: str) -> None:
        """What is in force."""
        if value != self.props["value"]:
            self.props["value"] = value
            self.update()

    async def _choose(self, event: events.GenericEventArguments) -> None:
        chosen = str(event.args)
        before = self.value
        self.props["error"] = ""
        error = await self._on_choose(chosen)
        self._revision += 1
        self.props["error"] = error or ""
        self.props["value"] = before if error else chosen
        self.props["revision"] = self._revision
        self.update()
