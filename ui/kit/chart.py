"""A few values over the last minutes. Drawn by 60 lines of its own: the charting library that NiceGUI brings weighs a
megabyte, which a phone in the field would load first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nicegui import ui

Values = Sequence[float | None]
"""One for each moment, evenly apart, the newest last; None where nothing is known."""


class Chart(ui.element, component="chart.js"):
    """Lines, or with `stacked` areas that add up. `span` says in words how long ago the first value was; where the values
    are not of the last minutes, `show` is told what stands at both ends instead.

    `top` is where the scale ends; without it the scale fits what is shown, but ends at `least_top` or above.
    """

    def __init__(
        self,
        label: str,
        unit: str,
        span: str = "",
        *,
        stacked: bool = False,
        least_top: float = 1.0,
        top: float | None = None,
    ) -> None:
        super().__init__()
        self.props.update(label=label, unit=unit, span=span, series=[], ends=None)
        self.props.update(stacked=stacked, least_top=least_top, fixed_top=top or 0)

    def rename(self, label: str) -> None:
        """Another label."""
        if label != self.props["label"]:
            self.props["label"] = label
            self.update()

    def show(self, series: Mapping[str, Values], ends: tuple[str, str] | None = None) -> None:
        """Other values, by their names; `ends`: what the first and the last of them are of."""
        new = [
            {"name": name, "values": [None if value is None else round(value, 2) for value in values]}
            for name, values in series.items()
        ]
        if new != self.props["series"] or (ends and list(ends)) != self.props["ends"]:
            self.props.update(series=new, ends=ends and list(ends))
            self.update()
