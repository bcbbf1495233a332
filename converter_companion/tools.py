"""Which Python turns networks into LiteRT, and how it is called: as a child that may crash, hang, and print what it likes."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from models.errors import ModelFailed, RuntimeMissing

NEEDED = ("litert_torch", "ai_edge_quantizer")
"""Modules that have to be importable."""

PACKAGES = ("models", "networks", "converter_companion")
"""What of this program the child needs, as sources."""

FOLDER = Path("tools") / "litert"
"""Where in the data folder `install-tools` makes the environment."""

COMPLETE = ".complete"
"""File in it that is written when everything is installed."""

WITHIN_S = 1800.0
"""For one conversion. A network of ours takes one minute; a busy machine takes its time."""

_WHAT = "What makes LiteRT of a network"
_PROBE_WITHIN_S = 60.0
_KEPT = 4000  # characters of stderr that may explain a death

Progress = Callable[[float, str], None]
"""Is told the share that is done, 0..1, and what is being done."""


def find_python(configured: Path | None, data_folder: Path) -> Path:
    """The Python to use: this one if it can, else the configured one, else the one that `install-tools` made.

    Blocks for seconds when first asked. Raises `RuntimeMissing` with the way to get one.
    """
    if all(importlib.util.find_spec(name) is not None for name in NEEDED):
        return Path(sys.executable)
    if configured is not None:
        if not can_convert(configured):
            raise RuntimeMissing(
                f"LITERT_TOOLS_PYTHON names {configured}, but that Python cannot import {' and '.join(NEEDED)}."
            )
        return configured
    own = data_folder / FOLDER / "bin" / "python"
    if (data_folder / FOLDER / COMPLETE).exists() and can_convert(own):
        return own
    raise RuntimeMissing(
        "What turns networks into LiteRT is not installed. `converter-companion install-tools` installs it into "
        f"{data_folder / FOLDER}; or LITERT_TOOLS_PYTHON names a Python that can import {' and '.join(NEEDED)}."
    )


def can_convert(python: Path) -> bool:
    """Whether that Python finds what is needed. Blocks; imports nothing of it."""
    names = ", ".join(repr(name) for name in NEEDED)
    test = f"import importlib.util, sys; sys.exit(any(importlib.util.find_spec(n) is None for n in ({names},)))"
    try:
        done = subprocess.run(  # noqa: S603 # the path is the user's own setting
            [python, "-c", test], env=_environment(None), capture_output=True, timeout=_PROBE_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def run(
    python: Path,
    arguments: Sequence[str],
    progress: Progress,
    *,
    within: float = WITHIN_S,
    stopped: threading.Event | None = None,
) -> None:
    """Run `python` with these arguments and read its lines, `litert_child` tells which. Blocks until it is done.

    Raises `ModelFailed`: the child said why it failed, died, or was not done within `within` seconds. It does not outlive
    this call; setting `stopped` ends it.
    """
    with sources() as path, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(  # noqa: S603 # see above
            [python, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(path),
            cwd=path,
            start_new_session=True,
        )
        try:
            said = _follow(child, progress, within, stopped)
        finally:
            _end(child)
        if said is None:
            raise ModelFailed(f"{_WHAT} {_died(child.returncode)}{_last_words(errors)}")
        if said != "":
            raise ModelFailed(f"{_WHAT} failed: {said}")


def _follow(
    child: subprocess.Popen[bytes], progress: Progress, within: float, stopped: threading.Event | None
) -> str | None:
    """What it said at its end: nothing if it is done, a sentence if it failed; None if it did not get that far.

    Raises `ModelFailed` if it takes too long or is not wanted any more.
    """
    until = time.monotonic() + within
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def read(pipe: IO[bytes]) -> None:
        with pipe:
            while line := pipe.readline(65536):
                lines.put(line)
        lines.put(None)

    assert child.stdout is not None
    threading.Thread(target=read, args=(child.stdout,), name="lines of a child", daemon=True).start()
    while True:
        if stopped is not None and stopped.is_set():
            raise ModelFailed("The conversion was stopped.")
        if time.monotonic() > until:
            raise ModelFailed(f"{_WHAT} was not done within {within:.0f} s and was ended.")
        try:
            line = lines.get(timeout=0.25)
        except queue.Empty:
            continue
        if line is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
            return None
        try:
            told = json.loads(line)
            event = told["event"]
        except (ValueError, TypeError, KeyError):
            continue  # a library that found the way to our stdout
        if event == "progress":
            progress(float(told["share"]), str(told["doing"]))
        elif event == "done":
            return ""
        elif event == "failed":
            return str(told["message"])[:1000] or "it does not say why"


def _end(child: subprocess.Popen[bytes]) -> None:
    """The child and whatever it started."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(0.5)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@contextlib.contextmanager
def sources() -> Iterator[Path]:
    """A folder with nothing but the packages that the child needs.

    The folder in which this program is installed would do as well, were it not for everything else that lies there: made
    for this Python, it would be found before the child's own.
    """
    with tempfile.TemporaryDirectory(prefix="converter-") as folder:
        for name in PACKAGES:
            spec = importlib.util.find_spec(name)
            assert spec is not None and spec.submodule_search_locations
            (Path(folder) / name).symlink_to(Path(next(iter(spec.submodule_search_locations))).resolve())
        yield Path(folder)


def _environment(path: Path | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    kept.pop("VIRTUAL_ENV", None)
    # Two OpenMP threads that spin for each other can be ten times slower than one on a busy machine.
    kept |= {
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "JAX_PLATFORMS": "cpu",
    }
    if path is not None:
        kept["PYTHONPATH"] = str(path)
    return kept


def _died(code: int | None) -> str:
    if code is not None and code < 0:
        return f"died of {signal.Signals(-code).name}"
    return f"ended with status {code} without saying why"


def _last_words(errors: IO[bytes]) -> str:
    errors.seek(0, os.SEEK_END)
    errors.seek(max(0, errors.tell() - _KEPT))
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    return f". Its last words: {lines[-1].strip()[:400]}" if lines else "."
