"""Weights that others have published on a hub of models, kept in the hub's cache on this machine."""

from __future__ import annotations

from pathlib import Path

from models.errors import DetectorApplianceError

ENDPOINT = "huggingface.co"
"""Where `huggingface_hub` looks; its variable HF_ENDPOINT names a mirror, HF_HUB_OFFLINE=1 asks nobody, HF_HOME moves the
cache."""

WEIGHTS = "model.safetensors"

ANSWER_S = 10.0


class NotReached(DetectorApplianceError):
    """Neither the hub nor the cache has it."""


def fetch(repository: str, *, anew: bool = False, endpoint: str | None = None, cache: Path | None = None) -> Path:
    """The weights of a repository, from the cache where they are in it, without asking anybody. Blocks, for minutes at most.

    `anew`: whatever the cache holds, which a power cut may have left torn.

    Raises `NotReached`, within half a minute where the hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    kept = try_to_load_from_cache(repository, WEIGHTS, cache_dir=cache)
    if isinstance(kept, str) and not anew:
        return Path(kept)
    try:
        return Path(
            hf_hub_download(
                repository, WEIGHTS, endpoint=endpoint, cache_dir=cache, etag_timeout=ANSWER_S, force_download=anew
            )
        )
    except Exception as error:  # by which library it speaks HTTP, and so what it raises, differs between its releases
        first = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise NotReached(f"{repository} was not to be had ({first})") from error
