"""Which model serves, which one was good, which failed and why, and the mode: one file, `DATA/versions.json`.

The state is a value: whoever changes it makes a new one and saves that. Saving replaces the file at once, so that a
power cut leaves the old state or the new one. `load` and `save` block.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from models.files import FileSystem, refusal
from models.wire.node_status import VersionControl

log = logging.getLogger(__name__)

STATE_FILE = "versions.json"

MAX_FAILURES = 50
"""Failures remembered. Forgetting an older one costs a try of a model that nobody has offered for long."""

MAX_REASON_LENGTH = 2000
MAX_FILE_BYTES = 1 << 20
MAX_KEPT_ASIDE = 9


class ModelReference(BaseModel):
    """Names one bundle in the store. `version` is text that is compared as numbers (1.10 > 1.9)."""

    model_config = ConfigDict(frozen=True)

    organization: str
    project: str
    format: str
    version: str

    def __str__(self) -> str:
        return f"{self.organization}/{self.project}/{self.format}/{self.version}"


def _shortened(reason: object) -> object:
    return reason[:MAX_REASON_LENGTH] if isinstance(reason, str) else reason


class RememberedFailure(BaseModel):
    """A model that could not be brought into service, so that it is not tried again and again.

    `fingerprint` tells these bytes from others: the sha256 of the zip as hex. `appliance_version` is the version of
    this program that tried: another one may succeed.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_id: str
    format: str
    fingerprint: str
    appliance_version: str
    reason: Annotated[str, BeforeValidator(_shortened)] = Field(description="a sentence for people")
    when: AwareDatetime

    def is_about(self, other: RememberedFailure) -> bool:
        """Whether both tell of the same bytes in the same format of the same model."""
        return (self.model_id, self.format, self.fingerprint) == (other.model_id, other.format, other.fingerprint)


class VersionState(BaseModel):
    """Everything about model versions that survives a restart.

    `chosen` is the version that `specific_version` means, and None in the other modes. `current` is what serves,
    `last_good` what is gone back to. `failures` are those remembered, oldest first.
    """

    model_config = ConfigDict(frozen=True)

    mode: VersionControl = "follow_loop"
    chosen: str | None = None
    current: ModelReference | None = None
    last_good: ModelReference | None = None
    failures: tuple[RememberedFailure, ...] = ()
    problem: str | None = Field(
        default=None, exclude=True, description="what was wrong with the file at start, for people; never stored"
    )

    @model_validator(mode="after")
    def _chosen_belongs_to_specific_version(self) -> VersionState:
        if (self.chosen is not None) != (self.mode == "specific_version"):
            raise ValueError(f"mode {self.mode} with the chosen version {self.chosen}; only specific_version has one")
        return self

    def in_mode(self, mode: VersionControl, chosen: str | None = None) -> VersionState:
        """The same in another mode. Raises ValueError where `chosen` is missing or does not belong."""
        return VersionState(**{**dict(self), "mode": mode, "chosen": chosen})

    def remembering(self, failure: RememberedFailure) -> VersionState:
        """With one more failure, in place of an earlier one about the same bytes; the oldest beyond the bound go."""
        others = [each for each in self.failures if not each.is_about(failure)]
        return self.model_copy(update={"failures": (*others, failure)[-MAX_FAILURES:]})

    def forgetting(self, model_id: str) -> VersionState:
        """Without the failures of this model: a person wants it to be tried again."""
        others = tuple(each for each in self.failures if each.model_id != model_id)
        return self.model_copy(update={"failures": others})

    def failure(
        self, model_id: str, model_format: str, fingerprint: str, appliance_version: str
    ) -> RememberedFailure | None:
        """Why these bytes need not be tried again by this version of the program; None if they may be tried."""
        for each in self.failures:
            known = (each.model_id, each.format, each.fingerprint, each.appliance_version)
            if known == (model_id, model_format, fingerprint, appliance_version):
                return each
        return None


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
