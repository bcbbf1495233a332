"""The password of the box, and the one-time code with which somebody sets the first one: `DATA/password.json`.

No box comes with a password. Both are kept as argon2 hashes alone, the code until it was used. A file that cannot be
understood opens nothing: then a new password is set on the box itself.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from argon2 import PasswordHasher
from pydantic import BaseModel, ConfigDict, ValidationError

from appliance.hashing import check_password
from models.errors import SettingsInvalid
from models.files import FileSystem, refusal

FILE_NAME = "password.json"
"""Name inside the data folder."""

SET_HERE = "appliance password set"
"""The command that sets a password on the box itself."""

_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
"""What a code is made of: nothing that looks like something else."""

_CODE_LENGTH = 8
"""Characters: 40 bits, of which an address may try six a minute."""

_MAX_FILE_SIZE = 1 << 16  # bytes


class Kept(BaseModel):
    """What the file holds: argon2 hashes, None for what there is not."""

    model_config = ConfigDict(frozen=True, extra="allow")

    version: Literal[1] = 1
    password: str | None = None
    code: str | None = None

    @property
    def fingerprint(self) -> str:
        """Ties sessions to the password that opened them."""
        return sha256((self.password or "").encode()).hexdigest()[:16]


@dataclass(frozen=True)
class PasswordFile:
    """Reads and writes the file; both block."""

    path: Path
    files: FileSystem

    def load(self) -> Kept:
        """What is kept; nothing where there is no file. Raises `SettingsInvalid` where it cannot be understood."""
        try:
            with self.path.open("rb") as file:
                data = file.read(_MAX_FILE_SIZE)
        except FileNotFoundError:
            return Kept()
        except OSError as error:
            raise SettingsInvalid(self._closed(f"it cannot be read ({error.strerror})")) from error
        try:
            return Kept.model_validate_json(data)
        except ValidationError as error:
            raise SettingsInvalid(self._closed("it is not as this program writes it")) from error

    def save(self, kept: Kept) -> None:
        """Replace what is kept. Raises `StorageRefused`."""
        try:
            self.files.make_folders(self.path.parent)
            self.files.write_atomically(self.path, kept.model_dump_json(indent=2).encode() + b"\n")
            self.path.chmod(0o600)
        except OSError as error:
            raise refusal(error, "store the password") from error

    def _closed(self, why: str) -> str:
        return f"Nobody can log in, because of {self.path}: {why}. `{SET_HERE}` on the box sets a new password."


def set_password(file: PasswordFile, password: str, hasher: PasswordHasher | None = None) -> None:
    """Set it while no server runs; all sessions end with that. Blocks. Raises `InvalidInput`, `StorageRefused`."""
    check_password(password)
    file.save(Kept(password=(hasher or PasswordHasher()).hash(password)))


def clear_password(file: PasswordFile, hasher: PasswordHasher | None = None) -> str:
    """Forget it while no server runs; the new code. Blocks. Raises `StorageRefused`."""
    code = make_code()
    file.save(Kept(code=(hasher or PasswordHasher()).hash(plain(code))))
    return code


def make_code() -> str:
    """A one-time code as it is shown: easy to read out and to type, such as `k7qf-m2xr`."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LENGTH))
    return f"{letters[:4]}-{letters[4:]}"


def plain(code: str) -> str:
    """A code as it is compared: capitals, hyphens and spaces do not count."""
    return re.sub(r"[^a-z0-9]", "", code.lower())
