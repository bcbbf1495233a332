"""Which model serves, which one was good, which failed and why, and the mode: one file, `DATA/versions.json`.

The state is a value: whoever changes it makes a new one and saves that. Saving replaces the file at once, so that a
power cut leaves the old state or the new one. `load` and `save` block.
"""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from appliance.versions import served
from appliance.versions.reference import ModelReference
from appliance.versions.served import Period, TakeOvers
from models.files import FileSystem, refusal
from models.wire.node_status import VersionControl

log = logging.getLogger(__name__)

STATE_FILE = "versions.json"

MAX_FAILURES = 50
"""Failures remembered. Forgetting an older one costs a try of a model that nobody has offered for long."""

MAX_MODELS = 500
"""Models whose origin is remembered, and versions that people chose. Forgetting one costs a removal by hand, or a download."""

MAX_REASON_LENGTH = 2000
MAX_FILE_BYTES = 1 << 20
MAX_KEPT_ASIDE = 9


class DownloadedModel(BaseModel):
    """A model in the store that came from the Loop, and can be had from there again.

    `offer` is what the Loop had said of the bytes (see `appliance.versions.ports.offer_of`), `zip_sha256` (hex) what they
    were.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    reference: ModelReference
    model_id: str
    offer: str | None = None
    zip_sha256: str


class Probation(BaseModel):
    """A model that serves and has yet to prove itself.

    `starts` counts the starts of this program during it that no orderly end came before: a model that takes the whole
    box down is not tried for ever.
    """

    model_config = ConfigDict(frozen=True)

    reference: ModelReference
    starts: int = 0


def _shortened(reason: object) -> object:
    return reason[:MAX_REASON_LENGTH] if isinstance(reason, str) else reason


class RememberedFailure(BaseModel):
    """A model that could not be brought into service, so that it is not tried again and again.

    Which bytes failed: `fingerprint` is that of the bundle (empty where they did not come to one), `zip_sha256` (hex) that
    of the zip they came in, `offer` what the Loop had said of that zip. `appliance_version` is the version of this
    program that tried: another one may succeed.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_id: str
    format: str
    version: str | None = None
    fingerprint: str = ""
    zip_sha256: str | None = None
    offer: str | None = None
    appliance_version: str
    reason: Annotated[str, BeforeValidator(_shortened)] = Field(description="a sentence for people")
    when: AwareDatetime

    def is_about(self, other: RememberedFailure) -> bool:
        """Whether both tell of the same bytes in the same format of the same model."""
        if (self.model_id, self.format) != (other.model_id, other.format):
            return False
        if not any((self.fingerprint, self.zip_sha256, other.fingerprint, other.zip_sha256)):
            return self.offer == other.offer
        same_zip = self.zip_sha256 is not None and self.zip_sha256 == other.zip_sha256
        return same_zip or (self.fingerprint != "" and self.fingerprint == other.fingerprint)


class VersionState(BaseModel):
    """Everything about model versions that survives a restart.

    `chosen` is the version that `specific_version` means, and None in the other modes. `current` is what serves,
    `last_good` what is gone back to, `probation` is set while `current` has yet to prove itself. `failures` are those
    remembered, oldest first. `downloads` came from the Loop, in the order in which they last became of use; `of_people` are
    versions that somebody chose by name, which are never removed to make room. `takeovers`: which model served when.
    """

    model_config = ConfigDict(frozen=True)

    mode: VersionControl = "follow_loop"
    chosen: str | None = None
    current: ModelReference | None = None
    last_good: ModelReference | None = None
    probation: Probation | None = None
    failures: tuple[RememberedFailure, ...] = ()
    downloads: tuple[DownloadedModel, ...] = ()
    of_people: tuple[ModelReference, ...] = ()
    takeovers: TakeOvers = ()
    problem: str | None = Field(
        default=None, exclude=True, description="what was wrong with the file at start, for people; never stored"
    )

    @model_validator(mode="after")
    def _chosen_belongs_to_specific_version(self) -> VersionState:
        if (self.chosen is not None) != (self.mode == "specific_version"):
            raise ValueError(f"mode {self.mode} with the chosen version {self.chosen}; only specific_version has one")
        return self

    @property
    def on_probation(self) -> bool:
        """Whether what serves has yet to prove itself."""
        return self.probation is not None and self.probation.reference == self.current

    def in_mode(self, mode: VersionControl, chosen: str | None = None) -> VersionState:
        """The same in another mode. Raises ValueError where `chosen` is missing or does not belong."""
        return VersionState(**{**dict(self), "mode": mode, "chosen": chosen})

    def remembering(self, failure: RememberedFailure) -> VersionState:
        """With one more failure, in place of an earlier one about the same bytes; the oldest beyond the bound go."""
        others = [each for each in self.failures if not each.is_about(failure)]
        known = next((each.fingerprint for each in self.failures if each.is_about(failure) and each.fingerprint), "")
        if known and not failure.fingerprint:  # a zip that was downloaded once more, and not even unpacked
            failure = failure.model_copy(update={"fingerprint": known})
        return self.model_copy(update={"failures": (*others, failure)[-MAX_FAILURES:]})

    def forgetting(self, model_id: str, model_format: str | None = None) -> VersionState:
        """Without the failures of this model, in one format or in all: it works, or a person wants it to be tried again."""
        others = tuple(
            each for each in self.failures if each.model_id != model_id or model_format not in (None, each.format)
        )
        return self.model_copy(update={"failures": others})

    def failure(
        self, model_id: str, model_format: str, fingerprint: str, appliance_version: str
    ) -> RememberedFailure | None:
        """Why these bytes need not be tried again by this version of the program; None if they may be tried."""
        for each in self.failures_of(model_id, model_format, appliance_version):
            if each.fingerprint and each.fingerprint == fingerprint:
                return each
        return None

    def failures_of(self, model_id: str, model_format: str, appliance_version: str) -> tuple[RememberedFailure, ...]:
        """Everything that went wrong with a model in one format under this version of the program, oldest first."""
        about = (model_id, model_format, appliance_version)
        return tuple(each for each in self.failures if (each.model_id, each.format, each.appliance_version) == about)

    def download_of(self, reference: ModelReference) -> DownloadedModel | None:
        """Where a stored model came from; None where it was not the Loop."""
        return next((each for each in self.downloads if each.reference == reference), None)

    def with_download(self, download: DownloadedModel) -> VersionState:
        """With a model that came from the Loop, as the one of use last."""
        others = [each for each in self.downloads if each.reference != download.reference]
        return self.model_copy(update={"downloads": (*others, download)[-MAX_MODELS:]})

    def without_model(self, reference: ModelReference) -> VersionState:
        """Knowing no more that this model was on disk."""
        return self.model_copy(
            update={
                "downloads": tuple(each for each in self.downloads if each.reference != reference),
                "of_people": tuple(each for each in self.of_people if each != reference),
            }
        )

    def chosen_by_person(self, reference: ModelReference) -> VersionState:
        """With a version that somebody chose by name."""
        others = [each for each in self.of_people if each != reference]
        return self.model_copy(update={"of_people": (*others, reference)[-MAX_MODELS:]})

    def serving(self, reference: ModelReference, now: datetime, *, proven: bool = False) -> VersionState:
        """With another model serving, on probation, or `proven` where there is nothing to go back to.

        What served before is what is gone back to, if it had proven itself.
        """
        takeovers = served.with_takeover(self.takeovers, reference, now, self.current)
        if proven:
            update: dict[str, object] = {"current": reference, "last_good": reference, "probation": None}
        elif self.current in (None, reference):
            update = {"current": reference}
        else:
            good = self.last_good if self.on_probation else self.current
            update = {"current": reference, "last_good": good, "probation": Probation(reference=reference)}
        download = self.download_of(reference)
        state = self if download is None else self.with_download(download)
        return state.model_copy(update={**update, "takeovers": takeovers})

    def taken_over_at(self, when: datetime) -> VersionState:
        """With another date at which what serves took over: the clock was wrong."""
        return self.model_copy(update={"takeovers": served.dated(self.takeovers, when)})

    def periods_of(self, reference: ModelReference) -> list[Period]:
        """When a model served, the latest first."""
        return served.periods(self.takeovers, reference)

    def committed(self) -> VersionState:
        """What serves has proven itself."""
        return self.model_copy(update={"probation": None})


def load(path: Path, files: FileSystem) -> VersionState:
    """The saved state; the default one where there is none yet.

    A file that cannot be understood is kept aside as `versions.json.corrupt-<n>`, and the default state's `problem`
    says so: a box that forgot its mode is better than one that does not start. Raises `StorageRefused` where the disk
    does not let it be read or set aside.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return VersionState()
    except OSError as error:
        raise refusal(error, f"read the model versions in {path}") from error
    if len(data) > MAX_FILE_BYTES:
        return _default_after(f"it is larger than {MAX_FILE_BYTES} bytes", path, files)
    try:
        return VersionState.model_validate_json(data)
    except ValidationError as error:
        details = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in error.errors()[:3]
        )
        return _default_after(details, path, files)


def save(path: Path, state: VersionState, files: FileSystem) -> None:
    """Store the state durably, in place of what was there. Raises `StorageRefused`; the old state then still stands."""
    try:
        files.make_folders(path.parent)
        files.write_atomically(path, state.model_dump_json(indent=2).encode() + b"\n")
    except OSError as error:
        raise refusal(error, f"store the model versions in {path}") from error


def _default_after(reason: str, path: Path, files: FileSystem) -> VersionState:
    aside = next(
        (name for number in range(1, MAX_KEPT_ASIDE) if not (name := _aside(path, number)).exists()),
        _aside(path, MAX_KEPT_ASIDE),
    )
    try:
        files.rename_durably(path, aside)
    except OSError as error:
        raise refusal(error, f"set the damaged {path} aside") from error
    problem = (
        f"The file {path.name} could not be understood ({reason}). It is kept as {aside.name}; the box starts as if "
        "new: it follows the Loop and remembers no failed models."
    )
    log.error(problem)
    return VersionState(problem=problem)


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.corrupt-{number}")
