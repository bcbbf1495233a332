"""The command `trainer-companion`, as people use it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from models.bundle import open_bundle, unpack
from models.errors import ModelFailed
from networks import bundles
from tests.support import little_memory
from tests.support.coco_folders import write_squares
from trainer_companion import job
from trainer_companion.cli import main
from trainer_companion.launching import Training
from trainer_companion.progress import Done, Event


def tiny(pictures: Path, out: Path, *more: str) -> list[str]:
    """Train 64-pixel pictures in one process."""
    sizes = ["--set", "resolution=64", "--set", "max_batch_size=6"]
    return ["train", "--coco", str(pictures), "--out", str(out), "--processes", "1", *sizes, *more]


def test_a_folder_becomes_a_zip_and_the_zip_a_base_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    squares = write_squares(tmp_path / "set", 32)
    out = tmp_path / "out"
    assert main(tiny(squares, out, "--variant", "edge-residual-128", "--epochs", "2")) == 0
    said = capsys.readouterr().out
    assert "mAP50 0." in said
    assert "red" in said and "found" in said
    assert [path.name for path in out.iterdir()] == ["edge-residual-128.zip"]
    unpack(out / "edge-residual-128.zip", tmp_path / "unpacked")
    bundle = open_bundle(tmp_path / "unpacked")
    assert bundles.read(bundle).class_count == 2
    assert [category.name for category in bundle.model.categories] == ["red", "blue"]

    assert main(tiny(squares, tmp_path / "next", "--base", str(out / "edge-residual-128.zip"), "--epochs", "1")) == 0
    heard = capsys.readouterr()
    assert "tensors of the base model fit" in heard.err
    assert [path.name for path in (tmp_path / "next").iterdir()] == ["model.zip"]


@pytest.mark.slow
def test_a_team_that_runs_out_of_memory_is_started_again_with_half_the_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two processes has too little memory: neither can go on alone, so both are started again."""
    monkeypatch.setattr(job, "MODULE", little_memory.__name__)
    squares = write_squares(tmp_path / "set", 16)
    out = tmp_path / "out"
    assert main(tiny(squares, out, "--variant", "edge-residual-128", "--epochs", "1", "--processes", "2")) == 0
    heard = capsys.readouterr()
    assert "Out of memory with 6 pictures a step; started again, the training goes on with 3." in heard.err
    assert [line.split(", ")[2] for line in heard.out.splitlines() if "2 process(es) on cpu" in line] == [
        "6 pictures a step and process; 12 pictures to learn from",
        "3 pictures a step and process; 12 pictures to learn from",
    ]
    unpack(out / "edge-residual-128.zip", tmp_path / "unpacked")
    assert bundles.read(open_bundle(tmp_path / "unpacked")).class_count == 2


@pytest.mark.parametrize(
    ("more", "status", "sentence"),
    [
        pytest.param(["--variant", "vgg"], 1, "no variant 'vgg'; known are edge-residual-128", id="variant"),
        pytest.param(["--set", "lr=3"], 1, "no hyperparameter 'lr'", id="hyperparameter"),
        pytest.param(["--set", "epochs"], 2, "NAME=VALUE", id="no value"),
        pytest.param(["--set", "minutes=1", "--epochs", "2"], 1, "contradict", id="contradiction"),
        pytest.param(["--base", "nowhere.zip"], 1, "no base model nowhere.zip", id="no base model"),
        pytest.param(["--minutes", "0"], 2, "minutes", id="no time"),
        pytest.param(["--minutes", "inf"], 2, "inf is no amount", id="for ever"),
        pytest.param(["--vram-limit-gb", "nan"], 2, "nan is no amount", id="no amount"),
        pytest.param(["--vram-limit-gb", "-1"], 2, "-1.0 is not in the range", id="less than nothing"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], status: int, sentence: str
) -> None:
    squares = write_squares(tmp_path / "set", 4)
    assert main(tiny(squares, tmp_path / "out", *more)) == status
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out" / "training" / "job.json").exists()


@pytest.mark.parametrize(
    ("variable", "more", "expected"),
    [
        pytest.param(None, [], None, id="nothing said"),
        pytest.param("7.5", [], 7.5, id="the variable of the node"),
        pytest.param("7.5", ["--vram-limit-gb", "3"], 3.0, id="the option wins"),
        pytest.param("7.5", ["--vram-limit-gb", "0"], None, id="all"),
    ],
)
def test_how_much_of_a_graphics_card_may_be_used_reaches_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, more: list[str], expected: float | None
) -> None:
    asked: list[float | None] = []

    def trained(training: Training, heard: Callable[[Event], None]) -> Done:
        del training, heard
        asked.append(job.read(tmp_path / "out" / "training").vram_limit_gb)
        raise ModelFailed("enough")

    monkeypatch.setattr(Training, "run", trained)
    if variable is None:
        monkeypatch.delenv("VRAM_LIMIT_GB", raising=False)
    else:
        monkeypatch.setenv("VRAM_LIMIT_GB", variable)
    squares = write_squares(tmp_path / "set", 4)
    assert main(tiny(squares, tmp_path / "out", *more)) == 1
    assert asked == [expected]


def test_a_folder_without_pictures_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "annotations.json").write_text(json.dumps({"images": [], "categories": [{"id": 1, "name": "a"}]}))
    assert main(tiny(tmp_path, tmp_path / "out")) == 1
    assert "no pictures" in capsys.readouterr().err


def test_hyperparameters_and_variants_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hyperparameters"]) == 0
    assert "learning_rate" in capsys.readouterr().out
    assert main(["variants"]) == 0
    said = capsys.readouterr().out
    assert "edge-residual-128" in said
    assert "edge-mobilenet-320" in said
