"""One conversion from beginning to end: find the pair, convert, compare, and only then put the result where it belongs."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from converter_companion import pairs, truth, verify
from converter_companion.pairs.base import Progress, Work
from converter_companion.report import FILE, Limits, ParityReport
from models.bundle import Bundle, bundle_files, open_bundle, read_document
from models.bundle_format import ModelJson
from models.errors import BundleError, DetectorApplianceError, ModelFailed
from models.files import FILE_SYSTEM, FileSystem, refusal

_FORMAT_OF_RUNTIME = {"torch": "appliance_pytorch", "onnx": "onnx", "litert": "litert"}


@dataclass(frozen=True)
class Conversion:
    """What came of it. `report` is None for a pair that is not compared."""

    bundle: Bundle
    report: ParityReport | None


@dataclass(frozen=True)
class Means:
    """What conversions need beside the model. `data_folder`: what was installed, and caches; `limits`: of the comparison."""

    data_folder: Path
    tools_python: Path | None = None
    limits: Limits = field(default_factory=Limits)
    files: FileSystem = FILE_SYSTEM


def opened(folder: Path) -> Bundle:
    """A model to convert; unlike a device, this also takes files that only an own converter understands.

    Raises `BundleError` where model.json is missing or wrong.
    """
    try:
        return open_bundle(folder)
    except BundleError:
        document = read_document(folder)
        if document.get("inference") is not None:
            raise
        bundle_files(folder)
        try:
            return Bundle(folder, ModelJson.model_validate(document))
        except ValidationError as error:
            raise BundleError(f"model.json cannot be understood: {error.errors()[0]['msg']}") from error


def format_of(bundle: Bundle) -> str:
    """The format of a model: what it says, else what its weights are for. Raises `BundleError`."""
    if bundle.model.format:
        return bundle.model.format
    runtimes = {weights.runtime for weights in bundle.model.inference.weights} if bundle.model.inference else set()
    found = {_FORMAT_OF_RUNTIME[name] for name in runtimes if name in _FORMAT_OF_RUNTIME}
    if len(found) != 1:
        raise BundleError(
            "model.json does not say which format the model has; expected 'format', appliance_pytorch say"
        )
    return found.pop()


def convert(
    bundle: Bundle,
    target: str,
    out: Path,
    images: Sequence[Path],
    progress: Progress,
    *,
    means: Means,
    source_format: str | None = None,
    annotations: truth.Truth | None = None,
    stopped: threading.Event | None = None,
) -> Conversion:
    """Convert a model into the new folder `out`, whose parent exists. Blocks for minutes.

    `images`: pictures that show what the model will see; they calibrate, and source and result are compared on them.
    `annotations`: what is really in them. Raises `ParityExceeded` with the report where the result does not see what its
    source sees, and every other `DetectorApplianceError`; `out` is not there then.
    """
    converter = pairs.converter(source_format or format_of(bundle), target)
    stopped = stopped or threading.Event()
    staged = out.with_name(f".{out.name}.new")
    try:
        means.files.remove_tree(staged)
        means.files.make_folder(staged)
    except OSError as error:
        raise refusal(error, f"write {out}") from error
    try:
        share = 0.8 if converter.compared else 1.0
        work = Work(
            source=bundle,
            out=staged,
            pictures=images,
            data_folder=means.data_folder,
            progress=lambda done, doing: progress(share * done, doing),
            tools_python=means.tools_python,
            stopped=stopped,
        )
        try:
            converter.convert(work)
        except DetectorApplianceError:
            raise
        except OSError as error:
            raise refusal(error, f"convert the model to {target}") from error
        except Exception as error:  # a converter may be anybody's; the sentence is remembered with the model
            raise ModelFailed(f"The conversion to {target} failed: {type(error).__name__}: {error}") from error
        report = None
        if converter.compared:
            report = _compared(work, means, annotations, lambda s, doing: progress(0.8 + 0.2 * s, doing))
        if stopped.is_set():
            raise ModelFailed("The conversion was stopped.")
        try:
            means.files.sync_folder(staged)
            means.files.rename_durably(staged, out)
        except OSError as error:
            raise refusal(error, f"write {out}") from error
    finally:
        means.files.remove_tree(staged)
    progress(1.0, "done")
    return Conversion(open_bundle(out) if converter.compared else opened(out), report)


def _compared(
    work: Work,
    means: Means,
    annotations: truth.Truth | None,
    progress: Progress,
) -> ParityReport:
    with tempfile.TemporaryDirectory(prefix="compared-") as cache:
        report = verify.compare(
            work.source,
            open_bundle(work.out),
            work.pictures,
            cache=Path(cache),
            truth=annotations,
            limits=means.limits,
            progress=progress,
        )
    report = report.model_copy(update={"left_out": list(work.left_out)})
    report.refuse_if_exceeded()
    means.files.write_atomically(work.out / FILE, json.dumps(report.as_json(), indent=1).encode())
    return report
