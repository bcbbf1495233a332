"""Signed cookies: the secret in the data folder, and what signs with it."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from itsdangerous import BadSignature, URLSafeSerializer

from models.files import FileSystem, refusal

_SECRET_BYTES = 32


def secret_in(path: Path, files: FileSystem) -> bytes:
    """The secret that signs cookies; made where there is none. Blocks. Raises `StorageRefused`."""
    try:
        if path.exists():
            found = path.read_bytes()
            if len(found) >= _SECRET_BYTES:
                return found
        made = secrets.token_bytes(_SECRET_BYTES)
        files.make_folders(path.parent)
        files.write_atomically(path, made)
        path.chmod(0o600)
    except OSError as error:
        raise refusal(error, "keep the secret that signs sessions") from error
    return made


class Signer:
    """Signs values that are plain JSON (HMAC-SHA256), and knows its own signature again."""

    def __init__(self, secret: bytes) -> None:
        signing = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        self._serializer = URLSafeSerializer(secret, salt="session", signer_kwargs=signing)

    def sign(self, value: object) -> str:
        """The value and its signature, as text that a cookie can hold."""
        text = self._serializer.dumps(value)
        return text if isinstance(text, str) else text.decode()

    def read(self, text: str) -> object:
        """What was signed; None where that was not done here."""
        try:
            value: object = self._serializer.loads(text)
        except (BadSignature, ValueError, TypeError):
            return None
        return value
