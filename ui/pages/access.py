"""Who may come in: the card of the settings in which logins are seen and ended, and the password is set."""

from __future__ import annotations

from nicegui import ui

from models.errors import DetectorApplianceError, InvalidInput
from ui.kit.dialogs import confirmed
from ui.kit.fields import Field, Form
from ui.kit.following import follow
from ui.kit.states import Wrong, banner
from ui.kit.words import Button, Words, chip, heading, paragraph
from ui.pages.leaving import log_out
from ui.pages.places import Page
from ui.ports import AccessView, Box, SessionRow, Standing

NOBODY = "Nobody has set a password yet: from other machines nobody can log in. Whoever sets it has the box."
CLAIMED = "The box has a password. Whoever knows it can log in, from anywhere."


class AccessCards:
    """The two cards for one visitor; build them inside a grid."""

    def __init__(self, box: Box, around: Page) -> None:
        self._access = box.access
        self._name = box.name
        self._visitor = around.visitor
        self._around = around
        self._shown: tuple[AccessView, Standing] | None = None

    async def build(self) -> None:
        """Show who is here, and follow it."""
        with ui.element("div").classes("card"):
            heading("Who is here", 3)
            self._why = paragraph()
            self._list = ui.element("ul").classes("stack")
            self._others = ui.element("div").classes("actions")
            with self._others:
                Button("End all others", self._end_others, kind="danger")
            self._wrong = Wrong()
        with ui.element("div").classes("card"):
            heading("Password", 3)
            self._problem = ui.element("div")
            self._problem.set_visibility(False)
            self._claimed = paragraph()
            self._build_form()
        await follow(self._access.feed, self._show)

    def _build_form(self) -> None:
        least = self._access.least
        with Form(self._set) as form:
            # Password managers want to know whose password it is.
            user = ui.element("input").props('type="text" name="username" autocomplete="username" readonly hidden')
            user.props["value"] = self._name
            self._current = Field("Current password", kind="password", autocomplete="current-password")
            self._new = Field(
                "New password",
                kind="password",
                autocomplete="new-password",
                hint=f"{least} characters or more; a few words are easy to keep and hard to guess.",
            )
            self._again = Field("The same once more", kind="password", autocomplete="new-password")
        self._deed = form.done("Change the password")

    # ------------------------------------------------------------------ what is shown

    def _show(self, view: AccessView) -> None:
        standing = self._visitor.standing()
        if (view, standing) == self._shown:
            return
        before = self._shown
        self._shown = (view, standing)
        self._why.text = standing.sentence
        self._claimed.text = CLAIMED if view.claimed else NOBODY
        self._claimed.set_visibility(view.problem is None)
        self._current.set_visibility(standing.needs_current)
        self._deed.text = "Change the password" if view.claimed else "Set the password"
        self._others.set_visibility(any(each.id != standing.session for each in view.sessions))
        if before is None or before[0].problem != view.problem:
            self._problem.clear()
            self._problem.set_visibility(view.problem is not None)
            if view.problem is not None:
                with self._problem, banner("warning", view.problem):
                    pass
        if before is None or (before[0].sessions, before[1].session) != (view.sessions, standing.session):
            self._show_sessions(view.sessions, standing.session)

    def _show_sessions(self, sessions: tuple[SessionRow, ...], own: str | None) -> None:
        self._list.clear()
        with self._list:
            for each in sessions:
                with ui.element("li").classes("row between"):
                    with ui.element("div").classes("stack").style("gap: 0; flex: 1 1 180px"):
                        with ui.element("span").classes("row"):
                            Words("span", f"{each.browser}, {each.address}", "wrap")
                            if each.id == own:
                                chip("this one", "good")
                        Words("span", f"since {each.since}, seen {each.seen}", "small muted")
                    if each.id == own:
                        log_out("quiet")
                    else:
                        Button(
                            "End",
                            lambda session=each: self._end(session),
                            kind="quiet danger",
                            about=f"the session of {each.browser} at {each.address}",
                        )
            if not sessions:
                Words("li", "Nobody is logged in.", "muted")

    # ------------------------------------------------------------------ what can be done

    async def _end(self, session: SessionRow) -> None:
        if await confirmed(
            f"End the session of {session.browser} at {session.address}?",
            "Its open pages close, and it has to log in again.",
            yes="End it",
        ):
            try:
                await self._access.end(session.id)
            except DetectorApplianceError as error:
                self._wrong.say(str(error))
                return
            self._wrong.say("")
            self._around.snackbar.say("The session has ended.")

    async def _end_others(self) -> None:
        if await confirmed(
            "End all other sessions?", "Their open pages close, and they have to log in again.", yes="End them"
        ):
            try:
                ended = await self._visitor.end_others()
            except DetectorApplianceError as error:
                self._wrong.say(str(error))
                return
            self._wrong.say("")
            self._around.snackbar.say(f"{_sessions(ended)} ended.")

    async def _set(self) -> None:
        if not self._is_complete():
            return
        claimed = self._shown is not None and self._shown[0].claimed
        try:
            ended = await self._visitor.set_password(self._new.value, self._current.value)
        except InvalidInput as error:
            self._new.wrong.say(str(error))
        except DetectorApplianceError as error:
            (self._current if self._current.visible else self._new).wrong.say(str(error))
        else:
            for each in (self._current, self._new, self._again):
                each.show("")
            said = "The password is changed." if claimed else "The password is set."
            self._around.snackbar.say(f"{said} {_sessions(ended)} ended." if ended else said)

    def _is_complete(self) -> bool:
        """Whether what was typed can be sent; else it is said where it has to be corrected."""
        least = self._access.least
        self._current.wrong.say(
            "This is empty: the password that holds now is due."
            if self._current.visible and not self._current.value
            else ""
        )
        self._new.wrong.say("" if len(self._new.value) >= least else f"{least} characters or more are due.")
        self._again.wrong.say(
            "" if self._again.value == self._new.value else "The two are not the same: type the new one here again."
        )
        return not any(each.wrong.text for each in (self._current, self._new, self._again))


def _sessions(count: int) -> str:
    return "One other session has" if count == 1 else f"{count} other sessions have"
