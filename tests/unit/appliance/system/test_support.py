"""What is told to others holds no secret, in whatever form."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from appliance.settings import Settings
from appliance.system.findings import Finding
from appliance.system.masking import MASK, Masker, secrets_of
from appliance.system.support import packed

PASSWORD = 'p"ä ss/&word\\1'
KEY = "da_" + "k" * 43


def settings(folder: Path) -> Settings:
    return Settings(data_folder=folder, loop_host="loop.example", loop_username="anna", loop_password=PASSWORD)


@pytest.mark.parametrize(
    "text",
    [
        f"login with {PASSWORD} failed",
        json.dumps({"body": PASSWORD}),
        "GET /api?password=p%22%C3%A4%20ss%2F%26word%5C1",
        "body: p%22%C3%A4+ss%2F%26word%5C1",
    ],
)
def test_a_secret_is_taken_out_in_each_form_that_it_has(tmp_path: Path, text: str) -> None:
    masked = Masker(secrets_of(settings(tmp_path))).text(text)

    assert MASK in masked
    assert "word" not in masked.replace("password", "")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"refused {KEY} from 192.168.4.7", KEY),
        ("proxy http://anna:hush@proxy.example:3128", "hush"),
        ("Authorization: Bearer abc.def", "abc.def"),
        ('{"cookie": "session=abcdef"}', "abcdef"),
        ("X-API-Key=abcdef", "abcdef"),
        ("$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", "aGFzaA"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_though_nobody_knows_it(text: str, secret: str) -> None:
    assert secret not in Masker(()).text(text)


def test_the_rest_stays(tmp_path: Path) -> None:
    text = "2026-11-22 INFO appliance.outbox: sent 12 pictures to loop.example"

    assert Masker(secrets_of(settings(tmp_path))).text(text) == text


def test_a_secret_in_another_secret_leaves_nothing_of_it() -> None:
    assert Masker(["abc", "abcdef"]).text("abcdef abc") == f"{MASK} {MASK}"


def test_a_bundle_is_a_zip_of_what_one_asks_for_and_masked_throughout(tmp_path: Path) -> None:
    found = [Finding("loop_login", "error", f"The Loop does not like {PASSWORD}.", f"Not {KEY}.")]

    data = packed(settings(tmp_path), found, {"about.json": {PASSWORD: [1, PASSWORD]}}, {"log.txt": f"so {PASSWORD}"})

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(files) == {
        "README.txt", "settings.json", "doctor.json", "system.json", "versions.json", "about.json", "log.txt",
    }  # fmt: skip
    for name, text in files.items():
        for secret in (PASSWORD, json.dumps(PASSWORD)[1:-1], KEY):
            assert secret not in text, name
    shown = {row["name"]: row["value"] for row in json.loads(files["settings.json"])}
    assert shown["loop_host"] == "loop.example"
    assert shown["loop_password"] == MASK
    assert json.loads(files["doctor.json"])[0]["code"] == "loop_login"
    assert json.loads(files["about.json"]) == {MASK: [1, MASK]}
