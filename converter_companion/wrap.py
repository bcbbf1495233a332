"""A detector of somebody else's (TFLite, ONNX) as a bundle: its head recognised or named, and checked on a picture."""

from __future__ import annotations

import re
import shutil
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from converter_companion import describing
from models import heads, runtimes
from models.bundle import Bundle, open_bundle, pack, sha256_of
from models.bundle_format import InferenceSpec, InputSpec, ModelJson, WeightsSpec
from models.detector import Answer
from models.errors import BundleError, InvalidInput, ModelFailed
from models.fastest import sample
from models.load import load
from models.runtimes.base import Choice
from models.undescribed import inference_of, input_of
from models.wire.model_information import Category

FORMATS = {".tflite": "litert", ".onnx": "onnx"}
"""Suffix of a weight file -> format of its bundle, which is also the name of the runtime."""

_NUMBERED = re.compile(r"(\d{1,5})[\s:,]+(\S.*)")
_NOTHING = frozenset({"", "???", "n/a", "background", "__background__"})
_SUREST = 0.05


@dataclass(frozen=True)
class Wishes:
    """What the file cannot say, and the person does. None: as it is usual for the head that was recognised.

    `outputs`: what the head calls an output -> its index. `scale`, `offset`: `real = pixel * scale + offset`, for float inputs.
    """

    head: str | None = None
    outputs: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    channels: Literal["RGB", "BGR"] | None = None
    resize: Literal["stretch", "letterbox"] | None = None
    scale: float | None = None
    offset: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Wrapped:
    """The zip that was written, how its outputs are read, and what the model saw in the picture (the surest first)."""

    path: Path
    inference: InferenceSpec
    answer: Answer


def read_labels(text: str) -> dict[int, str]:
    """Class number -> name, of a file with one name a line, `0 person` or `person`. Pure.

    A line that names nothing (empty, `???`, `background`) is a class that is left out. Raises `InvalidInput`.
    """
    lines = [line.strip() for line in text.strip("\n").splitlines()]
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if lines and all(match or not line for match, line in zip(numbered, lines, strict=True)):
        found = [(int(match[1]), match[2].strip()) for match in numbered if match]
    else:
        found = list(enumerate(lines))
    labels = {number: name for number, name in found if name.lower() not in _NOTHING}
    if not labels:
        raise InvalidInput(
            "The file of labels names no class; one name a line is due, in the order of the model's classes."
        )
    if len(labels) != len([name for _, name in found if name.lower() not in _NOTHING]):
        raise InvalidInput("The file of labels gives one number to two classes.")
    if len(set(labels.values())) != len(labels):
        twice = next(name for name in labels.values() if list(labels.values()).count(name) > 1)
        raise InvalidInput(f"The file of labels names {twice!r} twice; categories need names of their own.")
    return dict(sorted(labels.items()))


def wrap(model: Path, labels: Mapping[int, str], target: Path, wishes: Wishes, picture: Path | None) -> Wrapped:
    """Write the bundle of a weight file to the zip `target`, if the model runs and its outputs can be read. Blocks.

    Without a `picture` a drawn scene is looked at, which proves that the outputs fit, but not that they mean what they should.
    Raises `BundleError`, `InvalidInput`, `ModelFailed` (`OutputsImplausible`: another head), and what writing raises.
    """
    form = FORMATS.get(model.suffix.lower())
    if form is None or not model.is_file():
        raise InvalidInput(f"{model} is no weight file; a .tflite or an .onnx is due.")
    with tempfile.TemporaryDirectory(prefix="wrap-") as scratch:
        folder = Path(scratch) / "bundle"
        folder.mkdir()
        file = folder / f"model{model.suffix.lower()}"
        shutil.copyfile(model, file)
        inference = _described(folder, file, form, labels, wishes, Path(scratch))
        describing.write(folder, _document(form, labels, inference))
        bundle = open_bundle(folder)
        detector = load(bundle, cache=Path(scratch), floor=_SUREST, lanes=1)
        try:
            shown = picture.read_bytes() if picture is not None else sample(detector.input.width, detector.input.height)
            answer = detector.detect(shown)
        except OSError as error:
            raise InvalidInput(f"{picture} cannot be read: {error.strerror}") from error
        finally:
            detector.close()
        pack(folder, target)
        return Wrapped(target, inference, answer)


def _described(
    folder: Path, file: Path, form: str, labels: Mapping[int, str], wishes: Wishes, cache: Path
) -> InferenceSpec:
    # All class numbers up to the last, also those without a name: their count tells one head from another.
    counted = [Category(id=str(number), name=str(number)) for number in range(max(labels) + 1)]
    recognised: InferenceSpec | None = None
    try:
        recognised = inference_of(Bundle(folder, ModelJson(categories=counted)), cache)
    except BundleError as error:
        if wishes.head is None:
            raise BundleError(
                f"{str(error).partition(': say it')[0]}. Name the head with --head, and its outputs with --output."
            ) from error
    if recognised is not None and wishes.head in (None, recognised.head):
        weights, head = recognised.weights[0], recognised.head
        outputs, options = {**weights.outputs, **wishes.outputs}, {**recognised.head_options, **wishes.options}
    else:
        assert wishes.head is not None
        head, outputs, options = wishes.head, dict(wishes.outputs), dict(wishes.options)
        weights = WeightsSpec(runtime=form, file=file.name, input=_input(file, form, cache))
    heads.head(head)  # an unknown one is named with those that there are
    given = {"channels": wishes.channels, "resize": wishes.resize, "scale": wishes.scale, "offset": wishes.offset}
    seen = weights.input.model_copy(update={key: value for key, value in given.items() if value is not None})
    try:
        return InferenceSpec.model_validate(
            {
                "head": head,
                "weights": [
                    {
                        **weights.model_dump(mode="json", exclude_none=True),
                        "input": seen.model_dump(mode="json"),
                        "outputs": outputs,
                        "sha256": sha256_of(file),
                    }
                ],
                "head_options": options,
                **({} if wishes.threshold is None else {"score_threshold": wishes.threshold}),
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _input(file: Path, runtime: str, cache: Path) -> InputSpec:
    """What the file says of its input. Raises `ModelFailed` where that is no picture of fixed size."""
    guess = WeightsSpec(runtime=runtime, accelerator="cpu", file=file.name, input=InputSpec(width=1, height=1))
    loaded = runtimes.runtime(runtime).load(file, guess, Choice(runtime, "cpu", 1), cache)
    try:
        found = input_of(loaded.input)
        if found is None:
            raise ModelFailed(
                f"{file.name} has the input {list(loaded.input.shape)} ({loaded.input.dtype}), which is no picture of fixed "
                "size; export it with one."
            )
        return found
    finally:
        loaded.close()


def _document(form: str, labels: Mapping[int, str], inference: InferenceSpec) -> dict[str, Any]:
    numbers: Sequence[int] = list(labels)
    dense = list(numbers) == list(range(len(numbers)))
    spec = inference.model_copy(update={"class_indices": None if dense else list(numbers)})
    seen = inference.weights[0].input
    return {
        "format": form,
        "resolution": max(seen.width, seen.height),
        "categories": [
            {"id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)), "name": name, "type": "box"} for name in labels.values()
        ],
        "inference": spec.model_dump(mode="json", exclude_none=True),
    }


def seen_words(answer: Answer, most: int = 10) -> str:
    """What was seen, a line each, the surest first. Pure."""
    found = answer.detections
    boxes = [
        f"{each.confidence:6.2f}  {each.category_name}  at {each.x}, {each.y}, {each.width} x {each.height} pixels"
        for each in found.box_detections
    ]
    classes = [f"{each.confidence:6.2f}  {each.category_name}" for each in found.classification_detections]
    lines = (boxes + classes)[:most]
    if lines:
        return "\n".join(lines)
    return "nothing. If there is something to see, --channels, --scale, --offset or --resize are not what it was trained with."
