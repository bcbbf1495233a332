"""Starts the subprocess of a training and hands on what it says: for whoever waits for it in a thread of his own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread

from models.errors import ModelFailed
from trainer_companion import job
from trainer_companion.children import LAUNCHER, ask_to_end
from trainer_companion.progress import Done, Event, Failed, parse

MOST_STARTS = 4
"""How often one training is started, when it asks for it."""

LAST_LINES = 20
"""Of what the subprocess wrote on standard error, for whoever has to find out why it ended."""


class Training:
    """One subprocess, torchrun or plain Python, in a process group of its own."""

    def __init__(self, folder: Path, processes: int, torchrun: Sequence[str] = ()) -> None:
        self._folder, self._processes, self._torchrun = folder, processes, torchrun
        self._process: subprocess.Popen[str] | None = None
        self._command: Sequence[str] = ()
        self._stopped = False

    def run(self, heard: Callable[[Event], None]) -> Done:
        """Train to the end, telling `heard` every event. Blocks. Raises `ModelFailed` with the reason.

        A training that asks to be started again (`Failed.again`) is, a few times.
        """
        starts = 0
        while True:
            starts += 1
            last = self._once(heard)
            if isinstance(last, Done):
                return last
            if not last.again or self._stopped or starts == MOST_STARTS:
                raise ModelFailed(last.message)

    def stop(self) -> None:
        """Ask it to end soon, keeping its best model. Returns at once; may be called by another thread."""
        self._stopped = True
        if self._process is not None and self._process.poll() is None:
            ask_to_end(self._process.pid, launches=LAUNCHER in self._command)

    def kill(self) -> None:
        """End it now."""
        self._stopped = True
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _once(self, heard: Callable[[Event], None]) -> Done | Failed:
        end: Done | Failed | None = None
        said: deque[str] = deque(maxlen=LAST_LINES)
        self._command = job.command(self._folder, self._processes, self._torchrun)
        with subprocess.Popen(  # noqa: S603 # our own module, by the same Python
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=job.environment(),
            start_new_session=True,
        ) as process:
            self._process = process
            assert process.stdout is not None and process.stderr is not None
            listener = Thread(target=said.extend, args=(process.stderr,), daemon=True)
            listener.start()
            try:
                for line in process.stdout:
                    event = parse(line)
                    if event is None:
                        continue
                    if isinstance(event, Done | Failed):
                        end = event
                    heard(event)
            except BaseException:
                self.kill()
                raise
            process.wait()
            listener.join(5)
        if end is not None:
            return end
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"status {process.returncode}"
        why = said[-1].strip() if said else "it said nothing"
        return Failed(message=f"The training process ended ({how}) without a result: {why}")
