"""A PostgreSQL server of the tests' own: made in a temporary folder, reached by a Unix socket, gone with the tests.

PostgreSQL refuses to run as root; started by root, it runs as `postgres`, or as `nobody` where there is no such user.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy

PORT = 5432  # part of the socket's name alone
START_SECONDS = 60.0


def server_folder() -> Path | None:
    """Where the newest server of this machine has its programs; None if none is installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


class Postgres:
    """A running server."""

    def __init__(self, socket_folder: Path, user: str) -> None:
        self._socket = socket_folder / f".s.PGSQL.{PORT}"
        self._user = user
        self._numbers = itertools.count()

    def url(self, database: str = "postgres") -> str:
        """For SQLAlchemy."""
        return f"postgresql+pg8000://{self._user}@/{database}?unix_sock={self._socket}"

    def new_database(self) -> str:
        """Make an empty database; its URL."""
        name = f"test_{next(self._numbers)}"
        engine = sqlalchemy.create_engine(self.url(), isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def connections(self) -> list[str]:
        """The databases to which somebody is connected."""
        engine = sqlalchemy.create_engine(self.url(), poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            clients = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
            found = connection.exec_driver_sql(f"SELECT datname FROM pg_stat_activity WHERE {clients}")
            return [row[0] for row in found]


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server for the length of the block."""
    programs = server_folder()
    assert programs is not None, "PostgreSQL is not installed"
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="loop-postgres-"))
    log = folder / "log"
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        name = user.pw_name if user is not None else pwd.getpwuid(os.getuid()).pw_name
        data = folder / "data"
        _run([programs / "initdb", "-D", data, "-A", "trust", "-U", name, "-E", "UTF8", "--locale=C", "-N"], user)
        command = [programs / "postgres", "-D", data, "-k", folder, "-p", str(PORT), "-F"]
        command += ["-c", "listen_addresses=", "-c", "max_connections=200"]
        with log.open("wb") as out:
            server = subprocess.Popen(command, stdout=out, stderr=out, **_as(user))  # type: ignore[call-overload]
        try:
            postgres = Postgres(folder, name)
            _wait(postgres, server, log)
            yield postgres
        finally:
            left = postgres.connections()
            server.send_signal(signal.SIGINT)  # "fast": without waiting for clients
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            assert left == [], f"connections were left open: {left}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(postgres: Postgres, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            postgres.new_database()
        except Exception as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL did not start:\n{log.read_text()}") from error
            time.sleep(0.1)
        else:
            return


def _user() -> pwd.struct_passwd | None:
    """As whom the server runs; None: as ourselves."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _as(user: pwd.struct_passwd | None) -> dict[str, object]:
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "cwd": "/"}


def _run(command: list[str | Path], user: pwd.struct_passwd | None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **_as(user))  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
