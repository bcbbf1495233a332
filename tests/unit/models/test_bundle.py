"""A model folder is opened only when it is complete, and its refusal says what to change."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle import Identity, complete, information, open_bundle, pack, read_document, unpack
from models.errors import BundleError
from tests.support.small_bundles import WEIGHTS, make_bundle, model_json


def written(folder: Path, document: object, **files: bytes) -> Path:
    """A folder with this model.json and `files`, in whose names a double underscore stands for a dot."""
    folder.mkdir()
    (folder / "model.json").write_text(document if isinstance(document, str) else json.dumps(document))
    for name, data in files.items():
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def refusal_of(folder: Path) -> str:
    with pytest.raises(BundleError) as failure:
        open_bundle(folder)
    return str(failure.value)


class TestAWholeBundle:
    def test_says_who_it_is_and_where_its_weights_lie(self, tmp_path: Path) -> None:
        bundle = open_bundle(make_bundle(tmp_path / "model"))
        assert bundle.identity == Identity("zauberzeug", "demo", "litert", "1.0")
        assert bundle.model_id == "00000000-0000-0000-0000-000000000011"
        assert bundle.model.inference is not None
        (spec,) = bundle.model.inference.weights
        assert bundle.weights_path(spec).read_bytes() == WEIGHTS
        assert bundle.weight_files == (tmp_path / "model" / "model.tflite",)

    def test_reports_itself_as_upstream_s_nodes_do(self, tmp_path: Path) -> None:
        said = information(open_bundle(make_bundle(tmp_path / "model"))).model_dump()
        categories = said.pop("categories")
        assert said == {
            "id": "00000000-0000-0000-0000-000000000011",
            "host": "loop.example",
            "organization": "zauberzeug",
            "project": "demo",
            "version": "1.0",
            "resolution": 320,
            "model_root_path": str(tmp_path / "model"),
            "model_size": "small",
            "conf_threshold": 0.4,
        }
        assert [(category["name"], category["type"]) for category in categories] == [
            ("screw", "box"),
            ("hole", "point"),
        ]

    def test_made_by_hand_without_any_name_still_reports_itself(self, tmp_path: Path) -> None:
        document = {"categories": [], "inference": {**model_json()["inference"], "class_indices": None}}
        bundle = open_bundle(written(tmp_path / "model", document, model__tflite=WEIGHTS))
        said = information(bundle)
        assert bundle.identity == Identity("", "", "", "")
        assert (said.host, said.organization, said.project, said.version) == ("unknown",) * 4
        assert said.resolution == 320, "the larger side of the input"

    def test_without_an_id_gets_one_that_is_the_same_tomorrow_and_in_every_format(self, tmp_path: Path) -> None:
        first = open_bundle(make_bundle(tmp_path / "first", id=None))
        same = open_bundle(make_bundle(tmp_path / "same", id=None, format="onnx"))
        other = open_bundle(make_bundle(tmp_path / "other", id=None, version="1.1"))
        assert first.model_id == same.model_id != other.model_id

    def test_may_share_one_weight_file_between_accelerators(self, tmp_path: Path) -> None:
        document = model_json()
        document["inference"]["weights"] *= 2
        bundle = open_bundle(written(tmp_path / "model", document, model__tflite=WEIGHTS))
        assert len(bundle.weight_files) == 1


class TestFingerprint:
    def test_equal_for_what_runs_equally(self, tmp_path: Path) -> None:
        first = make_bundle(tmp_path / "first")
        second = written(tmp_path / "second", json.dumps(model_json(), indent=4, sort_keys=True), model__tflite=WEIGHTS)
        assert open_bundle(first).fingerprint == open_bundle(second, verify_hashes=False).fingerprint

    @pytest.mark.parametrize("change", [{"conf_threshold": 0.5}, {"our_own": 1}, {"weights": b"other weights"}])
    def test_another_for_anything_else(self, tmp_path: Path, change: dict[str, Any]) -> None:
        first = open_bundle(make_bundle(tmp_path / "first"))
        assert open_bundle(make_bundle(tmp_path / "second", **change)).fingerprint != first.fingerprint

    def test_reads_the_weights_where_no_sha256_is_given(self, tmp_path: Path) -> None:
        document: dict[str, Any] = {"categories": []}
        first = open_bundle(written(tmp_path / "first", document, model__onnx=b"one"))
        second = open_bundle(written(tmp_path / "second", document, model__onnx=b"two"))
        assert first.fingerprint != second.fingerprint


class TestWhatIsWrongIsSaid:
    def test_no_model_json(self, tmp_path: Path) -> None:
        assert refusal_of(tmp_path).startswith("there is no model.json; a bundle is a folder of model.json and")

    def test_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "model").write_bytes(b"")
        assert refusal_of(tmp_path / "model") == "model.json cannot be read: Not a directory"

    @pytest.mark.parametrize("kind", ["link", "folder"])
    def test_model_json_that_is_no_file(self, tmp_path: Path, kind: str) -> None:
        if kind == "link":
            (tmp_path / "model.json").symlink_to("/dev/zero")
        else:
            (tmp_path / "model.json").mkdir()
        assert "model.json is no regular file" in refusal_of(tmp_path)

    def test_model_json_that_never_ends(self, tmp_path: Path) -> None:
        assert "longer than 8388608 bytes" in refusal_of(written(tmp_path / "model", " " * 9_000_000))

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("", "model.json is no valid JSON: Expecting value: line 1 column 1 (char 0)"),
            ("{", "model.json is no valid JSON: Expecting property name"),
            ("[1, 2]", "model.json should hold a JSON object, but holds [1, 2]"),
            ("null", "model.json should hold a JSON object, but holds null"),
            ("[" * 100_000, "model.json is nested too deeply"),
            ('{"score": NaN}', "model.json is no valid JSON: Out of range float values"),
            ('{"score": 1e999}', "model.json is no valid JSON: Out of range float values"),
            ('{"name": "\\ud800"}', "model.json is no valid JSON: 'utf-8' codec can't encode"),
        ],
    )
    def test_text_that_is_no_json_object(self, tmp_path: Path, text: str, sentence: str) -> None:
        assert refusal_of(written(tmp_path / "model", text)).startswith(sentence)

    def test_text_in_another_encoding(self, tmp_path: Path) -> None:
        (tmp_path / "model.json").write_bytes('{"name": "Größe"}'.encode("latin-1"))
        assert refusal_of(tmp_path) == "model.json is no UTF-8 text: invalid start byte at byte 12"

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"version": 1.0}, "in model.json, 'version' is 1.0, but it should be a valid string"),
            ({"id": ["a"]}, "in model.json, 'id' is [\"a\"], but it should be a valid string"),
            ({"resolution": "large"}, "in model.json, 'resolution' is \"large\", but it should be a valid integer"),
            ({"resolution": -1}, "in model.json, 'resolution' is -1, but it should be greater than 0"),
            ({"conf_threshold": 40}, "in model.json, 'conf_threshold' is 40, but it should be less than or equal to 1"),
            ({"categories": {"a": 1}}, "in model.json, 'categories' is {\"a\": 1}, but it should be a valid list"),
            (
                {"categories": [{"id": "1"}, {"name": "b"}]},
                "model.json lacks the key 'categories[0].name' (and 1 more)",
            ),
            (
                {"categories": [{"id": "1", "name": "a", "type": "blob"}]},
                "in model.json, 'categories[0].type' is \"blob\", but it should be 'box', 'point', 'segmentation' or "
                "'classification'",
            ),
            ({"categories": []}, "model.json contradicts itself: 2 class_indices for 0 categories"),
            (
                {"inference": {"version": 2}},
                "model.json has version 2 of 'inference', but this program understands only",
            ),
            ({"inference": {"version": "1"}}, "model.json has version \"1\" of 'inference', but this program"),
            ({"inference": {"version": True}}, "model.json has version true of 'inference', but this program"),
            ({"inference": {}}, "model.json lacks the key 'inference.head' (and 1 more)"),
            ({"inference": []}, "in model.json, 'inference' is [], but it should be a JSON object"),
            (
                {"inference": {"head": "x" * 99, "weights": []}},
                f"in model.json, 'inference.head' is \"{'x' * 56}…, but it should match pattern",
            ),
        ],
    )
    def test_wrong_keys(self, tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
        assert refusal_of(make_bundle(tmp_path / "model", **change)).startswith(sentence)

    @pytest.mark.parametrize("file", ["../model.tflite", "/etc/passwd", "..", "a/b.tflite", ".hidden", ""])
    def test_weights_outside_of_the_bundle(self, tmp_path: Path, file: str) -> None:
        document = model_json()
        document["inference"]["weights"][0]["file"] = file
        (tmp_path / "model.tflite").write_bytes(WEIGHTS)
        sentence = refusal_of(written(tmp_path / "model", document))
        assert f"'inference.weights[0].file' is {json.dumps(file)}, but it should match" in sentence

    def test_weights_that_are_not_there(self, tmp_path: Path) -> None:
        sentence = refusal_of(written(tmp_path / "model", model_json(), other__tflite=WEIGHTS))
        assert sentence == "the weight file 'model.tflite' that model.json names is not in the bundle"

    def test_weights_that_lead_elsewhere(self, tmp_path: Path) -> None:
        folder = written(tmp_path / "model", model_json())
        (tmp_path / "outside").write_bytes(WEIGHTS)
        (folder / "model.tflite").symlink_to(tmp_path / "outside")
        assert "'model.tflite' is no regular file" in refusal_of(folder)
        (folder / "model.tflite").unlink()
        os.mkfifo(folder / "model.tflite")
        assert "'model.tflite' is no regular file" in refusal_of(folder)

    def test_weights_with_a_flipped_bit(self, tmp_path: Path) -> None:
        folder = make_bundle(tmp_path / "model")
        (folder / "model.tflite").write_bytes(WEIGHTS[:-1] + b"!")
        assert refusal_of(folder).startswith("'model.tflite' is damaged or was exchanged: its sha256 begins ")
        assert open_bundle(folder, verify_hashes=False), "a listing does not read the weights"


class TestWithoutOurKey:
    """A zip as other converters make it: who it is stands there, how it runs does not."""

    @pytest.fixture
    def plain(self) -> dict[str, Any]:
        return {key: value for key, value in model_json().items() if key != "inference"}

    @pytest.mark.parametrize("name", ["best.tflite", "best.onnx"])
    def test_one_weight_file_is_enough(self, tmp_path: Path, plain: dict[str, Any], name: str) -> None:
        bundle = open_bundle(written(tmp_path / "model", plain, readme__txt=b"", **{name: b"w"}))
        assert bundle.model.inference is None
        assert bundle.weight_files == (tmp_path / "model" / name,)
        assert information(bundle).resolution == 320

    def test_null_counts_as_absent(self, tmp_path: Path, plain: dict[str, Any]) -> None:
        assert (
            open_bundle(written(tmp_path / "model", {**plain, "inference": None}, a__onnx=b"")).model.inference is None
        )

    def test_none_is_refused(self, tmp_path: Path, plain: dict[str, Any]) -> None:
        assert refusal_of(written(tmp_path / "model", plain, best__pt=b"w")) == (
            "model.json has no key 'inference' and there is no weight file to recognise a model from; expected one "
            ".tflite or .onnx file, or 'inference' with head and weights"
        )

    def test_two_are_refused(self, tmp_path: Path, plain: dict[str, Any]) -> None:
        sentence = refusal_of(written(tmp_path / "model", plain, a__tflite=b"", b__onnx=b""))
        assert "of 2 weight files (a.tflite, b.onnx) it must say which runs where" in sentence


class TestUnknownKeysSurvive:
    def test_from_folder_to_zip_to_folder(self, tmp_path: Path) -> None:
        document = model_json(trained_by={"name": "trainer-7", "epochs": [1, 2]}, note="größer")
        document["inference"]["our_future"] = {"a": None}
        document["inference"]["weights"][0]["input"]["gamma"] = 2.2
        pack(written(tmp_path / "model", document, model__tflite=WEIGHTS), tmp_path / "model.zip")
        unpack(tmp_path / "model.zip", tmp_path / "again")
        assert read_document(tmp_path / "again") == document
        assert open_bundle(tmp_path / "again").model.model_dump(exclude_unset=True) == document

    def test_when_the_upstream_keys_are_completed(self) -> None:
        document = model_json(note="größer", version="1.0", id=None)
        completed = complete(document, version="1.1", id="abc", host=None)
        assert completed == {**document, "version": "1.1", "id": "abc"}
        assert document["version"] == "1.0", "the one that was given is as it was"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(
    key=st.sampled_from(sorted(model_json())),
    inner=st.sampled_from(["", "head", "weights", "version"]),
    value=json_values,
)
def test_whatever_stands_under_a_key_it_is_opened_or_refused_with_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, key: str, inner: str, value: Any
) -> None:
    document = model_json()
    if key == "inference" and inner:
        document["inference"][inner] = value
    else:
        document[key] = value
    folder = written(tmp_path_factory.mktemp("any") / "model", document, model__tflite=WEIGHTS)
    try:
        bundle = open_bundle(folder)
    except BundleError as error:
        assert "\n" not in str(error)
    else:
        assert bundle.fingerprint
        assert information(bundle).model_dump_json()
