"""What an embedded loop is told at its start."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path

from access import Network

DEFAULT_PORT = 8014


@dataclass(frozen=True)
class LoopServerSettings:
    """Where the loop keeps its things, who may use it, and its bounds.

    `database_url` and `blobs_url` None: a SQLite file and a folder in `data_folder`. `host` is what models that it serves
    say of where they come from. `username` and `password` are those of the user that the first start makes; without both it
    is `admin` with a password by chance. `open_*` bounds what anybody on the network may do without a login: requests
    and megabytes per minute and network.
    """

    data_folder: Path
    database_url: str | None = None
    blobs_url: str | None = None
    test_data: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    host: str = field(default_factory=lambda: f"{socket.gethostname()}:{DEFAULT_PORT}")
    trusted_networks: tuple[Network, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    max_image_mb: int = 64
    max_image_megapixels: int = 100
    max_upload_mb: int = 512
    max_model_mb: int = 4096
    open_requests_per_minute: int = 1200
    open_mb_per_minute: int = 6000

    @property
    def database(self) -> str:
        """URL of the database, as SQLAlchemy has them."""
        return self.database_url or f"sqlite:///{self.data_folder / 'loop.db'}"

    @property
    def blobs(self) -> str:
        """URL of the storage of pictures and zips, as fsspec has them."""
        return self.blobs_url or (self.data_folder.absolute() / "blobs").as_uri()
