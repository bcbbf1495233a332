"""Whose models this box may run, from its settings."""

from __future__ import annotations

from appliance.settings import Settings
from appliance.versions.selection import FORMATS_WITH_GPU, FORMATS_WITHOUT_GPU, Scope
from models.runtimes import nvidia


def scope_of(settings: Settings) -> Scope:
    """Whose models count, in which formats."""
    preferred = FORMATS_WITH_GPU if nvidia.identity() is not None else FORMATS_WITHOUT_GPU
    formats = (settings.model_format,) if settings.model_format else preferred
    ours = settings.loop_organization is not None and settings.loop_project is not None
    return Scope(settings.loop_organization if ours else None, settings.loop_project if ours else None, formats)


def runnable_formats(scope: Scope) -> tuple[str, ...]:
    """The formats whose models may run on this box, by these settings or by others."""
    return tuple(dict.fromkeys((*scope.formats, *FORMATS_WITHOUT_GPU)))
