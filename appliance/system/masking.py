"""Takes secrets out of what is told to others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from appliance.api_keys import PREFIX
from appliance.settings import Settings

MASK = "**********"

_SHAPES = (
    (re.compile(PREFIX + r"[A-Za-z0-9_-]{20,}"), MASK),  # API keys, whoever they belong to
    (re.compile(r"(?<=://)[^/@\s\"']+@"), f"{MASK}@"),  # user and password in an address
    (re.compile(r"\$argon2\w*\$[^\s\"']+"), MASK),
    (
        re.compile(
            r"(?i)\b((?:authorization|cookie|set-cookie|x-api-key|password|token|secret)\b[\"']?\s*[:=]\s*)(?!\*)[^\n]+"
        ),
        rf"\1{MASK}",
    ),
)
"""What secrets look like whose words we do not know."""


def secrets_of(settings: Settings) -> frozenset[str]:
    """The secrets in the settings themselves."""
    values = (getattr(settings, name) for name in type(settings).model_fields)
    return frozenset(value.get_secret_value() for value in values if isinstance(value, SecretStr)) - {""}


class Masker:
    """Replaces these secrets, as they are and as they stand in JSON and in addresses, and whatever looks like one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {
            form for each in secrets for form in (each, json.dumps(each)[1:-1], quote(each, safe=""), quote_plus(each))
        }
        self._forms = sorted(forms, key=len, reverse=True)  # a secret may hold another one

    def text(self, text: str) -> str:
        """The same without secrets."""
        for form in self._forms:
            text = text.replace(form, MASK)
        for shape, mask in _SHAPES:
            text = shape.sub(mask, text)
        return text

    def values(self, data: Any) -> Any:
        """JSON data with every text in it masked."""
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, dict):
            return {self.text(str(key)): self.values(value) for key, value in data.items()}
        return [self.values(each) for each in data] if isinstance(data, list | tuple) else data
