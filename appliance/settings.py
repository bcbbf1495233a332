"""Every setting of the appliance, and the only place where environment and configuration files are read.

    command line  >  environment  >  DATA/settings.toml  >  appliance.toml  >  default
                                     (the dashboard's)      (--config, /etc/detector-appliance, working directory)

An empty environment variable counts as not set. Unknown keys of a file are errors; unknown variables are none of ours.
Where each value came from is kept beside it, for `appliance settings` and the dashboard.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from models.errors import SettingsInvalid
from models.setting_types import Named, Network, Text, lower, named, upper

COMMAND_LINE = "command line"
DEFAULT = "default"
CONFIG_FILE = "appliance.toml"
OVERLAY_FILE = "settings.toml"
"""Name inside the data folder of the file that the dashboard writes."""

_VERSION = re.compile(r"([^/\s]+/[^/\s]+/([^/\s]+/)?)?[0-9]+(\.[0-9]+)*")
_HOST = re.compile(r"[A-Za-z0-9_.-]+|\[?[0-9A-Fa-f:.]+\]?")


def _version_control(value: str) -> str:
    if value.lower() in {"follow_loop", "pause"}:
        return value.lower()
    if _VERSION.fullmatch(value):
        return value
    raise ValueError("it must be follow_loop, pause, or a version such as 1.4")


def _loop_host(value: str) -> str:
    if "@" in value:
        raise ValueError("a host must not carry a user name or password")
    return value.rstrip("/")


def _camera_name(value: str) -> str:
    value = value.strip()
    if value and value.isprintable():
        return value
    raise ValueError("a name has letters or digits that can be seen")


def _names_by_id(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value
    raise ValueError("names by camera id are due, such as usb-0=Front left,usb-1=Rear")


def _plain_host(value: str) -> str:
    if _HOST.fullmatch(value):
        return value.strip("[]")
    raise ValueError("a host name or an IP address is due, without scheme, port or path")


Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Confidence = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
CameraId = Annotated[str, Field(min_length=1, max_length=256)]
CameraName = Annotated[str, Field(max_length=60), AfterValidator(_camera_name)]
Host = Annotated[str, BeforeValidator(lower), AfterValidator(_plain_host)]


class Settings(BaseSettings):
    """What is in force. Made by `load_settings`; made directly (in tests) it holds the arguments and defaults alone."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, protected_namespaces=(), validate_default=True)

    bind_host: Annotated[Text, named("NODE_HOST")] = Field(
        default="127.0.0.1", description="address on which the server listens; 0.0.0.0 means every network"
    )
    port: Annotated[int, named("NODE_PORT")] = Field(default=8004, ge=1, le=65535, description="TCP port of the server")
    node_name: Text = Field(
        default_factory=lambda: socket.gethostname() or "detector",
        description="name of this box in the Learning Loop; the host name where none is given",
    )
    node_version: Text | None = Field(default=None, description="version of the product that this box is a part of")
    data_folder: Path = Field(
        default=Path("data"),
        description="folder for models, pictures and state; where none is given, detector-appliance in the user's data "
        "folder, or /var/lib/detector-appliance for a service",
    )

    loop_host: Annotated[Text, AfterValidator(_loop_host), named("LOOP_HOST", "HOST")] | None = Field(
        default=None, description="host of the Learning Loop, with scheme and port where needed; none: standalone"
    )
    loop_organization: Annotated[Text, named("LOOP_ORGANIZATION", "ORGANIZATION")] | None = Field(
        default=None, description="organization in the Learning Loop"
    )
    loop_project: Annotated[Text, BeforeValidator(lower), named("LOOP_PROJECT", "PROJECT")] | None = Field(
        default=None, description="project in the Learning Loop; lower case"
    )

    loop_username: Annotated[Text, named("LOOP_USERNAME", "USERNAME")] | None = Field(
        default=None, description="user name in the Learning Loop; the embedded loop makes this user at its first start"
    )
    loop_password: Annotated[SecretStr, named("LOOP_PASSWORD", "PASSWORD")] | None = Field(
        default=None, description="password of that user"
    )
    loop_ssl_cert_path: Path | None = Field(
        default=None, description="certificate (PEM) that the Learning Loop is known by, instead of the usual ones"
    )
    sync_cycles: int = Field(
        default=6, ge=1, le=720, description="status to the Learning Loop every so many times 5 seconds, and on changes"
    )
    skip_repeat_on_start: bool = Field(
        default=False, description="contact the Learning Loop only after PUT /socketio on (for tests)"
    )

    model_format: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$")] | None = Field(
        default=None, description="format of models to look for; none: onnx where CUDA is present, else litert"
    )
    runtime: str = Field(
        default="auto",
        pattern=r"^[a-z0-9_.-]{1,64}(/[a-z]+(/[1-9][0-9]{0,2})?)?$",
        description="how models are run: auto (the fastest as measured), or runtime, runtime/accelerator or "
        "runtime/accelerator/threads, such as onnx/cpu or litert/cpu/2",
    )
    exclusive_model_build: bool = Field(
        default=False, description="free the old model before the new one is loaded (one accelerator, little memory)"
    )
    version_control_default: Annotated[str, AfterValidator(_version_control)] | None = Field(
        default=None,
        description="model version control at start: follow_loop, pause or a version; none: as before the restart",
    )

    min_uncertain_threshold: Confidence = Field(
        default=0.3, description="confidence (0..1) from which a detection counts as uncertain"
    )
    max_uncertain_threshold: Confidence = Field(
        default=0.6, description="confidence (0..1) up to which a detection counts as uncertain"
    )
    max_cameras: int = Field(default=1000, ge=1, le=100_000, description="cameras whose history is remembered")

    camera_names: Annotated[dict[CameraId, CameraName], Field(max_length=256), BeforeValidator(_names_by_id)] = Field(
        default_factory=dict, description="camera id = what people call that camera on the pages; at most 256"
    )

    max_picks_per_camera_per_hour: int = Field(
        default=200, ge=0, description="pictures of one camera that the filter may pick in an hour; 0: none"
    )

    max_outbox_size: int = Field(default=1000, ge=0, description="pictures that may wait in the outbox")
    max_outbox_mb: int = Field(default=2048, ge=0, description="size to which the outbox may grow, megabytes")
    min_free_disk_mb: int = Field(default=200, ge=0, description="disk space that is always left free, megabytes")

    upload_max_mbit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, description="bandwidth that sending to the Learning Loop may take, megabit a second; none: all"
    )

    keep_model_versions: int = Field(
        default=3, ge=0, le=1000, description="model versions kept beside the current and the last good one"
    )
    max_models_mb: int = Field(
        default=4096, ge=1, description="size to which the folder of models may grow, megabytes; older versions go"
    )

    queue_depth: int = Field(default=32, ge=1, le=10_000, description="pictures that may wait for the model")
    max_wait_socketio_s: Seconds = Field(
        default=2.5, description="longest wait for the model of a picture from Socket.IO, seconds; then it is refused"
    )
    max_wait_rest_s: Seconds = Field(
        default=10.0, description="longest wait for the model of a picture from REST, seconds; then it is refused"
    )
    inference_deadline_s: Seconds = Field(
        default=10.0, description="time in which the model must answer, seconds; then its process is replaced"
    )
    load_deadline_s: Seconds = Field(default=120.0, description="time in which a model must be loaded, seconds")
    max_image_mb: int = Field(default=64, ge=1, le=1024, description="largest picture that is accepted, megabytes")
    max_image_megapixels: int = Field(
        default=100, ge=1, le=1000, description="largest picture that is accepted, millions of pixels"
    )

    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(upper)] = Field(
        default="INFO", description="least level that is logged: DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(lower)] = Field(
        default="text", description="text for people, or json: one object per line"
    )

    open_detection: bool = Field(
        default=True, description="strangers on the network may call /detect and read the status"
    )
    trusted_networks: list[Network] = Field(
        default_factory=list, description="networks (CIDR) that may do everything, without credentials"
    )
    trusted_proxies: list[Network] = Field(
        default_factory=list, description="addresses or networks (CIDR) whose forwarding headers are believed"
    )
    allowed_hosts: list[Host] = Field(
        default_factory=list, description="further names under which this box may be called (Host header)"
    )
    use_backdoor_controls: bool = Field(default=False, description="serve /reset, which deletes all data (for tests)")

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _warnings: list[str] = PrivateAttr(default_factory=list)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing is read behind the caller's back: `load_settings` merges the sources, to know each origin."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @model_validator(mode="after")
    def _without_contradiction(self) -> Settings:
        if self.min_uncertain_threshold > self.max_uncertain_threshold:
            raise ValueError(
                f"min_uncertain_threshold ({self.min_uncertain_threshold:g}) lies above "
                f"max_uncertain_threshold ({self.max_uncertain_threshold:g}); it must not be greater"
            )
        if self.load_deadline_s < self.inference_deadline_s:
            raise ValueError(
                f"load_deadline_s ({self.load_deadline_s:g} s) is shorter than inference_deadline_s "
                f"({self.inference_deadline_s:g} s), but loading a model includes running it; it must not be shorter"
            )
        return self

    @property
    def standalone(self) -> bool:
        """Whether this box contacts no Learning Loop: host, organization or project is missing."""
        return not (self.loop_host and self.loop_organization and self.loop_project)

    def changed(self, values: Mapping[str, Any]) -> Settings:
        """The same with other values, checked as those of a file are. Raises `SettingsInvalid`, a sentence per mistake."""
        unknown = [name for name in values if name not in type(self).model_fields]
        if unknown:
            raise SettingsInvalid(
                f"There is no setting {unknown[0][:60]!r}; `appliance settings` lists those that exist."
            )
        kept = {name: getattr(self, name) for name in type(self).model_fields}
        try:
            return type(self)(**{**kept, **values})
        except ValidationError as error:
            raise SettingsInvalid("\n".join(_sentences(error, dict.fromkeys(values, "as asked for")))) from error

    @property
    def warnings(self) -> list[str]:
        """Sentences on what was accepted, but is probably not what was meant."""
        return list(self._warnings)

    def origin(self, name: str) -> str:
        """Where the value of a field came from: `environment NAME`, `file PATH`, `command line` or `default`."""
        return self._origins.get(name, DEFAULT)

    def in_force(self) -> list[SettingInForce]:
        """Every setting with its value and origin, in the order of this class. Secrets are masked."""
        values = self.model_dump(mode="json")  # a SecretStr masks itself
        return [
            SettingInForce(
                name=name,
                value=values[name],
                origin=self.origin(name),
                environment=environment_names(name),
                description=field.description or "",
            )
            for name, field in type(self).model_fields.items()
        ]


@dataclass(frozen=True)
class SettingInForce:
    """One line of `appliance settings`. `value` is plain JSON data, masked where it is secret."""

    name: str
    value: Any
    origin: str
    environment: tuple[str, ...]
    description: str


def environment_names(field: str) -> tuple[str, ...]:
    """The environment variables that a field is read from; where several are set, the first wins."""
    info = Settings.model_fields[field]
    candidates: list[Any] = [*info.metadata]
    for part in get_args(info.annotation):
        candidates.extend(get_args(part)[1:] if get_origin(part) is Annotated else ())
    return next((mark.names for mark in candidates if isinstance(mark, Named)), (field.upper(),))


def load_settings(
    *,
    environ: Mapping[str, str],
    config: Path | None = None,
    data_dir: Path | None = None,
    working_directory: Path,
    overrides: Mapping[str, Any] | None = None,
    system_root: Path = Path("/"),
) -> Settings:
    """Read every source and merge them.

    `config` is the file named on the command line, `data_dir` and `overrides` (field -> value, None = not given) are
    its other options. `system_root` is where /etc and /var are. Raises `SettingsInvalid` with a sentence per mistake.
    """
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    if data_dir is not None:
        given["data_folder"] = data_dir
    _refuse_unknown(given, "the command line")
    environment, named, warnings = _read_environment(environ)
    path = _config_file(config, working_directory, system_root)
    file = _read_file(path) if path else {}
    layers = [_Layer(given, dict.fromkeys(given, COMMAND_LINE)), _Layer(environment, named)]
    below = [_Layer(file, dict.fromkeys(file, f"file {path}"))]

    found = next((layer.values["data_folder"] for layer in [*layers, *below] if "data_folder" in layer.values), None)
    folder = (
        _default_data_folder(environ, system_root) if found is None else _absolute(found, environ, working_directory)
    )
    overlay = folder / OVERLAY_FILE
    changed = _read_file(overlay) if _is_file(overlay) else {}
    if "data_folder" in changed:
        raise SettingsInvalid(f"{overlay} sets data_folder, but lies in it; set it in {CONFIG_FILE} or as DATA_FOLDER.")
    settings = _merge([*layers, _Layer(changed, dict.fromkeys(changed, f"file {overlay}")), *below], folder)
    settings._warnings = [*warnings, *_worth_a_warning(settings)]
    return settings


@dataclass(frozen=True)
class _Layer:
    """One source: field -> value, and field -> origin."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]


def _merge(layers: Sequence[_Layer], data_folder: Path) -> Settings:
    """Earlier layers win; the data folder has been decided already."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in reversed(layers):
        values.update(layer.values)
        origins.update(layer.origins)
    try:
        settings = Settings(**{**values, "data_folder": data_folder})
    except ValidationError as error:
        raise SettingsInvalid("\n".join(_sentences(error, origins))) from error
    settings._origins = origins
    return settings


def _worth_a_warning(settings: Settings) -> list[str]:
    found = []
    parts = {
        "LOOP_HOST": settings.loop_host,
        "LOOP_ORGANIZATION": settings.loop_organization,
        "LOOP_PROJECT": settings.loop_project,
    }
    missing = [name for name, value in parts.items() if not value]
    if 0 < len(missing) < len(parts):
        found.append(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set: this box stays standalone until "
            "host, organization and project of the Learning Loop are all given."
        )
    if any(network.prefixlen == 0 for network in settings.trusted_networks):
        found.append("trusted_networks holds every address there is: everybody who reaches this box may do everything.")
    return found


def _sentences(error: ValidationError, origins: Mapping[str, str]) -> list[str]:
    sentences = []
    for item in error.errors():
        wrong = item["msg"].removeprefix("Value error, ").rstrip(".")
        if not item["loc"]:  # the model as a whole: the message is the sentence
            sentences.append(f"The settings contradict each other: {wrong}.")
            continue
        name = str(item["loc"][0])
        description = Settings.model_fields[name].description
        sentences.append(
            f"{name} is {item['input']!r} ({origins.get(name, DEFAULT)}), which cannot be used: "
            f"{wrong[:1].lower()}{wrong[1:]}. What it is for: {description}."
        )
    return sentences


def _read_environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Field -> value, field -> origin, and warnings about names that contradict each other."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    warnings: list[str] = []
    if not all(environ.get(name, "").strip() for name in _ONLY_TOGETHER):
        environ = {name: value for name, value in environ.items() if name not in _ONLY_TOGETHER}
    for field in Settings.model_fields:
        found = [(name, environ[name].strip()) for name in environment_names(field) if environ.get(name, "").strip()]
        if not found:
            continue
        name, text = found[0]
        values[field] = _READERS.get(get_origin(Settings.model_fields[field].annotation), str)(text)
        origins[field] = f"environment {name}"
        warnings.extend(
            f"{name} and {other} are both set and differ: {name} counts." for other, rival in found[1:] if rival != text
        )
    return values, origins, warnings


_ONLY_TOGETHER = ("USERNAME", "PASSWORD")
"""Upstream's names for the login. Many desktops export the first of them, which then means something else."""


def _list(text: str) -> Any:
    """`a, b` or `["a", "b"]`. What is no list after all is refused by the validation that follows."""
    if text.startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return [part.strip() for part in text.split(",") if part.strip()]


def _mapping(text: str) -> Any:
    """`a=b, c=d` or `{"a": "b", "c": "d"}`. What is neither is refused by the validation that follows."""
    if text.startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    return {key.strip(): value.strip() for key, _, value in pairs} if all(sign for _, sign, _ in pairs) else text


_READERS: dict[Any, Callable[[str], Any]] = {list: _list, dict: _mapping}
"""How a variable's text becomes the value of a field of that kind."""


def _config_file(config: Path | None, working_directory: Path, system_root: Path) -> Path | None:
    if config is not None:
        path = working_directory / config
        if not _is_file(path):
            raise SettingsInvalid(f"There is no configuration file {path}; --config must name one that exists.")
        return path
    usual = [system_root / "etc" / "detector-appliance" / CONFIG_FILE, working_directory / CONFIG_FILE]
    return next((path for path in usual if _is_file(path)), None)


def _absolute(folder: Any, environ: Mapping[str, str], working_directory: Path) -> Path:
    if not isinstance(folder, str | Path):
        raise SettingsInvalid(f"data_folder is {folder!r}, but must be the path of a folder, as text.")
    path, home = Path(folder), environ.get("HOME", "")
    if path.parts[:1] == ("~",) and home:
        path = Path(home, *path.parts[1:])
    return working_directory / path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # a folder on the way may not be entered
        raise SettingsInvalid(f"Whether there are settings in {path} cannot be told: {error.strerror}.") from error


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = TomlConfigSettingsSource(Settings, toml_file=path)()
    except OSError as error:
        raise SettingsInvalid(f"The settings in {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # broken TOML and broken UTF-8 alike
        raise SettingsInvalid(f"{path} is no valid TOML file: {error}.") from error
    _refuse_unknown(values, str(path))
    return values


def _refuse_unknown(values: Mapping[str, Any], where: str) -> None:
    """Raises `SettingsInvalid`, naming for each unknown key the setting that was probably meant."""
    by_variable = {name: field for field in Settings.model_fields for name in environment_names(field)}
    sentences = []
    for key in values:
        if key in Settings.model_fields:
            continue
        near = difflib.get_close_matches(key.lower(), Settings.model_fields, n=1, cutoff=0.5)
        meant = by_variable.get(key.upper()) or (near[0] if near else None)
        hint = f"did you mean {meant}?" if meant else "`appliance settings` lists those that exist."
        sentences.append(f"{where} sets {key}, which is no setting; {hint}")
    if sentences:
        raise SettingsInvalid("\n".join(sentences))


def _default_data_folder(environ: Mapping[str, str], system_root: Path) -> Path:
    """The service's folder where we may write to it, or where there is no home (a service user); else the user's."""
    service = system_root / "var" / "lib" / "detector-appliance"
    home = environ.get("HOME", "")
    if (service.is_dir() and os.access(service, os.W_OK)) or not home or not Path(home).is_dir():
        return service
    chosen = environ.get("XDG_DATA_HOME", "")
    # the XDG specification: a relative path in it is invalid and to be ignored
    base = Path(chosen) if chosen and Path(chosen).is_absolute() else Path(home) / ".local" / "share"
    return base / "detector-appliance"
