"""A slider for a confidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import events, ui

from ui.kit.control import Control
from ui.kit.words import Words


class ConfidenceSlider(ui.element):
    """From 0 to 100 %; `on_change` is given the confidence, 0 to 1."""

    def __init__(self, label: str, least: float, on_change: Callable[[float], Any]) -> None:
        super().__init__("div")
        self.classes("field")
        self._on_change = on_change
        self.value = least
        with self:
            with ui.element("label") as words:
                Words("span", f"{label}: ")
                self._shown = Words("span", f"{least:.0%}", "number")
            self._input = Control("input", str(round(100 * least))).props('type="range" min="0" max="100" step="1"')
            self._input.props["id"] = f"slider-{self.id}"
            words.props["for"] = f"slider-{self.id}"
            self._input.on("input", self._moved, js_handler="(e) => emit(e.target.value)", throttle=0.08)

    def _moved(self, event: events.GenericEventArguments) -> None:
        try:
            self.value = min(max(float(event.args) / 100, 0.0), 1.0)
        except (TypeError, ValueError):
            return
        self._shown.text = f"{self.value:.0%}"
        self._on_change(self.value)
