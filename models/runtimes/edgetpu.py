"""Finding Google's Edge TPU and asking for its delegate.

An Edge TPU shows itself as `/dev/apex_0` (PCIe) or as a USB device, which has one id before its firmware is loaded and
another one afterwards.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.errors import RuntimeMissing

DELEGATE = "libedgetpu.so.1"
USB_IDS = {("1a6e", "089a"), ("18d1", "9302")}
"""Vendor and product before (Global Unichip) and after (Google) the firmware is loaded."""


def devices(root: Path = Path("/")) -> list[str]:
    """Edge TPUs that this machine shows, by device path. Asks Google's pycoral where that is installed."""
    listed = _listed_by_pycoral()
    if listed is not None:
        return listed
    pcie = [str(path) for path in sorted((root / "dev").glob("apex_*"))]
    usb = [str(path) for path in sorted((root / "sys/bus/usb/devices").glob("*")) if _usb_id(path) in USB_IDS]
    return pcie + usb


def _usb_id(device: Path) -> tuple[str, str]:
    try:
        vendor = (device / "idVendor").read_text(encoding="ascii").strip()
        return vendor, (device / "idProduct").read_text(encoding="ascii").strip()
    except OSError:  # hubs and interfaces have no ids, and a stick can be pulled while we look
        return "", ""


def _listed_by_pycoral() -> list[str] | None:
    if importlib.util.find_spec("pycoral") is None:
        return None
    try:
        listing = importlib.import_module("pycoral.utils.edgetpu").list_edge_tpus
    except (ImportError, AttributeError):  # the pycoral of PyPI is about coral reefs
        return None
    return [str(found.get("path", found)) for found in listing()]


def delegate(load_delegate: Callable[[str], Any], root: Path = Path("/")) -> Any:
    """The Edge TPU as a delegate of an interpreter. Raises `RuntimeMissing` with what to do."""
    try:
        return load_delegate(DELEGATE)
    except OSError as error:
        raise RuntimeMissing(
            f"{DELEGATE} is not installed, so an Edge TPU cannot be used: install Google's package libedgetpu1-std"
        ) from error
    except ValueError as error:
        found = devices(root)
        hint = (
            f"{', '.join(found)} is there but does not answer: is another program using it, may this user open it?"
            if found
            else "no Edge TPU is plugged in (looked for /dev/apex_* and on USB)"
        )
        raise RuntimeMissing(f"The Edge TPU does not answer: {hint}") from error
