"""Multipart forms, read piece by piece as they come: the files in one field, and nothing kept of all the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from models.errors import InvalidInput

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 100
"""Files and other fields of one form."""

MAX_PART_HEADERS = 16 * 1024
"""Bytes that the headers of one part may have."""


def described(name: str, what: str, *, several: bool = False) -> dict[str, Any]:
    """The form with a file in the field `name`, for a route's OpenAPI description."""
    file: dict[str, Any] = {"type": "string", "format": "binary", "description": what}
    schema = {
        "type": "object",
        "required": [name],
        "properties": {name: {"type": "array", "items": file} if several else file},
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


@dataclass
class FilePart:
    """A file of a form: the pieces that have come of it and nobody has taken, and whether its end has come.

    `name` is what the sender calls it, unchecked.
    """

    name: str = ""
    pieces: list[bytes] = field(default_factory=list)
    complete: bool = False

    def take(self) -> bytes:
        """What has come since the last call."""
        data = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
        self.pieces.clear()
        return data


class FormFiles:
    """The files in the field `name` of a form whose header is `content_type`.

    Feed it the body; `files` grows as files begin. What is wrong is raised as `InvalidInput`, with the `example`.
    """

    def __init__(self, content_type: str, name: str, example: str) -> None:
        self.files: list[FilePart] = []
        self._name = name
        self._example = example
        self._parts: list[str] = []
        self._header, self._value, self._disposition = b"", b"", b""
        self._header_bytes = 0
        self._current: FilePart | None = None
        if not content_type.lower().startswith("multipart/form-data"):
            raise InvalidInput(f"The file has to come as a multipart form: {example}")
        try:
            _, options = parse_options_header(content_type)
            boundary = options.get(b"boundary", b"")
            self._parser = MultipartParser(boundary, self._callbacks())
        except ValueError as error:  # among them the parser's own, for a boundary that is too long
            raise self._unreadable(str(error)) from error
        if not boundary:
            raise self._unreadable("its header names no boundary")

    def feed(self, data: bytes) -> None:
        """The next piece of the body."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise self._unreadable(str(error)) from error

    def finish(self) -> list[FilePart]:
        """All files, at least one, each whole."""
        if not self.files:
            names = ", ".join(sorted({repr(each[:60]) for each in self._parts})) or "nothing"
            raise InvalidInput(f"The form has no file in the field {self._name!r}, it has {names}: {self._example}")
        if not all(each.complete for each in self.files):
            raise self._unreadable("it ends in the middle of a file")
        return self.files

    def _unreadable(self, why: str) -> InvalidInput:
        return InvalidInput(f"The multipart form cannot be read ({why}): {self._example}")

    def _callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
        }

    def _on_part_begin(self) -> None:
        self._disposition = b""
        self._header_bytes = 0
        self._current = None

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._value += data[start:end]

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_PART_HEADERS:
            raise self._unreadable(f"a part of it has headers of more than {MAX_PART_HEADERS} bytes")

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if name is None:
            raise self._unreadable("a part of it has no name")
        self._parts.append(name.decode(errors="replace"))
        if len(self._parts) > MAX_PARTS:
            raise InvalidInput(f"The form has more than {MAX_PARTS} parts; send fewer pictures at once")
        if name == self._name.encode() and b"filename" in options:
            self._current = FilePart(options[b"filename"].decode(errors="replace"))
            self.files.append(self._current)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current is not None:
            self._current.pieces.append(data[start:end])

    def _on_part_end(self) -> None:
        if self._current is not None:
            self._current.complete = True
