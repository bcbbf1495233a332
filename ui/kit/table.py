"""Rows of numbers under headings."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from ui.kit.words import Words


class Table(ui.element):
    """The first column names what a row is about, the others hold numbers. `caption` is heard by readers only.

    A row is changed in place where only its numbers change. On narrow screens the table scrolls, not the page.
    """

    def __init__(self, caption: str, columns: Sequence[str]) -> None:
        super().__init__("div")
        self.classes("table").props('tabindex="0" role="region"')
        self.props["aria-label"] = caption
        self._cells: list[list[Words]] = []
        with self, ui.element("table"):
            Words("caption", caption, "unseen")
            with ui.element("thead"), ui.element("tr"):
                for column in columns:
                    Words("th", column).props('scope="col"')
            self._body = ui.element("tbody")

    def show(self, rows: Sequence[Sequence[str]]) -> None:
        """Other rows, each with a text for every column."""
        if len(rows) != len(self._cells):
            self._body.clear()
            with self._body:
                self._cells = [_row(row) for row in rows]
            return
        for cells, row in zip(self._cells, rows, strict=True):
            for cell, text in zip(cells, row, strict=True):
                cell.text = text


def _row(row: Sequence[str]) -> list[Words]:
    with ui.element("tr"):
        first, *rest = row
        name = Words("th", first)
        name.props["scope"] = "row"
        return [name, *(Words("td", text) for text in rest)]
