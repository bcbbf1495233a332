"""Logging out. What keeps a session is a cookie that no script sees, so the browser asks the box as any program would."""

from __future__ import annotations

from nicegui import ui

from ui.kit.icons import icon
from ui.kit.words import Words

LOGOUT = "/api/v1/logout"

_LEAVE = f"""async (e) => {{
  const button = e.currentTarget;
  button.disabled = true;
  try {{
    const answer = await fetch("{LOGOUT}", {{ method: "POST" }});
    if (answer.ok) return location.replace("/login?left=out");
  }} catch {{}}
  button.disabled = false;
}}"""


def log_out(kind: str) -> ui.element:
    """The button. Where the box does not answer nothing has happened, and it can be pressed again."""
    with ui.element("button").classes(f"button {kind}").props('type="button"') as made:
        icon("leave")
        Words("span", "Log out")
    made.on("click", js_handler=_LEAVE)
    return made
