"""The settings that all companions have, and how they are read: command line > environment > default.

An empty environment variable counts as not set. Names and aliases are those of learning-loop-node: `HOST` is the Loop's.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from models.errors import SettingsInvalid
from models.loop.client import LoopClient
from models.setting_types import Named, Network, Text, lower, named, upper

Host = Annotated[str, BeforeValidator(lower), Field(pattern=r"^[a-z0-9_.-]+$")]

_ONLY_TOGETHER = ("USERNAME", "PASSWORD")
"""Upstream's names for the login. Many desktops export the first of them, which then means something else."""

S = TypeVar("S", bound="CompanionSettings")


class CompanionSettings(BaseSettings):
    """What is in force. Made by `load`; made directly (in tests) it holds the arguments and defaults alone.

    A companion adds fields of its own in a subclass, and sets `companion` and the default of `port`.
    """

    model_config = ConfigDict(  # type: ignore[assignment] # that of pydantic-settings would read the environment itself
        extra="forbid", frozen=True, protected_namespaces=(), validate_default=True
    )
    companion: ClassVar[str] = "companion"
    """What it is called in sentences, and in the name of its folder: trainer, converter, annotator."""

    bind_host: Annotated[Text, named("NODE_HOST")] = Field(
        default="127.0.0.1", description="address on which the server listens; 0.0.0.0 means every network"
    )
    port: Annotated[int, named("NODE_PORT")] = Field(default=8024, ge=0, le=65535, description="TCP port of the server")
    node_name: Text = Field(
        default_factory=lambda: socket.gethostname() or "companion",
        description="name of this node in the Learning Loop; the host name where none is given",
    )
    data_folder: Path = Field(default=Path("data"), description="folder for all that is kept")

    loop_host: Annotated[Text, named("LOOP_HOST", "HOST")] | None = Field(
        default=None, description="host of the Learning Loop, with scheme and port where needed; none: no Loop is asked"
    )
    loop_organization: Annotated[Text, named("LOOP_ORGANIZATION", "ORGANIZATION")] | None = Field(
        default=None, description="organization in the Learning Loop"
    )
    loop_project: Annotated[Text, BeforeValidator(lower), named("LOOP_PROJECT", "PROJECT")] | None = Field(
        default=None, description="project in the Learning Loop; lower case"
    )
    loop_username: Annotated[Text, named("LOOP_USERNAME", "USERNAME")] | None = Field(
        default=None, description="user name in the Learning Loop"
    )
    loop_password: Annotated[SecretStr, named("LOOP_PASSWORD", "PASSWORD")] | None = Field(
        default=None, description="password of that user"
    )
    loop_ssl_cert_path: Path | None = Field(
        default=None, description="certificate (PEM) that the Learning Loop is known by, instead of the usual ones"
    )

    trusted_networks: list[Network] = Field(
        default_factory=list, description="networks (CIDR) that may do everything, as this machine itself may"
    )
    allowed_hosts: list[Host] = Field(
        default_factory=list, description="further names under which this node may be called (Host header)"
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(upper)] = Field(
        default="INFO", description="least level that is logged: DEBUG, INFO, WARNING or ERROR"
    )
    skip_repeat_on_start: bool = Field(
        default=False, description="contact the Learning Loop only after PUT /socketio on (for tests)"
    )
    use_backdoor_controls: bool = Field(default=False, description="serve the routes that only tests need")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing is read behind the caller's back: `load` does that, with upstream's aliases."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @classmethod
    def load(cls: type[S], environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> S:
        """Read the environment; `overrides` (field -> value, None = not given) are the command line.

        Raises `SettingsInvalid`, a sentence per mistake.
        """
        values = {**_read(cls, environ), **{k: v for k, v in (overrides or {}).items() if v is not None}}
        folder = Path(values.get("data_folder") or _default_folder(cls.companion, environ)).expanduser()
        try:
            return cls(**{**values, "data_folder": folder.absolute()})
        except ValidationError as error:
            raise SettingsInvalid("\n".join(_sentences(cls, error))) from error

    @classmethod
    def environment_names(cls, field: str) -> tuple[str, ...]:
        """The environment variables that a field is read from; where several are set, the first wins."""
        info = cls.model_fields[field]
        marks: list[Any] = [*info.metadata]
        for part in get_args(info.annotation):
            marks.extend(get_args(part)[1:] if get_origin(part) is Annotated else ())
        return next((mark.names for mark in marks if isinstance(mark, Named)), (field.upper(),))

    def loop_client(self) -> LoopClient | None:
        """What speaks to the Loop; None where no Loop is set. Raises `SettingsInvalid` for what is no host."""
        if self.loop_host is None:
            return None
        password = self.loop_password
        return LoopClient(
            self.loop_host,
            username=self.loop_username,
            password=None if password is None else password.get_secret_value(),
            ssl_cert_path=self.loop_ssl_cert_path,
        )


def _read(cls: type[BaseModel], environ: Mapping[str, str]) -> dict[str, Any]:
    assert issubclass(cls, CompanionSettings)
    if not all(environ.get(name, "").strip() for name in _ONLY_TOGETHER):
        environ = {name: value for name, value in environ.items() if name not in _ONLY_TOGETHER}
    values: dict[str, Any] = {}
    for field, info in cls.model_fields.items():
        text = next(
            (environ[name].strip() for name in cls.environment_names(field) if environ.get(name, "").strip()), ""
        )
        if text:
            is_list = get_origin(info.annotation) is list
            values[field] = [part.strip() for part in text.split(",") if part.strip()] if is_list else text
    return values


def _sentences(cls: type[CompanionSettings], error: ValidationError) -> list[str]:
    sentences = []
    for item in error.errors():
        wrong = item["msg"].removeprefix("Value error, ").rstrip(".")
        if not item["loc"]:
            sentences.append(f"The settings contradict each other: {wrong}.")
            continue
        field = str(item["loc"][0])
        name = cls.environment_names(field)[0] if field in cls.model_fields else field
        described = cls.model_fields[field].description if field in cls.model_fields else "there is no such setting"
        sentences.append(
            f"{name} is {str(item['input'])[:60]!r}, which cannot be used: {wrong}. What it is: {described}."
        )
    return sentences


def _default_folder(companion: str, environ: Mapping[str, str]) -> Path:
    """The service's folder where we may write to it, or where there is no home; else one in the user's data folder."""
    service = Path("/var/lib/detector-appliance")
    home = environ.get("HOME", "")
    if (service.is_dir() and os.access(service, os.W_OK)) or not home or not Path(home).is_dir():
        return service / companion
    chosen = environ.get("XDG_DATA_HOME", "")
    base = Path(chosen) if chosen and Path(chosen).is_absolute() else Path(home) / ".local" / "share"
    return base / "detector-appliance" / companion
