"""How a server of this project, the box or a companion, has a new process take its place."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

log = logging.getLogger(__name__)

TRY_AGAIN = 75
"""Exit status where no other process could take the place of this one (EX_TEMPFAIL of sysexits.h): systemd starts one."""


def begin_anew() -> NoReturn:
    """Have a new process take the place of this one, under the same number and called in the same way."""
    log.info("starting anew")
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - as we were called
    except OSError as error:
        log.error("cannot start anew: %s", error)
        raise SystemExit(TRY_AGAIN) from error
