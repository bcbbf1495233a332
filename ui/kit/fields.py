"""Fields to fill in: native controls with a label, a hint, and a place for what is wrong with what was put in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from nicegui import events, ui

from ui.kit.control import Control
from ui.kit.states import Wrong
from ui.kit.words import Button, Words

LONGEST = 2000
"""Characters that a field takes."""


class Field(ui.element):
    """A label and a control; `value` is what stands in it. `on_change` is called with that whenever the visitor changes it.

    `kind`: `text`, `number`, `password`, `search`, or `select` with `options` (value, name for people). `autocomplete` tells
    password managers what it is for.
    """

    def __init__(
        self,
        label: str,
        value: str = "",
        *,
        kind: str = "text",
        hint: str = "",
        options: Sequence[tuple[str, str]] = (),
        on_change: Callable[[str], Any] | None = None,
        locked: bool = False,
        at_once: bool = False,
        autocomplete: str = "off",
    ) -> None:
        super().__init__("div")
        self.classes("field")
        self.value = value
        self._on_change = on_change
        with self:
            with ui.element("label") as words:
                Words("span", label)
            self._control = self._select(options, value) if kind == "select" else self._input(kind, autocomplete)
            self._control.props["id"] = f"field-{self.id}"
            words.props["for"] = f"field-{self.id}"
            self._hint = Words("p", hint, "small muted")
            if hint:
                self._hint.props["id"] = f"hint-{self.id}"
                self._control.props["aria-describedby"] = f"hint-{self.id}"
            self._hint.set_visibility(bool(hint))
            self.wrong = Wrong()
        self._control.props.set_bool("disabled", locked)
        event = "input" if at_once else "change"
        self._control.on(
            event, self._changed, js_handler="(e) => emit(e.target.value)", throttle=0.2 if at_once else 0.0
        )

    @property
    def hint(self) -> str:
        """What stands below; only a field that was made with a hint has one."""
        return str(self._hint.text)

    @hint.setter
    def hint(self, hint: str) -> None:
        self._hint.text = hint

    def focus(self) -> None:
        """Put the visitor's cursor there."""
        self._control.run_method("focus")

    def show(self, value: str) -> None:
        """Put something else into it."""
        self.value = value
        self._control.put(value)

    def _input(self, kind: str, autocomplete: str) -> Control:
        control = Control("input", self.value)
        control.props["type"] = kind
        control.props["maxlength"] = LONGEST
        control.props["autocomplete"] = autocomplete
        if kind == "number":
            control.props["step"] = "any"
        return control

    def _select(self, options: Sequence[tuple[str, str]], chosen: str) -> Control:
        with Control("select", chosen) as control:
            for value, name in options:
                Words("option", name).props["value"] = value
        return control

    async def _changed(self, event: events.GenericEventArguments) -> None:
        self.value = str(event.args)[:LONGEST]
        if self._on_change is not None:
            outcome = self._on_change(self.value)
            if outcome is not None:
                await outcome


class Form(ui.element):
    """Fields that are sent together, with its button (`deed`) or with Enter; fill it, then call `done`.

    Password managers fill in what belongs together. Does nothing while `on_send` runs.
    """

    def __init__(self, on_send: Callable[[], Awaitable[None]]) -> None:
        super().__init__("form")
        self._on_send = on_send
        self._busy = False
        self.classes("stack").props("novalidate")
        self.on("submit.prevent", self.send, args=[])

    def done(self, deed: str) -> Button:
        """The button at its end."""
        with self, ui.element("div").classes("actions"):
            return Button(deed, None, kind="primary")

    async def send(self) -> None:
        """What the button does."""
        if self._busy:
            return
        self._busy = True
        try:
            await self._on_send()
        finally:
            self._busy = False
