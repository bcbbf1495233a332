"""The two pages that strangers see: to log in, and to set the first password of a box.

Plain HTML with one small script, for whoever is not let in gets no socket. What goes wrong is told where it was typed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path

from ui.kit import theme
from ui.kit.icons import svg

MIN_LENGTH = 8
"""Characters of a new password; the box has the last word."""


@dataclass(frozen=True)
class _Field:
    """One thing to type. `kind` is the input's type, `autocomplete` tells password managers what it is."""

    name: str
    label: str
    kind: str = "password"
    autocomplete: str = "off"
    hint: str = ""
    least: int = 0


_PASSWORD = _Field("password", "Password", autocomplete="current-password")
_CODE = _Field(
    "code", "One-time code", "text", hint="The first start of the box said it in its log. It looks like k7qf-m2xr."
)
_NEW = _Field(
    "password",
    "New password",
    autocomplete="new-password",
    hint=f"{MIN_LENGTH} characters or more.",
    least=MIN_LENGTH,
)
_AGAIN = _Field("again", "The same once more", autocomplete="new-password")


LEFT = {
    "out": "You are logged out.",
    "over": "You are not let in any more: your session is over, or your network is no longer trusted.",
}
"""Why somebody is here who was in before -> sentence."""


def login_page(name: str, wanted: str, nonce: str, left: str = "") -> str:
    """Where one logs in to the box called `name`, to get to the page `wanted`; `nonce` lets the script run.

    `left`: one of `LEFT`, where the visitor was in before.
    """
    return _page(
        name,
        nonce,
        title="Log in",
        said=LEFT.get(left, ""),
        sentence="Detection goes on without; to see pictures and change things, log in.",
        fields=(_PASSWORD,),
        deed="Log in",
        to="/api/v1/login",
        wanted=wanted,
        note="Forgot it? On the box itself <code>appliance password set</code> sets another one.",
    )


def left_page(name: str, nonce: str, why: str) -> str:
    """For who has logged out and is let in all the same; `why` says so as a sentence."""
    return _html(
        name,
        nonce,
        "Logged out",
        f"""<div class="card">
<p class="row muted">{svg("eye")}<span class="wrap">{escape(name)}</span></p>
<h1>Logged out</h1>
<p role="status">{escape(LEFT["out"])} {escape(why)}</p>
<a class="button" href="/">To the overview</a>
</div>""",
        "",
    )


def claim_page(name: str, wanted: str, nonce: str, needs_code: bool) -> str:
    """Where the first password is set; `needs_code` as the visitor is neither on the box nor in a trusted network."""
    note = "No code at hand? On the box itself <code>appliance password set</code> works without." if needs_code else ""
    return _page(
        name,
        nonce,
        title="Claim this box",
        sentence="Nobody has set a password yet, so other machines can change nothing. Whoever sets it has the box.",
        fields=(_CODE, _NEW, _AGAIN) if needs_code else (_NEW, _AGAIN),
        deed="Set the password",
        to="/api/v1/claim",
        wanted=wanted,
        note=note,
    )


def _page(
    name: str,
    nonce: str,
    *,
    title: str,
    sentence: str,
    said: str = "",
    fields: tuple[_Field, ...],
    deed: str,
    to: str,
    wanted: str,
    note: str,
) -> str:
    told = json.dumps({"to": to, "wanted": wanted}).replace("<", "\\u003c")
    shown = "\n".join(_field(each, first=each is fields[0]) for each in fields)
    form = f"""<form class="card" novalidate>
<p class="row muted">{svg("eye")}<span class="wrap">{escape(name)}</span></p>
<h1>{escape(title)}</h1>
{f'<p class="said" role="status">{escape(said)}</p>' if said else ""}
<p>{escape(sentence)}</p>
<input type="text" name="username" value="{escape(name)}" autocomplete="username" readonly hidden>
{shown}
<label class="row"><input type="checkbox" id="show"><span>Show what is typed</span></label>
<p class="wrong" id="wrong" role="alert"></p>
<button class="button primary" type="submit">{escape(deed)}</button>
{f'<p class="small muted">{note}</p>' if note else ""}
<noscript><p class="wrong">This page needs JavaScript.</p></noscript>
</form>"""
    return _html(name, nonce, title, form, f"const told = {told};\n{_script()}")


def _html(name: str, nonce: str, title: str, content: str, script: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · {escape(name)}</title>
<link rel="icon" href="/favicon.ico">
{theme.head(nonce)}
</head>
<body>
<main class="door">
{content}
</main>
{f'<script nonce="{nonce}">{script}</script>' if script else ""}
</body>
</html>
"""


def _field(field: _Field, *, first: bool) -> str:
    attributes = [f'id="{field.name}" name="{field.name}" type="{field.kind}" autocomplete="{field.autocomplete}"']
    attributes.append('required aria-describedby="wrong' + (f" {field.name}-hint" if field.hint else "") + '"')
    if field.least:
        attributes.append(f'minlength="{field.least}"')
    if field.kind == "text":
        attributes.append('autocapitalize="none" spellcheck="false"')
    if first:
        attributes.append("autofocus")
    hint = f'<p class="small muted" id="{field.name}-hint">{escape(field.hint)}</p>' if field.hint else ""
    return f"""<div class="field"><label for="{field.name}">{escape(field.label)}</label>
<input {" ".join(attributes)}>{hint}</div>"""


@lru_cache(maxsize=1)
def _script() -> str:
    return Path(__file__).with_name("login.js").read_text("utf-8")
