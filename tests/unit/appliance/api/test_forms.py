"""Multipart forms, cut into pieces anywhere, and those that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.api.forms import MAX_PART_HEADERS, MAX_PARTS, FormFiles
from models.errors import InvalidInput

BOUNDARY = "a-boundary"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def part(name: str, data: bytes, *, filename: str | None = "x.jpg") -> bytes:
    """One part of a form as curl writes it."""
    file = f'; filename="{filename}"' if filename is not None else ""
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def form(content_type: str = TYPE) -> FormFiles:
    """A form whose file is due in `file`."""
    return FormFiles(content_type, "file", "curl -F 'file=@photo.jpg' …")


@given(st.binary(max_size=200).filter(lambda data: BOUNDARY.encode() not in data), st.integers(1, 60))
def test_a_file_comes_out_as_it_went_in_wherever_it_was_cut(data: bytes, step: int) -> None:
    body = part("note", b"hello", filename=None) + part("file", data) + part("other", b"ignored") + END
    read = form()
    for start in range(0, len(body), step):
        read.feed(body[start : start + step])
    [file] = read.finish()
    assert file.take() == data


def test_every_file_of_the_field_is_found() -> None:
    read = form()
    read.feed(part("file", b"one") + part("file", b"two") + END)
    assert [file.take() for file in read.finish()] == [b"one", b"two"]


def test_files_have_the_names_that_the_sender_gave_them() -> None:
    read = form()
    read.feed(
        part("file", b"", filename="image_2024-01-01_12%3A34.json") + part("file", b"", filename="füße.jpg") + END
    )
    assert [file.name for file in read.finish()] == ["image_2024-01-01_12%3A34.json", "füße.jpg"]


@given(st.integers(1, len(part("file", b"0123456789")) - 3))
def test_a_form_that_is_cut_off_is_refused(length: int) -> None:
    read = form()
    read.feed(part("file", b"0123456789")[:length])
    with pytest.raises(InvalidInput):
        read.finish()


@pytest.mark.parametrize(
    ("content_type", "says"),
    [
        ("", "has to come as a multipart form"),
        ("application/x-www-form-urlencoded", "has to come as a multipart form"),
        ("image/jpeg", "has to come as a multipart form"),
        ("multipart/form-data", "cannot be read"),
        ("multipart/form-data; boundary=", "cannot be read"),
        (f"multipart/form-data; boundary={'b' * 400}", "cannot be read"),
    ],
)
def test_what_is_no_form_is_told_how_to_be_one(content_type: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        form(content_type)
    assert "curl -F 'file=@photo.jpg'" in str(refused.value)


def test_a_wrong_field_is_named() -> None:
    read = form()
    read.feed(part("image", b"data") + END)
    with pytest.raises(InvalidInput, match="no file in the field 'file', it has 'image'"):
        read.finish()


def test_parts_and_their_headers_are_bounded() -> None:
    with pytest.raises(InvalidInput, match="more than 100 parts"):
        form().feed(b"".join(part("x", b"") for _ in range(MAX_PARTS + 1)))
    with pytest.raises(InvalidInput, match="cannot be read"):
        form().feed(part("n" * MAX_PART_HEADERS, b""))


@given(st.text(max_size=60), st.binary(max_size=300))
def test_nothing_does_worse_than_being_refused(content_type: str, body: bytes) -> None:
    for kind in (content_type, f"multipart/form-data; {content_type}", TYPE):
        try:
            read = form(kind)
            read.feed(body)
            read.finish()
        except InvalidInput as error:
            assert str(error)
