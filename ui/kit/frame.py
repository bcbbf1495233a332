"""The page frame: where one is, where one can go, and the one sentence that holds on every page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from nicegui import ui

from ui.kit import theme
from ui.kit.icons import Icon, icon
from ui.kit.words import Words

THEMES = {"system": "System", "light": "Light", "dark": "Dark"}


@dataclass(frozen=True)
class Place:
    """A page to go to."""

    path: str
    name: str
    icon: Icon


class Frame:
    """What stays on top of a page: its parts are changed while it is open.

    The sentence holds numbers that change every second. So that readers are not told each of them, they hear of it in a
    place of its own, when it becomes better or worse.
    """

    def __init__(self, truth: ui.element, sentence: Words, severity: Words, heard: Words, corner: ui.element) -> None:
        self.corner = corner
        """For what belongs to the visitor, not to the page."""
        self._truth = truth
        self._sentence = sentence
        self._severity = severity
        self._heard = heard

    def say(self, sentence: str, severity: str) -> None:
        """The one sentence of truth, and how good it is: good, notice, warning or error."""
        self._sentence.text = sentence
        self._severity.text = {"good": "All is well: ", "notice": "", "warning": "Warning: ", "error": "Trouble: "}[
            severity
        ]
        if self._truth.props.get("data-severity") != severity:
            self._truth.props["data-severity"] = severity
            self._heard.text = self._severity.text + sentence


@contextmanager
def page_frame(title: str, here: str, places: Sequence[Place], *, product: str) -> Iterator[Frame]:
    """What is built inside becomes the page's content. `here` is the path of this page."""
    ui.page_title(f"{title} · {product}")
    theme.apply()
    with ui.element("div").classes("frame"):
        skip = Words("a", "To the content", "skip")
        skip.props["href"] = "#content"
        _navigation(here, places, product)
        with ui.element("header").classes("topline"):
            with ui.element("div").classes("truth").props('data-severity="notice"') as truth:
                ui.element("span").classes("dot").props('aria-hidden="true"')
                with Words("p"):
                    severity = Words("span", "", "unseen")
                    sentence = Words("span")
            heard = Words("p", "", "unseen").props('role="status" aria-live="polite"')
        content = ui.element("div").classes("content").props('id="content" tabindex="-1"')  # Quasar's page is `main`
        with ui.element("footer").classes("foot"):
            corner = ui.element("div")
            _theme_switch()
        with content:
            Words("h1", title, "unseen" if here == "/" else "")
            yield Frame(truth, sentence, severity, heard, corner)


def _navigation(here: str, places: Sequence[Place], product: str) -> None:
    with ui.element("nav").classes("nav").props('aria-label="Pages"'):
        with ui.element("div").classes("brand"):
            icon("eye")
            Words("span", product)
        with ui.element("ul"):
            for place in places:
                with ui.element("li"), ui.element("a") as link:
                    link.props["href"] = place.path
                    if place.path == here:
                        link.props["aria-current"] = "page"
                    icon(place.icon)
                    Words("span", place.name)


def _theme_switch() -> None:
    with ui.element("label").classes("theme"):
        Words("span", "Colours", "label")
        with ui.element("select").on("change", js_handler="(e) => window.chooseTheme(e.target.value)") as select:
            for value, name in THEMES.items():
                Words("option", name).props["value"] = value
        select.on(
            "vue:mounted",
            js_handler='(v) => { try { v.el.value = localStorage.getItem("theme") || "system" } catch {} }',
        )
