"""The support bundle: a zip for whoever helps, in which no secret is."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from appliance.services import Services
from appliance.settings import Settings
from appliance.system.board import board, versions
from appliance.system.doctor import facts_of_box
from appliance.system.findings import Finding, findings
from appliance.system.masking import Masker, secrets_of
from appliance.system.report import report

README = """What is known of a detector appliance, made {when} (UTC). Passwords and keys are taken out; no picture is in it.

settings.json   what is in force, and where it comes from
doctor.json     what is wrong, and what to do about it
system.json     the machine
versions.json   of this program and of what models run on
about.json, outbox.json, metrics.txt, log.txt   only of a box that runs
"""


async def of_box(services: Services) -> bytes:
    """Of a box that runs. Bounded by the log that is remembered."""
    facts, machine, outbox = await asyncio.gather(facts_of_box(services), report(services), services.outbox_report())
    about, metrics = services.about().model_dump(mode="json"), services.metrics.render()[0].decode()
    return await asyncio.to_thread(
        packed,
        services.settings,
        findings(facts),
        {"system.json": asdict(machine), "about.json": about, "outbox.json": outbox.model_dump(mode="json")},
        {"metrics.txt": metrics, "log.txt": "\n".join(str(line) for line in services.logs.lines())},
    )


def packed(
    settings: Settings,
    found: list[Finding],
    documents: Mapping[str, Any] | None = None,
    texts: Mapping[str, str] | None = None,
) -> bytes:
    """The zip, everything in it masked. Blocks."""
    masker = Masker(secrets_of(settings))
    all_documents = {
        "settings.json": [asdict(row) for row in settings.in_force()],
        "doctor.json": [asdict(each) for each in found],
        "system.json": {"board": asdict(board())},
        "versions.json": versions(),
        **(documents or {}),
    }
    when = datetime.now(timezone.utc)
    files = {"README.txt": README.format(when=f"{when:%Y-%m-%d %H:%M}")}
    files |= {name: json.dumps(masker.values(data), indent=2, default=str) for name, data in all_documents.items()}
    files |= {name: masker.text(text) for name, text in (texts or {}).items()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()
