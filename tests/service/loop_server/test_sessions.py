"""Logging in over HTTP, as upstream's nodes, people and scripts do it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.loop_server.conftest import ADMIN, ELSEWHERE, USER
from tests.service.running_loop import RunningLoop


def test_a_login_is_a_form_and_its_cookie_opens_the_door_until_the_logout(loop: RunningLoop) -> None:
    ann = loop.client(ELSEWHERE)
    refused = ann.get("/api/users")
    assert refused.status_code == 401
    assert "Otherwise log in: by POST /api/login" in refused.json()["detail"]
    assert refused.headers["www-authenticate"] == 'Basic realm="loop"'

    login = ann.post("/api/login", data={"username": ADMIN[0], "password": ADMIN[1]})
    assert login.status_code == 200
    attributes = {part.strip().split("=")[0].lower() for part in login.headers["set-cookie"].split(";")[1:]}
    assert attributes == {"httponly", "max-age", "path", "samesite"}  # not Secure: this is plain http
    assert "; Path=/;" in login.headers["set-cookie"]
    assert [user["name"] for user in ann.get("/api/users").json()["users"]] == ["ann", "bob"]

    assert ann.post("/api/logout").status_code == 200
    assert ann.get("/api/users").status_code == 401


def test_over_https_the_cookie_stays_on_https(loop: RunningLoop) -> None:
    answer = loop.client(ELSEWHERE, base_url="https://localhost").post("/api/login", data={"username": ""})
    assert "; Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize("form", ["username=&password=", ""])
def test_a_detector_without_a_name_gets_a_cookie_that_opens_little(loop: RunningLoop, form: str) -> None:
    detector = loop.client(ELSEWHERE)
    answer = detector.post("/api/login", content=form, headers={"content-type": "application/x-www-form-urlencoded"})
    assert (answer.status_code, "set-cookie" in answer.headers) == (200, True)
    refused = detector.get("/api/users")
    assert refused.status_code == 403
    assert "A node that has logged in without a name may not do this" in refused.json()["detail"]


def test_a_wrong_password_is_401_and_sets_no_cookie(loop: RunningLoop) -> None:
    answer = loop.client(ELSEWHERE).post("/api/login", data={"username": "ann", "password": "wrong"})
    assert (answer.status_code, answer.json()) == (401, {"detail": "User name or password are wrong"})
    assert "set-cookie" not in answer.headers


def test_what_is_no_form_is_refused_in_words(loop: RunningLoop) -> None:
    for body in ('{"username": "ann"}', "a&b", "x=" + "y" * 5000, "&".join(f"a{n}=1" for n in range(20))):
        answer = loop.client(ELSEWHERE).post("/api/login", content=body)
        assert answer.status_code in (413, 422), body[:20]
        assert answer.json()["detail"]


def test_scripts_use_basic(loop: RunningLoop) -> None:
    script = loop.client(ELSEWHERE)
    assert script.get("/api/users", auth=ADMIN).status_code == 200
    assert script.get("/api/users", auth=(ADMIN[0], "wrong")).status_code == 401
    answer = script.get("/api/users", auth=USER)
    assert answer.status_code == 403
    assert "A user may not do this" in answer.json()["detail"]


def test_administrators_make_users_change_passwords_and_take_users_away(loop: RunningLoop) -> None:
    made = loop.http.post("/api/users", json={"name": "cleo", "password": "long enough", "role": "admin"})
    assert made.status_code == 200
    assert set(made.json()) == {"name", "role", "created"}
    cleo = loop.client(ELSEWHERE)
    assert cleo.post("/api/login", data={"username": "cleo", "password": "long enough"}).status_code == 200
    assert cleo.get("/api/users").status_code == 200
    again = loop.http.post("/api/users", json={"name": "cleo", "password": "long enough"})
    assert (again.status_code, again.json()["detail"]) == (409, "There is a user 'cleo' already; choose another name")
    assert loop.http.put("/api/users/cleo/password", json={"password": "even longer"}).status_code == 200
    assert cleo.get("/api/users").status_code == 401
    assert loop.http.delete("/api/users/cleo").status_code == 200
    assert loop.http.delete("/api/users/cleo").status_code == 404
    assert loop.http.post("/api/users", json={"name": "dan", "password": "short"}).status_code == 422


def test_sessions_survive_a_restart(tmp_path: Path) -> None:
    with RunningLoop(tmp_path, username=ADMIN[0], password=ADMIN[1]) as loop:
        ann = loop.client(ELSEWHERE)
        ann.post("/api/login", data={"username": ADMIN[0], "password": ADMIN[1]})
    with RunningLoop(tmp_path) as again:
        assert again.client(ELSEWHERE, cookies=ann.cookies).get("/api/users").status_code == 200


def test_a_first_start_without_a_user_says_the_password_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunningLoop(tmp_path) as loop:
        said = capsys.readouterr().out
        assert said.startswith("User 'admin' with password '")
        password = said.split("'")[3]
        assert loop.client(ELSEWHERE).get("/api/users", auth=("admin", password)).status_code == 200
    with RunningLoop(tmp_path):
        assert capsys.readouterr().out == ""


def test_pages_of_other_sites_and_other_names_are_turned_away(loop: RunningLoop) -> None:
    assert loop.http.get("/api/status", headers={"host": "evil.example"}).status_code == 403
    assert loop.http.post("/api/login", headers={"origin": "https://evil.example"}).status_code == 403


def test_the_description_needs_no_internet(loop: RunningLoop) -> None:
    page = loop.http.get("/docs")
    assert page.status_code == 200
    assert "https://" not in page.text.replace("https://fastapi", "")
