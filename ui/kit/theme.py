"""How every page looks: colours, type and spacing in `theme.css`, light or dark as the browser likes it or as switched."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from nicegui import ui

_EARLY = """
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    let wish = null;
    try { wish = localStorage.getItem("theme"); } catch { /* a browser that keeps nothing: as the system likes it */ }
    document.documentElement.dataset.theme = wish === "dark" || wish === "light" ? wish : system.matches ? "dark" : "light";
  };
  apply();
  system.addEventListener("change", apply);
  window.addEventListener("storage", apply);
  window.chooseTheme = (wish) => {
    try { wish === "system" ? localStorage.removeItem("theme") : localStorage.setItem("theme", wish); } catch { /* as above */ }
    apply();
  };
})();
"""
"""Runs before anything is painted, so that no page flashes in the wrong colours."""


def apply() -> None:
    """Give the page that is being built its look."""
    ui.add_head_html(head())


def head(nonce: str = "") -> str:
    """The same as HTML, for a page that is none of NiceGUI's; `nonce` is that of its content security policy."""
    opening = f'<script nonce="{nonce}">' if nonce else "<script>"
    return f"{opening}{_EARLY}</script><style>{_css()}</style>"


@lru_cache(maxsize=1)
def _css() -> str:
    folder = Path(__file__).parent
    return "\n".join((folder / name).read_text("utf-8") for name in ("theme.css", "components.css"))
