"""Which way to run a model on this box: measured in a process of its own, remembered by bundle and machine."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models import runtimes
from models.bundle import Bundle
from models.errors import BundleError, DetectorApplianceError, ModelFailed
from models.fastest import Measured, machine, ranked
from models.files import FileSystem
from models.runtimes.base import Choice

log = logging.getLogger(__name__)

MAX_REMEMBERED = 100
"""Bundles and machines; the oldest is forgotten first."""

MAX_CRASHES = 5
"""So many ways may kill their process before measuring is given up."""


@dataclass(frozen=True)
class Ways:
    """The ways to run one model here, fastest first, and why others are out of question (`measured` holds all)."""

    choices: tuple[Choice, ...]
    measured: tuple[Measured, ...] = ()
    lost: Choice | None = None
    """An accelerated way that ran this model before and whose accelerator is not there now."""


@dataclass
class Chooser:
    """Measures and remembers. `wanted` is the setting `runtime`: `auto`, or the beginning of a choice."""

    cache: Path
    wanted: str
    files: FileSystem = field(default_factory=FileSystem)
    deadline: float = 120.0

    async def choose(self, bundle: Bundle) -> Ways:
        """Raises `ModelFailed` or `BundleError` if there is no way to run the bundle here."""
        if self.wanted.count("/") == 2:
            return Ways((Choice.parse(self.wanted),))
        remembered = await asyncio.to_thread(self._remembered)
        accelerators = await asyncio.to_thread(self._accelerators, bundle)
        key = self._key(bundle, accelerators)
        measured = _measured_of(remembered.get(key))
        if measured is None:
            measured = await self._measure(bundle)
            log.info("measured %s", ", ".join(_in_words(way) for way in measured))
            await asyncio.to_thread(self._remember, key, bundle.fingerprint, measured)
        best = ranked(measured)
        if not best:
            reasons = "; ".join(f"{way.choice}: {way.reason}" for way in measured)
            raise ModelFailed(f"This box can run the model in no way. {reasons}")
        return Ways(tuple(way.choice for way in best), tuple(measured), self._lost(bundle, remembered, accelerators))

    def _accelerators(self, bundle: Bundle) -> dict[tuple[str, str], bool]:
        """Runtime and accelerator of the bundle's weights -> whether it is there; what is measured depends on it."""
        inference = bundle.model.inference
        wanted: set[tuple[str, str]] = set()
        for weights in inference.weights if inference else ():
            anywhere = ("cuda", "tensorrt") if weights.accelerator == "any" else (weights.accelerator,)
            wanted |= {(weights.runtime, accelerator) for accelerator in anywhere}
        return {
            (runtime, accelerator): runtimes.runtime(runtime).present(accelerator)
            for runtime, accelerator in sorted(wanted)
            if accelerator != "cpu"
        }

    def _key(self, bundle: Bundle, accelerators: dict[tuple[str, str], bool]) -> str:
        there = [f"{runtime}/{accelerator}" for (runtime, accelerator), present in accelerators.items() if present]
        text = "|".join((bundle.fingerprint, machine(), _libraries(), self.wanted, *there))
        return hashlib.sha256(text.encode()).hexdigest()

    def _lost(
        self, bundle: Bundle, remembered: dict[str, Any], accelerators: dict[tuple[str, str], bool]
    ) -> Choice | None:
        for entry in remembered.values():
            best = ranked(_measured_of(entry) or ())
            if entry.get("bundle") != bundle.fingerprint or not best:
                continue
            first = best[0].choice
            if first.accelerator != "cpu" and not accelerators.get((first.runtime, first.accelerator), False):
                return first
        return None

    async def _measure(self, bundle: Bundle) -> list[Measured]:
        crashed: list[Measured] = []
        while True:
            finished, trying = await self._measuring_process(bundle, [way.choice for way in crashed])
            if trying is None:
                return [*finished, *crashed]
            log.warning("running the model as %s killed its process", trying)
            crashed.append(Measured(trying, None, "killed the process that tried it"))
            if len(crashed) == MAX_CRASHES:
                return [*finished, *crashed]

    async def _measuring_process(self, bundle: Bundle, skip: Sequence[Choice]) -> tuple[list[Measured], Choice | None]:
        """What could be measured, and the way that was being tried when the process died or hung."""
        order = {
            "folder": str(bundle.folder),
            "cache": str(self.cache),
            "wanted": self.wanted,
            "skip": [str(choice) for choice in skip],
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "appliance.inference.measuring",
            json.dumps(order),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        measured: list[Measured] = []
        trying: Choice | None = None
        try:
            assert process.stdout is not None
            while line := await asyncio.wait_for(process.stdout.readline(), self.deadline):
                said = json.loads(line)
                if "failed" in said:
                    raise _failure(said)
                if "trying" in said:
                    trying = Choice.parse(said["trying"])
                else:
                    measured.append(Measured(Choice.parse(said["tried"]), said["milliseconds"], said["reason"]))
                    trying = None
            code = await asyncio.wait_for(process.wait(), self.deadline)
            if code != 0 and trying is None:
                raise ModelFailed(f"Looking for a way to run the model failed: its process ended with status {code}")
        except asyncio.TimeoutError:
            if trying is None:
                raise ModelFailed(f"Looking for a way to run the model took longer than {self.deadline:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        return measured, trying

    @property
    def _file(self) -> Path:
        return self.cache / "runtimes.json"

    def _remembered(self) -> dict[str, Any]:
        try:
            read = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            log.warning("what was measured before cannot be read and is measured again: %s", error)
            return {}
        return read if isinstance(read, dict) else {}

    def _remember(self, key: str, fingerprint: str, measured: Sequence[Measured]) -> None:
        remembered = self._remembered()
        remembered.pop(key, None)
        remembered[key] = {"bundle": fingerprint, "measured": [asdict(way) for way in measured]}
        newest = dict(list(remembered.items())[-MAX_REMEMBERED:])
        self.cache.mkdir(parents=True, exist_ok=True)
        self.files.write_atomically(self._file, json.dumps(newest, indent=1).encode())


def _failure(said: dict[str, Any]) -> DetectorApplianceError:
    return BundleError(said["message"]) if said["failed"] == "BundleError" else ModelFailed(said["message"])


def _measured_of(entry: Any) -> list[Measured] | None:
    try:
        return [Measured(Choice(**way["choice"]), way["milliseconds"], way["reason"]) for way in entry["measured"]]
    except (KeyError, TypeError):
        return None


def _libraries() -> str:
    """Versions of the installed runtimes: an update is measured anew. Read from metadata, importing none of them."""
    from importlib import metadata

    found = []
    for distribution in ("ai-edge-litert", "tflite-runtime", "onnxruntime", "onnxruntime-gpu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{distribution} {metadata.version(distribution)}")
    return ",".join(found)


def _in_words(way: Measured) -> str:
    return f"{way.choice} {way.milliseconds:.1f} ms" if way.milliseconds is not None else f"{way.choice}: {way.reason}"
