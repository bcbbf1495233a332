"""`appliance detect`: what a person sees, with a server and without."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from models.bundle import pack
from models.zoo import seed_folder
from tests.support.small_bundles import make_bundle
from tests.unit.appliance.cli.conftest import Shell

CUP = {"category_name": "cup", "model_name": "0.0", "confidence": 0.95, "x": 10, "y": 20, "width": 30, "height": 40}
ANSWER = {"box_detections": [CUP]}
ABOUT = {"model_info": {"version": "0.0", "categories": [{"name": "cup", "color": "#ff0000"}, {"name": "cat"}]}}


def picture(path: Path, width: int = 160, height: int = 120, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 128, np.uint8)).save(path, **options)
    return path


def answering(request: httpx.Request) -> httpx.Response:
    if request.url.path == "/about":
        return httpx.Response(200, json=ABOUT)
    if b"Exif" in request.content or b"\x89PNG" in request.content or b"JFIF" in request.content:
        return httpx.Response(200, json=ANSWER)
    return httpx.Response(422, json={"detail": "That is text, not a picture."})


class TestWithServer:
    def test_it_says_what_is_where(self, shell: Shell) -> None:
        shell.serve(answering)
        picture(shell.folder / "a.jpg")
        assert shell.ok("detect", "a.jpg").splitlines() == ["a.jpg: 1 found", "   95%  cup  at 10,20, 30 x 40"]

    def test_json_is_one_object_from_name_to_answer_and_a_bad_picture_does_not_keep_the_others(
        self, shell: Shell
    ) -> None:
        shell.serve(answering)
        picture(shell.folder / "a.jpg")
        (shell.folder / "b.jpg").write_text("hello")
        result = shell.run("detect", "a.jpg", "b.jpg", "c.jpg", shell.folder, "--json")
        assert result.exit_code == 1
        found = json.loads(result.stdout)
        assert list(found) == ["a.jpg", "b.jpg", "c.jpg", str(shell.folder)]
        assert found["a.jpg"]["box_detections"][0]["category_name"] == "cup"
        assert found["a.jpg"]["tags"] == []  # a whole ImageMetadata
        assert found["b.jpg"] == {"error": "That is text, not a picture."}
        assert found["c.jpg"] == {"error": "There is no such file."}
        assert "That is a folder" in found[str(shell.folder)]["error"]

    def test_without_json_a_bad_picture_is_told_on_stderr(self, shell: Shell) -> None:
        shell.serve(answering)
        picture(shell.folder / "a.jpg")
        result = shell.run("detect", "b.jpg", "a.jpg")
        assert (result.exit_code, result.stderr) == (1, "b.jpg: There is no such file.\n")
        assert "cup" in result.stdout

    def test_a_file_that_is_too_large_is_not_even_sent(self, shell: Shell) -> None:
        shell.serve(answering)
        (shell.folder / "a.jpg").write_bytes(b"\xff\xd8\xff" + bytes(2_000_000))
        assert "1 MiB" in shell.fails("detect", "a.jpg", MAX_IMAGE_MB="1")
        assert [request.url.path for request in shell.requests] == ["/about"]

    def test_a_drawn_picture_has_the_box_in_the_models_colour(self, shell: Shell) -> None:
        shell.serve(answering)
        picture(shell.folder / "a.jpg")
        assert "drawn into" in shell.ok("detect", "a.jpg", "--draw", "found.png")
        with Image.open(shell.folder / "found.png") as drawn:
            assert drawn.size == (160, 120)
            assert drawn.getpixel((10, 50)) == (255, 0, 0)

    def test_a_picture_is_drawn_into_as_it_is_displayed(self, shell: Shell) -> None:
        shell.serve(answering)
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by 90 degrees
        picture(shell.folder / "a.jpg", exif=exif)
        shell.ok("detect", "a.jpg", "--draw", "found.png")
        with Image.open(shell.folder / "found.png") as drawn:
            assert drawn.size == (120, 160)

    def test_several_pictures_are_drawn_into_a_folder_and_none_replaces_another(self, shell: Shell) -> None:
        shell.serve(answering)
        for path in ("one/a.jpg", "two/a.jpg", "two/b.PNG"):
            picture(shell.folder / path)
        shell.ok("detect", "one/a.jpg", "two/a.jpg", "two/b.PNG", "--draw", "found")
        assert sorted(path.name for path in (shell.folder / "found").iterdir()) == ["a-2.jpg", "a.jpg", "b.PNG"]

    def test_the_picture_itself_is_never_overwritten(self, shell: Shell) -> None:
        shell.serve(answering)
        before = picture(shell.folder / "a.jpg").read_bytes()
        assert "is the picture itself" in shell.fails("detect", "a.jpg", "--draw", ".")
        assert (shell.folder / "a.jpg").read_bytes() == before

    @pytest.mark.parametrize(
        ("out", "pictures", "told"),
        [("found.gif", ["a.jpg"], "must end with one of .jpg"), ("a.jpg", ["a.jpg", "a.jpg"], "must name a folder")],
    )
    def test_where_nothing_can_be_drawn_nothing_is_begun(
        self, shell: Shell, out: str, pictures: list[str], told: str
    ) -> None:
        shell.serve(answering)
        picture(shell.folder / "a.jpg")
        assert told in shell.fails("detect", *pictures, "--draw", out)
        assert shell.requests == []

    def test_progress_is_shown_beside_the_json_not_in_it(self, shell: Shell) -> None:
        shell.serve(answering)
        picture(shell.folder / "a.jpg")
        picture(shell.folder / "b.jpg")
        result = shell.run("detect", "a.jpg", "b.jpg", "--json")
        assert len(json.loads(result.stdout)) == 2
        assert "Looking" in result.stderr


class TestWithoutServer:
    def test_the_seed_model_sees_a_cup_of_coffee(self, shell: Shell) -> None:
        import skimage.data

        photograph = io.BytesIO()
        Image.fromarray(skimage.data.coffee()).save(photograph, "JPEG", quality=90)  # type: ignore[no-untyped-call]
        (shell.folder / "coffee.jpg").write_bytes(photograph.getvalue())
        (shell.folder / "text.jpg").write_text("hello")
        result = shell.run("detect", "text.jpg", "coffee.jpg", "--json")
        found = json.loads(result.stdout)
        best = max(found["coffee.jpg"]["box_detections"], key=lambda each: float(each["confidence"]))
        assert (best["category_name"], best["model_name"]) == ("cup", "0.0")
        assert abs(best["x"] - 170) < 30
        assert "text" in found["text.jpg"]["error"]
        assert result.exit_code == 1

    def test_a_bundle_is_tried_without_being_added(self, shell: Shell) -> None:
        pack(seed_folder(), shell.folder / "mine.zip")
        picture(shell.folder / "a.png")
        shell.ok("detect", "a.png", "--model", "mine.zip", RUNTIME="litert/cpu/1")
        assert not (shell.data / "models").exists()

    def test_a_model_that_cannot_run_here_is_told_in_words(self, shell: Shell) -> None:
        picture(shell.folder / "a.png")
        make_bundle(shell.folder / "mine")
        error = shell.fails("detect", "a.png", "--model", "mine")
        assert error.count("Error: ") == 1
        assert "model.tflite" in error

    def test_a_version_that_is_not_there_is_told(self, shell: Shell) -> None:
        picture(shell.folder / "a.png")
        assert "there are: 0.0" in shell.fails("detect", "a.png", "--model", "3.1")

    def test_a_data_folder_that_may_not_be_written_to_is_no_obstacle(self, shell: Shell) -> None:
        shell.data.write_text("a file where a folder should be")
        picture(shell.folder / "a.png")
        out = shell.ok("detect", "a.png", "--model", seed_folder(), RUNTIME="litert/cpu/1")
        assert "nothing found" in out

    def test_ctrl_c_ends_it_at_once_and_without_a_traceback(self, shell: Shell) -> None:
        picture(shell.folder / "a.png", 2000, 1500)  # so large that the signal finds it under way
        command = [sys.executable, "-m", "appliance", "detect", *["a.png"] * 10_000]
        environ = {**os.environ, **shell.environ, "RUNTIME": "litert/cpu/1"}
        with subprocess.Popen(
            command, cwd=shell.folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == "a.png: nothing found\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        assert process.returncode == 130
        assert errors.strip() == "Interrupted."
