"""Adopt what learning-loop-node has left in a data folder: before the first start, and whatever came since before each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.adopting import left_models, pictures, record
from appliance.adopting.record import RECORD_FILE, Record
from appliance.versions import state as state_file
from appliance.versions.reference import ModelReference
from appliance.versions.state import STATE_FILE, VersionState
from models.errors import DetectorApplianceError, StorageRefused
from models.files import FileSystem, refusal
from models.store import ModelStore

log = logging.getLogger(__name__)

NODE = "learning-loop-node"
SENTENCES = 20
"""Of what is left alone so much is said in the log; all of it stands in the record."""


@dataclass
class Adoption:
    """One look at a data folder, before anything else opens its outbox. `formats` are those that this box runs.

    Blocks. Whatever is in the way is said in the log, and tried again at the next start.
    """

    data: Path
    store: ModelStore
    formats: Sequence[str]
    files: FileSystem

    def run(self) -> Record:
        """Adopt what is there and was not yet adopted; costs next to nothing where there is nothing."""
        before = record.load(self.data / RECORD_FILE)
        steps = [self._moving, self._models]
        if before is None or not before.complete:
            steps.insert(0, self._waiting)
        after = (before or Record()).model_copy(update={"complete": True})
        for step in steps:
            try:
                after = step(after)
            except (OSError, DetectorApplianceError) as error:
                after = _put_off(after, error)
        if after != before:
            record.save(self.data / RECORD_FILE, after, self.files)
        return after

    def _waiting(self, so_far: Record) -> Record:
        found = pictures.check_queues(self.data / "outbox")
        if found.adopted:
            log.info("%d pictures wait in the outbox that %s put there; they will be sent", found.adopted, NODE)
        unfinished = pictures.half_written(self.data)
        if unfinished:
            log.info("%d pictures in tmp/ that %s had not finished are left alone", unfinished, NODE)
        return self._leaving(so_far, found)

    def _moving(self, so_far: Record) -> Record:
        found = pictures.move_flat(self.data / "outbox", self.files, frozenset(so_far.left_alone))
        if found.adopted:
            log.info("%d pictures that %s left in outbox/ wait in outbox/normal/ now, to be sent", found.adopted, NODE)
        return self._leaving(so_far.model_copy(update={"pictures": so_far.pictures + found.adopted}), found)

    def _leaving(self, so_far: Record, found: pictures.Found) -> Record:
        known = frozenset(so_far.left_alone)
        new = {name: why for name, why in found.left_alone.items() if name not in known}
        for name, why in list(new.items())[:SENTENCES]:
            log.warning("outbox/%s, which %s left, stays where it is: %s", name, NODE, why)
        if len(new) > SENTENCES:
            log.warning("%d more stay where they are, too; %s has their names", len(new) - SENTENCES, RECORD_FILE)
        return so_far.model_copy(update={"left_alone": (*so_far.left_alone, *new)})

    def _models(self, so_far: Record) -> Record:
        served = left_models.served(self.data)
        for folder in left_models.left_behind(self.store.root, {model.folder for model in so_far.models}):
            try:
                left, stored = left_models.adopt(folder, self.store, self.formats)
            except StorageRefused as error:
                so_far = _put_off(so_far, error)
                continue
            so_far = so_far.model_copy(update={"models": (*so_far.models, left)})
            if stored is None:
                log.warning("models/%s, which %s left, cannot run here: %s", folder.name, NODE, left.why_not)
                continue
            log.info("the model %s, which %s left, is one of this box now", "/".join(stored.identity), NODE)
            if folder.name == served and not (self.data / STATE_FILE).exists():
                state_file.save(self.data / STATE_FILE, VersionState(current=ModelReference.of(stored)), self.files)
        return so_far


def _put_off(so_far: Record, error: OSError | DetectorApplianceError) -> Record:
    why = refusal(error, f"adopt what {NODE} has left") if isinstance(error, OSError) else error
    log.error("%s; the next start tries again", why)
    return so_far.model_copy(update={"complete": False})
