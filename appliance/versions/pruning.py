"""Which models may go from the disk. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from appliance.versions.reference import ModelReference
from appliance.versions.state import VersionState
from models.store import StoredModel


def removable(models: Sequence[StoredModel], state: VersionState, wanted: Collection[str] = ()) -> list[StoredModel]:
    """Those that may go, the one that was of no use for longest first.

    Only what came from the Loop goes, for it can be had again from there; never what serves, what is gone back to, what
    somebody chose by name, or what is `wanted` (model ids).
    """
    needed = {state.current, state.last_good, *state.of_people}
    found = {ModelReference.of(model): model for model in models if not model.read_only}
    return [
        found[download.reference]
        for download in state.downloads
        if download.reference in found and download.reference not in needed and download.model_id not in wanted
    ]


def to_prune(
    models: Sequence[StoredModel],
    state: VersionState,
    *,
    keep: int,
    max_bytes: int,
    incoming: int = 0,
    wanted: Collection[str] = (),
) -> list[StoredModel]:
    """Which models go so that at most `keep` of those that may go stay, and all have room in `max_bytes` together.

    `incoming`: bytes that are about to come.
    """
    candidates = removable(models, state, wanted)
    going = candidates[: max(0, len(candidates) - keep)]
    size = incoming + sum(model.size_bytes for model in models if not model.read_only and model not in going)
    for model in candidates[len(going) :]:
        if size <= max_bytes:
            break
        going.append(model)
        size -= model.size_bytes
    return going
