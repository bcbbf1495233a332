"""The sample package is installed as a user would install it, without a network, and found by its entry points alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models import heads, plugins, runtimes
from models.bundle import open_bundle
from models.bundle_format import WeightsSpec
from models.errors import BundleError, ModelFailed, OutputsImplausible
from models.heads.base import HeadContext
from models.runtimes.base import LoadedModel, Runtime
from tests.support.sample_packages import installed_into, make_importable

SAMPLE = Path(__file__).parent / "own_logic"
BUNDLE = SAMPLE / "bundle"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the sample."""
    return installed_into(tmp_path_factory.mktemp("site"), SAMPLE)


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample is installed for the time of one test."""
    make_importable(site, "colour_blobs", monkeypatch)


def the_weights() -> WeightsSpec:
    bundle = open_bundle(BUNDLE)
    assert bundle.model.inference is not None
    return bundle.model.inference.weights[0]


def the_runtime() -> Runtime:
    made: Runtime = plugins.find(runtimes.GROUP, runtimes.BUILT_IN, "colour_blobs")()
    return made


def the_model() -> LoadedModel:
    weights = the_weights()
    runtime = the_runtime()
    [choice] = runtime.choices(weights, cpu_threads=[1, 2])
    return runtime.load(BUNDLE / weights.file, weights, choice, cache=BUNDLE)


def scene() -> NDArray[np.uint8]:
    """On grey, a red rectangle, a blue disc, and a red dot that is too small to count."""
    picture = np.full((240, 320, 3), 128, np.uint8)
    picture[50:90, 20:120] = (220, 20, 40)
    picture[5:8, 5:8] = (220, 20, 40)
    cv2.circle(picture, (240, 120), 30, (20, 40, 200), -1)
    return picture


def context(min_score: float = 0.4) -> HeadContext:
    return HeadContext(320, 240, {}, {}, min_score, class_count=2)


@pytest.mark.usefixtures("installed")
def test_both_parts_stand_beside_the_built_in_ones() -> None:
    assert set(plugins.names(heads.GROUP, heads.BUILT_IN)) == {*heads.BUILT_IN, "blob_table"}
    assert set(plugins.names(runtimes.GROUP, runtimes.BUILT_IN)) == {*runtimes.BUILT_IN, "torch", "colour_blobs"}


@pytest.mark.usefixtures("installed")
def test_what_runs_is_what_was_installed(site: Path) -> None:
    part = plugins.find(heads.GROUP, heads.BUILT_IN, "blob_table")
    assert Path(sys.modules[part.__module__].__file__ or "").parent == site


def test_without_the_package_the_bundle_says_what_is_missing() -> None:
    inference = open_bundle(BUNDLE).model.inference
    assert inference is not None
    with pytest.raises(BundleError, match=r"no 'blob_table' in detector_appliance\.heads; known are anchor_free, "):
        heads.head(inference.head)
    with pytest.raises(
        BundleError, match=r"no 'colour_blobs' in detector_appliance\.runtimes; known are litert, onnx, torch"
    ):
        runtimes.runtime(inference.weights[0].runtime)


@pytest.mark.usefixtures("installed")
def test_the_bundle_sees_red_and_blue_things() -> None:
    found = heads.head("blob_table").decode(the_model().infer(scene()), context())
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes, [[20, 50, 120, 90], [210, 90, 271, 151]])
    assert found.classes.tolist() == [0, 1]
    np.testing.assert_allclose(found.scores, [1.0, np.pi / 4], atol=0.03)


@pytest.mark.usefixtures("installed")
def test_a_grey_picture_is_an_empty_answer_of_the_right_types() -> None:
    found = heads.head("blob_table").decode(the_model().infer(np.full((240, 320, 3), 128, np.uint8)), context())
    assert found.boxes is not None
    assert (found.boxes.shape, found.classes.shape, found.scores.shape) == ((0, 4), (0,), (0,))
    assert [array.dtype.name for array in (found.boxes, found.classes, found.scores)] == ["float32", "int64", "float32"]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    "weights", ["red", "{}", '{"colours": [{"hue": 7}], "smallest": 1}', '{"colours": [], "smallest": "x"}', None]
)
def test_weights_that_are_none_are_refused_with_a_sentence(weights: str | None, tmp_path: Path) -> None:
    spec = the_weights()
    if weights is not None:
        (tmp_path / spec.file).write_text(weights)
    runtime = the_runtime()
    [choice] = runtime.choices(spec, cpu_threads=[1])
    with pytest.raises(ModelFailed, match=r"colours\.json is no file of colours"):
        runtime.load(tmp_path / spec.file, spec, choice, cache=tmp_path)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("outputs", [[], [np.zeros((1, 3, 5))], [np.full((1, 1, 6), np.nan)]])
def test_outputs_of_another_model_are_refused_with_a_sentence(outputs: list[NDArray[Any]]) -> None:
    with pytest.raises(OutputsImplausible, match="Expected one output"):
        heads.head("blob_table").decode([output.astype(np.float32) for output in outputs], context())


def test_the_bundle_can_be_packed_as_the_readme_says(tmp_path: Path) -> None:
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    command = [sys.executable, "-m", "zipfile", "-c", "../colour-blobs.zip", "model.json", "colours.json"]
    subprocess.run(command, cwd=tmp_path / "bundle", check=True, timeout=60)
    with zipfile.ZipFile(tmp_path / "colour-blobs.zip") as archive:
        assert sorted(archive.namelist()) == sorted(path.name for path in BUNDLE.iterdir())
    assert " ".join(command[2:]) in (SAMPLE / "README.md").read_text(encoding="utf-8")
