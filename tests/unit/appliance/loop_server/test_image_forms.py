"""Which picture belongs to which JSON, whatever the sender's era calls them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.loop_server import image_forms
from appliance.loop_server.image_forms import FormFile, pairs, read_form
from models.errors import ImageUnreadable, InvalidInput
from models.images import DEFAULT_LIMITS, ImageLimits
from tests.service.loop_server.pictures import jpeg, metadata


def files(*names: str) -> list[FormFile]:
    """Files whose content is their place in the form."""
    return [FormFile(name, str(place).encode()) for place, name in enumerate(names)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.json", "a.jpg"], [("a", 1, 0)]),
        (["a.jpg", "a.json"], [("a", 0, 1)]),
        (["a.json", "b.json", "b.jpg", "a.jpg"], [("b", 2, 1), ("a", 3, 0)]),
        (["image_12%3A34.json", "image_12:34.jpg"], [("image_12:34", 1, 0)]),
        (["image_1.5.json", "image_1.5.jpg"], [("image_1.5", 1, 0)]),
        (["/tmp/x/a.json", "C:\\x\\a.JPG"], [("a", 1, 0)]),
        (["a.json", "a"], [("a", 1, 0)]),
        (["a.json", "a.png"], [("a", 1, 0)]),
        (["image.json", "image.json", "image.jpg", "image.jpg"], [("image", 2, 0), ("image", 3, 1)]),
        (["image.json", "image.jpg", "image.json", "image.jpg"], [("image", 1, 0), ("image", 3, 2)]),
        (["x.json", "x.json", "a.jpg", "b.jpg"], [("a", 2, 0), ("b", 3, 1)]),
        (["%E2%82%AC.json", "€.jpg"], [("€", 1, 0)]),
        ([], []),
    ],
)
def test_pairs(names: list[str], expected: list[tuple[str, int, int]]) -> None:
    assert pairs(files(*names)) == [(name, str(one).encode(), str(two).encode()) for name, one, two in expected]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a.jpg"], "The picture 'a' has no a.json beside it"),
        (["a.json"], "a.json has no picture beside it"),
        (["a.json", "b.jpg"], "The picture 'b' has no b.json beside it"),
        (["image.json", "image.jpg", "image.jpg"], "There are 2 pictures and 1 JSON files"),
        (["image.json", "image.json"], "There are 0 pictures and 2 JSON files"),
        ([".json", ".jpg"], "cannot be the name of a picture"),
        (["a%00.json", "a%00.jpg"], "cannot be the name of a picture"),
        (["a\n.json", "a\n.jpg"], "cannot be the name of a picture"),
        (["x" * 256 + ".json"], "cannot be the name of a picture"),
    ],
)
def test_what_does_not_belong_together_is_refused(names: list[str], words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        pairs(files(*names))
    assert words in str(refused.value)


@given(st.lists(st.text(min_size=1, max_size=20), unique=True, max_size=8), st.randoms(use_true_random=False))
def test_pairs_survive_any_order(stems: list[str], dice: object) -> None:
    names = [f"n{number}{extension}" for number, _ in enumerate(stems) for extension in (".json", ".jpg")]
    dice.shuffle(names)  # type: ignore[attr-defined]
    for name, picture, described in pairs([FormFile(each, each.encode()) for each in names]):
        assert (picture, described) == (f"{name}.jpg".encode(), f"{name}.json".encode())


@given(st.lists(st.text(max_size=30), max_size=6))
def test_whatever_files_are_called_they_are_paired_or_refused(names: list[str]) -> None:
    try:
        found = pairs(files(*names))
    except InvalidInput:
        return
    assert 2 * len(found) == len(names)


def form(picture: bytes, described: bytes) -> list[FormFile]:
    return [FormFile("image_1.json", described), FormFile("image_1.jpg", picture)]


def test_a_picture_is_read_with_its_metadata() -> None:
    [found] = read_form(form(jpeg(1, 40, 30), metadata(tags=["a"], state="review", mine=1)), DEFAULT_LIMITS)
    assert (found.name, found.header.width, found.header.height) == ("image_1", 40, 30)
    assert (found.state, found.metadata.tags, found.extras) == ("review", ["a"], {"mine": 1})
    assert read_form(form(jpeg(1), metadata(state=None)), DEFAULT_LIMITS)[0].state == "inbox"


@pytest.mark.parametrize(
    ("picture", "described", "limits", "words"),
    [
        (b"", metadata(), DEFAULT_LIMITS, "image_1: "),
        (b"GIF89a", metadata(), DEFAULT_LIMITS, "image_1: "),
        (jpeg(1, 200, 200), metadata(), ImageLimits(max_pixels=1000), "image_1: The picture has 200 x 200 pixels"),
        (jpeg(1), metadata(), ImageLimits(max_bytes=10), "image_1: The picture has"),
        (jpeg(1), b"[]", DEFAULT_LIMITS, "image_1.json: "),
        (jpeg(1), b"\xff", DEFAULT_LIMITS, "image_1.json: "),
        (jpeg(1), metadata(tags=["x"] * 1001), DEFAULT_LIMITS, "1001 tags; up to 1000 are accepted"),
        (jpeg(1), metadata(created=7), DEFAULT_LIMITS, "image_1.json: created: "),
    ],
)
def test_what_is_wrong_with_a_picture_names_it(
    picture: bytes, described: bytes, limits: ImageLimits, words: str
) -> None:
    with pytest.raises((InvalidInput, ImageUnreadable)) as refused:
        read_form(form(picture, described), limits)
    assert words in str(refused.value)
    assert "413" not in str(refused.value)


def test_metadata_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_forms, "MAX_METADATA", 10)
    with pytest.raises(InvalidInput, match=r"image_1.json has \d+ bytes; up to 10 are accepted"):
        read_form(form(jpeg(1), json.dumps({"mine": "x" * 20}).encode()), DEFAULT_LIMITS)
