"""Which models are meant: by a version that somebody wrote, by the Loop, or by nobody at start. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from appliance.versions.state import VersionState
from models.errors import BundleError, UnknownVersion
from models.store import StoredModel, version_key
from models.wire.loop import LoopModel
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


def meant_by(wanted: str, models: Sequence[StoredModel], scope: Scope) -> list[StoredModel]:
    """The models on disk that a version may mean, the preferred format first; several where it is not told apart.

    Raises `UnknownVersion` for what is no version.
    """
    match = _parts(wanted)
    meant = [
        model
        for model in models
        if scope.holds(model)
        and version_key(model.version) == version_key(match["version"])
        and match["organization"] in (None, model.organization)
        and match["project"] in (None, model.project)
        and match["format"] in (None, model.format)
    ]
    return sorted(meant, key=lambda model: _preference(model, scope))


def resolve(wanted: str, models: Sequence[StoredModel], scope: Scope) -> StoredModel:
    """The model on disk that is meant. Raises `UnknownVersion` naming what there is, or what to write if several are meant."""
    meant = meant_by(wanted, models, scope)
    if not meant:
        inside = {model.version for model in models if scope.holds(model)}
        there = ", ".join(sorted(inside, key=version_key)) or "none"
        raise UnknownVersion(f"Version {wanted} is not on this box; there are: {there}")
    owners = dict.fromkeys(f"{model.organization}/{model.project}/{model.version}" for model in meant)
    if len(owners) > 1:
        raise UnknownVersion(f"Version {wanted} is there more than once; say which: {', '.join(owners)}")
    return meant[0]


def sought_in_loop(wanted: str, scope: Scope) -> tuple[str, tuple[str, ...]] | None:
    """The version, and the formats, that the Loop may be asked for; None where another project or format is meant.

    Raises `UnknownVersion` for what is no version.
    """
    match = _parts(wanted)
    if match["organization"] not in (None, scope.organization) or match["project"] not in (None, scope.project):
        return None
    formats = tuple(each for each in scope.formats if match["format"] in (None, each))
    return (match["version"], formats) if formats else None


def listed_as(version: str, models: Sequence[LoopModel]) -> LoopModel | None:
    """The model of the Loop that has this version, compared as numbers. Raises `UnknownVersion` if several have."""
    found = [model for model in models if model.version is not None and same_version(model.version, version)]
    if len({model.id for model in found}) > 1:
        raise UnknownVersion(
            f"The Loop has {len(found)} models of version {version}; it should have one, so none of them is taken"
        )
    return found[0] if found else None


def same_version(one: str, other: str) -> bool:
    """Whether two versions are the same numbers; what is no version is no other's like."""
    try:
        return version_key(one) == version_key(other)
    except BundleError:
        return False


def copies_of(model_id: str, models: Sequence[StoredModel], scope: Scope) -> list[StoredModel]:
    """A model of the Loop as it lies on disk, in the formats that this box takes, the preferred one first."""
    ours = [model for model in models if model.id == model_id and scope.holds(model) and not is_seed(model)]
    return sorted(ours, key=lambda model: _preference(model, scope))


def at_start(state: VersionState, models: Sequence[StoredModel], scope: Scope) -> list[StoredModel]:
    """What to try to serve at start, in order: what is chosen, what served, what was good, the newest, the seed model."""
    inside = [model for model in models if scope.holds(model)]
    order: list[StoredModel] = []
    if state.chosen is not None:
        with suppress(UnknownVersion):  # removed since: the next ones serve
            order.append(resolve(state.chosen, models, scope))
    for reference in (state.current, state.last_good):
        order += [model for model in inside if reference is not None and reference.names(model)]
    newest = sorted(
        (model for model in inside if not is_seed(model)),
        key=lambda model: (version_key(model.version), -_preference(model, scope)),
        reverse=True,
    )
    return list(dict.fromkeys([*order, *newest, *(model for model in inside if is_seed(model))]))


def _parts(wanted: str) -> re.Match[str]:
    match = _WANTED.fullmatch(wanted)
    try:
        version_key(match["version"] if match else wanted)
    except BundleError:
        match = None
    if match is None:
        raise UnknownVersion(f"{wanted[:80]!r} is no version; it should be numbers with dots between, such as 1.4")
    return match


def _preference(model: StoredModel, scope: Scope) -> int:
    return scope.formats.index(model.format) if model.format in scope.formats else len(scope.formats)
