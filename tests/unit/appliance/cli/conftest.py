"""A command line in surroundings of its own: nothing of this machine's environment, and a server that is made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import cli
from appliance.cli.place import Surroundings
from appliance.lock import acquire

SERVER = "http://127.0.0.1:18004"

Handler = Callable[[httpx.Request], httpx.Response]


class Shell:
    """Runs commands in a working directory, with the data folder `data` in it."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.environ = {"DATA_FOLDER": str(self.data), "HOME": str(folder)}
        self.requests: list[httpx.Request] = []
        self._ends = ends
        self._transport: httpx.BaseTransport | None = None

    def serve(self, handler: Handler) -> None:
        """From now on a server runs on the data folder, which answers like this."""

        def record(request: httpx.Request) -> httpx.Response:
            request.read()
            self.requests.append(request)
            return handler(request)

        self._transport = httpx.MockTransport(record)
        self._ends.enter_context(acquire(self.data, SERVER))

    def run(self, *arguments: str | Path, **environ: str) -> Result:
        surroundings = Surroundings({**self.environ, **environ}, self.folder, self._transport)
        return CliRunner().invoke(cli, [str(argument) for argument in arguments], obj=surroundings)

    def ok(self, *arguments: str | Path, **environ: str) -> str:
        """Run a command that must succeed; what it printed."""
        result = self.run(*arguments, **environ)
        assert result.exit_code == 0, result.output
        return result.stdout

    def fails(self, *arguments: str | Path, **environ: str) -> str:
        """Run a command that must fail in words; what it said on stderr."""
        result = self.run(*arguments, **environ)
        assert result.exit_code == 1, result.output
        assert "Traceback" not in result.output
        return result.stderr


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with ExitStack() as ends:
        yield Shell(tmp_path, ends)
