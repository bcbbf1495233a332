"""Which model should serve: pure decisions about what is on disk, what is wanted and what failed before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from appliance.versions.state import ModelReference, VersionState
from models.errors import BundleError, UnknownVersion
from models.store import StoredModel, version_key
from models.wire.node_status import VersionControl
from models.zoo import SEED_ORGANIZATION, SEED_PROJECT

FORMATS_WITHOUT_GPU = ("litert", "onnx")
FORMATS_WITH_GPU = ("onnx", "litert")
"""Formats that this box takes where none is set, the preferred one first."""

_WANTED = re.compile(r"(?:(?P<organization>[^/]+)/(?P<project>[^/]+)/(?:(?P<format>[^/]+)/)?)?(?P<version>[0-9.]+)")


@dataclass(frozen=True)
class Scope:
    """Whose models count. Without an organization and project (standalone) everybody's on this box do."""

    organization: str | None
    project: str | None
    formats: tuple[str, ...]

    def holds(self, model: StoredModel) -> bool:
        """Whether a model may be chosen. The seed model always may."""
        if is_seed(model):
            return True
        ours = self.organization is None or (model.organization, model.project) == (self.organization, self.project)
        return ours and model.format in self.formats


@dataclass(frozen=True)
class Mode:
    """What somebody asked for: a mode, and the version in the mode `specific_version`."""

    control: VersionControl
    version: str | None = None


def is_seed(model: StoredModel) -> bool:
    """Whether this is the seed model."""
    return (model.organization, model.project) == (SEED_ORGANIZATION, SEED_PROJECT)


def parse_mode(text: str) -> Mode:
    """`follow_loop`, `pause`, a version, or ORGANIZATION/PROJECT/VERSION. Raises `UnknownVersion` for anything else."""
    text = text.strip()
    fixed: Sequence[Literal["follow_loop", "pause"]] = ("follow_loop", "pause")
    for control in fixed:
        if text == control:
            return Mode(control)
    match = _WANTED.fullmatch(text)
    try:
        version_key(match["version"] if match else text)
    except BundleError:
        raise UnknownVersion(f"{text[:80]!r} is neither follow_loop nor pause nor a version such as 1.4") from None
    return Mode("specific_version", text)


def resolve(wanted: str, models: Sequence[StoredModel], scope: Scope) -> StoredModel:
    """The model on disk that is meant. Raises `UnknownVersion` naming what there is, or what to write if several are meant."""
    match = _WANTED.fullmatch(wanted)
    if match is None:
        raise UnknownVersion(f"{wanted[:80]!r} is no version; it should be numbers with dots between, such as 1.4")
    inside = [model for model in models if scope.holds(model)]
    meant = [
        model
        for model in inside
        if version_key(model.version) == version_key(match["version"])
        and match["organization"] in (None, model.organization)
        and match["project"] in (None, model.project)
        and match["format"] in (None, model.format)
    ]
    if not meant:
        there = ", ".join(sorted({model.version for model in inside}, key=version_key)) or "none"
        raise UnknownVersion(f"Version {wanted} is not on this box; there are: {there}")
    owners = dict.fromkeys(f"{model.organization}/{model.project}/{model.version}" for model in meant)
    if len(owners) > 1:
        raise UnknownVersion(f"Version {wanted} is there more than once; say which: {', '.join(owners)}")
    return min(meant, key=lambda model: _preference(model, scope))


def at_start(state: VersionState, models: Sequence[StoredModel], scope: Scope) -> list[StoredModel]:
    """What to try to serve at start, in order: what is chosen, what served, what was good, the newest, the seed model."""
    inside = [model for model in models if scope.holds(model)]
    order: list[StoredModel] = []
    if state.chosen is not None:
        with suppress(UnknownVersion):  # removed since: the next ones serve
            order.append(resolve(state.chosen, models, scope))
    for reference in (state.current, state.last_good):
        order += [model for model in inside if reference is not None and model.identity == _identity(reference)]
    newest = sorted(
        (model for model in inside if not is_seed(model)),
        key=lambda model: (version_key(model.version), -_preference(model, scope)),
        reverse=True,
    )
    return list(dict.fromkeys([*order, *newest, *(model for model in inside if is_seed(model))]))


def _preference(model: StoredModel, scope: Scope) -> int:
    return scope.formats.index(model.format) if model.format in scope.formats else len(scope.formats)


def _identity(reference: ModelReference) -> tuple[str, str, str, str]:
    return (reference.organization, reference.project, reference.format, reference.version)
