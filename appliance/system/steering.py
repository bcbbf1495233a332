"""What people can do to the program itself, be it by a route or a page."""

from __future__ import annotations

import asyncio
import logging

from appliance.logs import Level, parse_level
from appliance.services import Services
from models.errors import DetectionUnavailable

log = logging.getLogger(__name__)

ANSWER_FIRST = 0.2
"""Seconds between the wish to start anew and the end: whoever wished hears that it is done."""


def set_log_level(word: str) -> Level:
    """From now on, until the next start. Raises `InvalidInput`."""
    level = parse_level(word)
    logging.getLogger().setLevel(level)
    log.log(max(logging.getLogger().level, logging.INFO), "the log now has everything from %s on", level)
    return level


def restart_soon(services: Services) -> None:
    """Returns at once. Raises `DetectionUnavailable` where somebody else has started the server."""
    if services.restart is None:
        raise DetectionUnavailable("This server cannot start itself anew: whoever started it has to.")
    log.warning("starting anew, because somebody asked for it")
    asyncio.get_running_loop().call_later(ANSWER_FIRST, services.restart)
